/** A huge disk with little data: its first backup beside a dense disk with the same data, then a hint. */
import {
  closeSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { runCommand, type Measured } from '../measuring/run-command.ts';
import { mebibytes, median, printTable, RUN_COLUMNS, runCells, tell } from '../measuring/tables.ts';
import { holdfastTool } from '../measuring/tools.ts';
import { baseDisk, dataRanges, settleDisk, type Workplace } from '../measuring/workplace.ts';

const PIECE = 2 * 1024 ** 2;
const TEBIBYTE = 1024 ** 4;

type Row = { readonly title: string; readonly runs: Measured[]; readonly grown: number[] };

export async function sparse(place: Workplace): Promise<void> {
  const paths = {
    wide: join(place.folder, 'wide.raw'),
    dense: join(place.folder, 'dense.raw'),
    hint: join(place.folder, 'wide-hint.json'),
  };
  const { sparseTib, sparseDataMib, sparseChanges, rounds } = place.scale;
  const rows: readonly Row[] = [
    { title: `first, dense disk of ${sparseDataMib} MiB`, runs: [], grown: [] },
    { title: `first, ${sparseTib} TiB disk`, runs: [], grown: [] },
    { title: `then with a hint of ${sparseChanges} blocks`, runs: [], grown: [] },
  ];
  for (let round = 0; round < rounds; round++) {
    makeDisks(place, paths);
    const tool = holdfastTool(place, 'sparse');
    const take = async (row: Row, disk: string, hint?: string): Promise<void> => {
      const before = tool.storedBytes();
      settleDisk();
      const options = { name: '', ...(hint === undefined ? {} : { hint }) };
      const measured = await runCommand(tool.backUp(disk, options));
      row.runs.push(measured);
      row.grown.push(tool.storedBytes() - before);
      tell(`sparse: ${row.title}: ${measured.seconds.toFixed(2)} s`);
    };
    await tool.prepare();
    await take(rows[0]!, paths.dense);
    await tool.prepare();
    await take(rows[1]!, paths.wide);
    changeBlocks(place, paths);
    await take(rows[2]!, paths.wide, paths.hint);
    rmSync(tool.repository, { recursive: true });
  }
  for (const path of Object.values(paths)) rmSync(path);
  printTable(
    `A sparse disk of ${sparseTib} TiB with ${sparseDataMib} MiB of data`,
    ['backup', ...RUN_COLUMNS, 'stored MiB'],
    rows.map(({ title, runs, grown }) => [title, ...runCells(runs), mebibytes(median(grown))]),
  );
}

type Paths = { readonly wide: string; readonly dense: string; readonly hint: string };

/** The data of the shared disk, in pieces: spread evenly over one disk, side by side on the other. */
function makeDisks(place: Workplace, { wide, dense }: Paths): void {
  const pieces = pieceCount(place);
  const [from, toWide, toDense] = [
    openSync(baseDisk(place), 'r'),
    openSync(wide, 'w'),
    openSync(dense, 'w'),
  ];
  ftruncateSync(toWide, place.scale.sparseTib * TEBIBYTE);
  const buffer = Buffer.alloc(PIECE);
  let made = 0;
  for (const { offset, length } of dataRanges(baseDisk(place))) {
    for (let at = offset; at + PIECE <= offset + length && made < pieces; at += PIECE, made++) {
      readSync(from, buffer, 0, PIECE, at);
      writeSync(toWide, buffer, 0, PIECE, made * stride(place));
      writeSync(toDense, buffer, 0, PIECE, made * PIECE);
    }
  }
  if (made < pieces) throw new Error(`the shared disk has only ${made} whole pieces of data`);
  for (const file of [from, toWide, toDense]) closeSync(file);
}

/** One block a change, in pieces all over the disk; the hint names exactly these blocks. */
function changeBlocks(place: Workplace, { wide, hint }: Paths): void {
  const file = openSync(wide, 'r+');
  const { sparseChanges } = place.scale;
  const ranges = Array.from({ length: sparseChanges }, (_, change) => {
    const piece = change % pieceCount(place);
    const block = (change * 7 + Math.floor(change / pieceCount(place))) % 128;
    return { offset: piece * stride(place) + block * 16_384, length: 16_384 };
  });
  for (const [change, { offset }] of ranges.entries()) {
    const content = Buffer.alloc(4096);
    readSync(file, content, 0, 4096, offset + 8192);
    content.writeUInt32LE(change + 1, 100);
    writeSync(file, content, 0, 4096, offset + 4096);
  }
  closeSync(file);
  writeFileSync(hint, JSON.stringify(ranges));
}

function pieceCount({ scale }: Workplace): number {
  return Math.floor((scale.sparseDataMib * 1024 ** 2) / PIECE);
}

function stride({ scale }: Workplace): number {
  return (scale.sparseTib * TEBIBYTE) / Math.floor((scale.sparseDataMib * 1024 ** 2) / PIECE);
}
