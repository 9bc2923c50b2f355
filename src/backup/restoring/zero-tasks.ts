/**
 * What of an output that existed must become zero: the point's zero blocks, as far as the output may hold
 * data there. Goes up the output's extents and the point's map side by side, in bounded memory.
 */
import { alignExtents, type DiskTarget, type Extent } from '#disk';
import { forEachBlock, type Repository } from '#repository';
import type { ZeroTask } from './restore-calls.ts';

export type ZeroTaskOptions = {
  readonly repository: Repository;
  /** The disk's number in the request. */
  readonly disk: number;
  readonly root: string;
  readonly target: DiskTarget;
};

const TASK_BYTES = 64 * 1024 * 1024;
const ID_BYTES = 16;
const ZERO_ID = Buffer.alloc(ID_BYTES);

export async function* zeroTasks(options: ZeroTaskOptions): AsyncGenerator<ZeroTask> {
  const { repository, disk, target } = options;
  const { blockSize } = repository.state;
  const { sizeBytes } = target;
  const bounds = { blockBytes: blockSize, sizeBytes };
  for (const extent of alignExtents(await target.dataExtents(), bounds)) {
    for (let at = 0; at < extent.length; at += TASK_BYTES) {
      const offset = extent.offset + at;
      const part = { offset, length: Math.min(TASK_BYTES, extent.length - at) };
      const ranges = await zeroRanges(options, part);
      if (ranges.length > 0) yield { disk, ranges: Float64Array.from(ranges) };
    }
  }
}

/** The zero blocks of a part of the disk, as pairs of offset and length in bytes. */
async function zeroRanges(
  { repository, root }: ZeroTaskOptions,
  { offset, length }: Extent,
): Promise<number[]> {
  const { keeper } = repository.parts;
  const { blockSize } = repository.state;
  const fromBlock = offset / blockSize;
  const toBlock = Math.ceil((offset + length) / blockSize);
  const ranges: number[] = [];
  let zeroFrom = fromBlock;
  const endAt = (block: number): void => {
    const start = zeroFrom * blockSize;
    const end = Math.min(block * blockSize, offset + length);
    if (end > start) ranges.push(start, end - start);
    zeroFrom = block + 1;
  };
  const map = { pages: keeper.reader, root: Buffer.from(root, 'hex'), fromBlock, toBlock };
  await forEachBlock(map, ({ firstBlock, page, fromEntry, toEntry }) => {
    for (let entry = fromEntry; entry < toEntry; entry += 1) {
      const id = page.subarray(entry * ID_BYTES, (entry + 1) * ID_BYTES);
      if (!id.equals(ZERO_ID)) endAt(firstBlock + entry);
    }
  });
  endAt(toBlock);
  return ranges;
}
