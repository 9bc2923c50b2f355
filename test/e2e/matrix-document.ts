/** docs/compatibility.md, from what the cells of the matrix gave. */
import { CELLS, titleOf } from './matrix-cells.ts';
import type { Outcome } from './matrix.ts';

const MIB = 1024 * 1024;

const CONSISTENCY: Readonly<Record<string, string>> = {
  AppConsistent: 'application',
  FileSystemConsistent: 'file system',
  CrashConsistent: 'crash',
};

/** The document from its first heading on that is no part of the matrix. */
export function writtenByHand(document: string): string {
  return document.slice(document.indexOf('\n## ') + 1);
}

/** A cell that failed has no outcome, and its row says so. */
export function compatibilityDocument(outcomes: readonly Outcome[]): string {
  const byTitle = new Map(outcomes.map((outcome) => [titleOf(outcome.cell), outcome]));
  const notes = [...new Set(outcomes.flatMap((outcome) => outcome.notes))];
  const rows = CELLS.map((cell) => {
    const title = titleOf(cell);
    const outcome = byTitle.get(title);
    const found =
      outcome === undefined ? ['**failed**', '', '', '', '', ''] : cellsOf(outcome, notes);
    return [...title.split(', '), ...found];
  });
  return [INTRODUCTION, table(rows), footnotes(notes)].join('\n\n').concat('\n');
}

const INTRODUCTION = `# Compatibility

What a backup gives, by where the VM is, whether it runs, its images and its guest agent. Each row is a real guest that writes all the time,
backed up twice by \`holdfast vm backup\`, and its second point restored and checked: every durable record is there, none torn, the file system
sound, all disks of one instant; for a VM that is paused or off, bit for bit what its images hold. Made by:

\`\`\`sh
sh scripts/matrix.sh       # about ten minutes, as root
\`\`\`

The disks: 256 MiB with a file system and 36 MiB of data, and where there are four three of 64 MiB more. _Read_ and _stored_ are those of the
second backup, after some records more; by bitmap most of what is read is the audit’s sample. Figures vary a little from run to run.`;

const COLUMNS = [
  'VM',
  'state',
  'images',
  'agent',
  'disks',
  'consistency',
  'first',
  'second by',
  'read MiB',
  'stored KiB',
  'what happened',
];

function cellsOf(outcome: Outcome, notes: readonly string[]): string[] {
  const { frozenMs } = outcome;
  const marks = outcome.notes.map((note) => `note ${notes.indexOf(note) + 1}`);
  const frozen = frozenMs === undefined ? [] : [`frozen for ${Math.round(frozenMs)} ms`];
  return [
    CONSISTENCY[outcome.consistency] ?? outcome.consistency,
    'copy',
    outcome.tracking === 'bitmap' ? 'bitmap' : 'comparison',
    (outcome.readBytes / MIB).toFixed(1),
    Math.round(outcome.storedBytes / 1024).toString(),
    [...frozen, ...marks].join(', '),
  ];
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = COLUMNS.map((column, at) =>
    Math.max(column.length, ...rows.map((row) => row[at]!.length)),
  );
  const isNumber = (at: number): boolean => COLUMNS[at]!.endsWith('iB');
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((text, at) => (isNumber(at) ? text.padStart(widths[at]!) : text.padEnd(widths[at]!))).join(' | ')} |`;
  const rule = widths.map((width, at) =>
    isNumber(at) ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width),
  );
  return [line(COLUMNS), line(rule), ...rows.map(line)].join('\n');
}

function footnotes(notes: readonly string[]): string {
  return notes.map((note, at) => `${at + 1}. ${note}`).join('\n');
}
