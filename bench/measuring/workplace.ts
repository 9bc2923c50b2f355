/** Where a run works and how large everything is; the disks that several parts share. */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { tell } from './tables.ts';

export type Scale = {
  readonly sizeGib: number;
  readonly dataMib: number;
  readonly changedMib: number;
  readonly rounds: number;
  readonly sparseTib: number;
  readonly sparseDataMib: number;
  readonly sparseChanges: number;
  readonly expiryChanges: number;
  readonly expiryPoints: number;
  readonly ageGib: number;
  readonly ageDataMib: number;
  readonly agePoints: number;
  readonly ageKept: number;
  readonly indexEntries: number;
  readonly liveDataMib: number;
  /** Next backups of a guest that writes, in each round. */
  readonly liveWritings: number;
};

/** The binding run. */
export const FULL: Scale = {
  sizeGib: 8,
  dataMib: 2650,
  changedMib: 64,
  rounds: 3,
  sparseTib: 8,
  sparseDataMib: 2048,
  sparseChanges: 1000,
  expiryChanges: 10_000,
  expiryPoints: 8,
  ageGib: 2,
  ageDataMib: 1024,
  agePoints: 200,
  ageKept: 30,
  indexEntries: 50_000_000,
  liveDataMib: 2650,
  liveWritings: 5,
};

/** To see that everything runs; its figures mean nothing. */
export const SMALL: Scale = {
  sizeGib: 1,
  dataMib: 200,
  changedMib: 4,
  rounds: 1,
  sparseTib: 1,
  sparseDataMib: 64,
  sparseChanges: 100,
  expiryChanges: 500,
  expiryPoints: 4,
  ageGib: 1,
  ageDataMib: 100,
  agePoints: 12,
  ageKept: 4,
  indexEntries: 200_000,
  liveDataMib: 200,
  liveWritings: 1,
};

export type Workplace = { readonly folder: string; readonly scale: Scale };

export type Range = { readonly offset: number; readonly length: number };

const BLOCK = 16 * 1024;
const LAB = join(import.meta.dirname, '../../test/lab');

/** The disk of DESIGN §3.1, made once. @returns its path. */
export function baseDisk({ folder, scale }: Workplace): string {
  const path = join(folder, 'base.raw');
  if (!existsSync(path)) makeImage(path, scale.sizeGib, scale.dataMib);
  return path;
}

/** The same after scattered writes of 4 KiB, and where its 16 KiB blocks differ. */
export function changedDisk(place: Workplace): { readonly path: string; readonly hint: string } {
  const path = join(place.folder, 'changed.raw');
  const hint = join(place.folder, 'hint.json');
  if (existsSync(hint)) return { path, hint };
  const base = baseDisk(place);
  copySparse(base, path);
  churn(path, place.scale.changedMib * 1024 ** 2, 1);
  const ranges = differences(base, path);
  writeFileSync(hint, JSON.stringify(ranges));
  tell(`changed disk: ${ranges.length} blocks of 16 KiB differ`);
  return { path, hint };
}

export function makeImage(path: string, sizeGib: number, dataMib: number): void {
  tell(`making ${path}: ${sizeGib} GiB, ${dataMib} MiB of files`);
  execFileSync('bash', [join(LAB, 'make-image.sh'), path, String(sizeGib), String(dataMib)]);
}

export function copySparse(from: string, to: string): void {
  execFileSync('cp', ['--sparse=always', '--reflink=auto', from, to]);
}

/** Scattered 4 KiB writes inside allocated data, the same for the same seed. */
export function churn(path: string, bytes: number, seed: number): void {
  execFileSync('python3', [join(LAB, 'churn.py'), path, String(bytes), 'scattered', String(seed)]);
}

/** The blocks in which two images of one size differ; only what either has allocated is read. */
function differences(before: string, after: string): Range[] {
  const files = [openSync(before, 'r'), openSync(after, 'r')] as const;
  const buffers = [Buffer.alloc(1 << 20), Buffer.alloc(1 << 20)] as const;
  const found: Range[] = [];
  for (const { offset, length } of dataRanges(after)) {
    for (let at = offset - (offset % BLOCK); at < offset + length; at += 1 << 20) {
      const reads = files.map((file, i) => readSync(file, buffers[i]!, 0, 1 << 20, at));
      for (let in_ = 0; in_ < Math.max(...reads); in_ += BLOCK) {
        const end = in_ + BLOCK;
        if (buffers[0].subarray(in_, end).equals(buffers[1].subarray(in_, end))) continue;
        found.push({ offset: at + in_, length: BLOCK });
      }
    }
  }
  files.forEach(closeSync);
  const distinct = new Map(found.map((range) => [range.offset, range]));
  return [...distinct.values()].toSorted((a, b) => a.offset - b.offset);
}

/** Where a raw image has data. */
export function dataRanges(path: string): Range[] {
  const output = execFileSync('qemu-img', ['map', '-f', 'raw', '--output=json', path], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  type Extent = { readonly start: number; readonly length: number; readonly data: boolean };
  return (JSON.parse(output) as Extent[])
    .filter((extent) => extent.data)
    .map(({ start, length }) => ({ offset: start, length }));
}

/** Sums the sizes of all files under a folder, except a folder in it. */
export function folderBytes(folder: string, except = ''): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && entry.name !== except) bytes += folderBytes(path);
    else if (entry.isFile()) bytes += statSync(path).size;
  }
  return bytes;
}

/** An empty folder of this name. */
export function freshFolder({ folder }: Workplace, name: string): string {
  const path = join(folder, name);
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true });
  return path;
}

/** So that nothing written before is still on its way to the disk. */
export function settleDisk(): void {
  execFileSync('sync');
}

export function mustEqual(one: string, other: string): void {
  execFileSync('cmp', [one, other]);
}
