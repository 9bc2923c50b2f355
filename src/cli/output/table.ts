/** Aligned columns: words left, numbers right, two spaces between. */
import { oneLine } from './one-line.ts';

export type Column = { readonly title: string; readonly align: 'left' | 'right' };

export function left(title: string): Column {
  return { title, align: 'left' };
}

export function right(title: string): Column {
  return { title, align: 'right' };
}

/** The lines of the table, its titles first; no line ends in a space. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string {
  const titles = columns.map(({ title }) => title);
  const lines = [titles, ...rows.map((row) => row.map(oneLine))];
  const widths = columns.map((_, index) =>
    lines.reduce((width, line) => Math.max(width, line[index]?.length ?? 0), 0),
  );
  return lines.map((row) => formatRow(row, { columns, widths })).join('\n');
}

function formatRow(
  row: readonly string[],
  layout: { readonly columns: readonly Column[]; readonly widths: readonly number[] },
): string {
  const cells = layout.columns.map(({ align }, index) => {
    const text = row[index] ?? '';
    const width = layout.widths[index]!;
    return align === 'left' ? text.padEnd(width) : text.padStart(width);
  });
  return cells.join('  ').trimEnd();
}
