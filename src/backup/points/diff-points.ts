/** Where two recovery points differ: by their maps, reading no block. */
import type { Extent } from '#disk';
import { differingBlocks, type Repository } from '#repository';
import { disksOf, type PointDisk } from '../point-disks.ts';

export type DiskDifference = {
  readonly name: string;
  /** In bytes; undefined: the point does not have the disk. */
  readonly sizeA: number | undefined;
  readonly sizeB: number | undefined;
  /** Ranges in bytes, ascending, in whole blocks cut at the longer disk's end. */
  readonly ranges: readonly Extent[];
  /** The sum of their lengths. */
  readonly changed: number;
};

const ZERO_ROOT = Buffer.alloc(16);

/**
 * Compares every disk of point `a` with the disk of that name in point `b`. A disk of one point only
 * differs wherever it is not zero. Descends only where pages differ: the cost is that of the difference.
 *
 * @throws {HoldfastError} `PointNotFound`; `BlockMissing` if a page of a map cannot be read.
 */
export async function diffPoints(request: {
  readonly repository: Repository;
  readonly a: string;
  readonly b: string;
}): Promise<DiskDifference[]> {
  const { repository, a, b } = request;
  const [inA, inB] = [disksOf(repository, a), disksOf(repository, b)];
  await repository.pin([...new Set([a, b])]);
  const names = new Set([...inA, ...inB].map(({ name }) => name));
  const differences: DiskDifference[] = [];
  for (const name of names) {
    const named = (disk: PointDisk): boolean => disk.name === name;
    differences.push(await diffDisks(repository, { a: inA.find(named), b: inB.find(named) }));
  }
  return differences;
}

async function diffDisks(
  repository: Repository,
  { a, b }: { readonly a: PointDisk | undefined; readonly b: PointDisk | undefined },
): Promise<DiskDifference> {
  const { blockSize } = repository.state;
  const sizeBytes = Math.max(a?.sizeBytes ?? 0, b?.sizeBytes ?? 0);
  const roots = { a: rootOf(a), b: rootOf(b) };
  const ranges: Extent[] = [];
  for await (const run of differingBlocks(repository.parts.keeper.reader, roots)) {
    const offset = run.firstBlock * blockSize;
    const end = Math.min(offset + run.blockCount * blockSize, sizeBytes);
    ranges.push({ offset, length: end - offset });
  }
  return {
    name: (a ?? b)!.name,
    sizeA: a?.sizeBytes,
    sizeB: b?.sizeBytes,
    ranges,
    changed: ranges.reduce((sum, { length }) => sum + length, 0),
  };
}

function rootOf(disk: PointDisk | undefined): Buffer {
  return disk === undefined ? ZERO_ROOT : Buffer.from(disk.root, 'hex');
}
