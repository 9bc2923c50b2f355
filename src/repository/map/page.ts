/**
 * Pages of a disk's map and the arithmetic of their tree (docs/format.md §8).
 *
 *     level 5: root, one page      an entry of a page of level l is the id of page
 *     level l: pages of 64 ids     64·number + entry of level l − 1, or at level 0 of a block
 *
 * Block numbers reach 64^6 = 2^36: no 32-bit arithmetic on them.
 */
import assert from 'node:assert/strict';

export const PAGE_ENTRIES = 64;
export const ID_BYTES = 16;
export const PAGE_BYTES = PAGE_ENTRIES * ID_BYTES;
export const LEVELS = 6;
export const ROOT_LEVEL = LEVELS - 1;
export const MAX_BLOCKS = PAGE_ENTRIES ** LEVELS;

/** The id of what is all zero: nothing is stored for it. */
export const ZERO_ID: Buffer = Buffer.alloc(ID_BYTES);
/** The page whose id is zero. Not to be written into. */
export const ZERO_PAGE: Buffer = Buffer.alloc(PAGE_BYTES);

/** Blocks below one page of this level; of level −1, the block itself. */
export function blocksUnder(level: number): number {
  return PAGE_ENTRIES ** (level + 1);
}

/** The view of one entry. */
export function entryOf(page: Buffer, entry: number): Buffer {
  return page.subarray(entry * ID_BYTES, (entry + 1) * ID_BYTES);
}

/** Whether an entry is the id of zeros. Its first byte says no for all but one other id in 256. */
export function isZeroEntry(page: Buffer, entry: number): boolean {
  const start = entry * ID_BYTES;
  if (page[start] !== 0) return false;
  for (let byte = start + 1; byte < start + ID_BYTES; byte++) if (page[byte] !== 0) return false;
  return true;
}

export function isZeroId(id: Buffer): boolean {
  return isZeroEntry(id, 0);
}

export function isZeroPage(page: Buffer): boolean {
  return page.equals(ZERO_PAGE);
}

/** Whether two pages have the same id at an entry; a page that is missing differs from everything. */
export function sameEntry(a: Buffer | undefined, b: Buffer | undefined, entry: number): boolean {
  if (a === undefined || b === undefined) return false;
  const start = entry * ID_BYTES;
  for (let byte = start; byte < start + ID_BYTES; byte++) if (a[byte] !== b[byte]) return false;
  return true;
}

/** @throws if the range of blocks leaves the map: a bug of the caller. */
export function checkBlockRange({ fromBlock, toBlock }: BlockRange): void {
  assert(Number.isSafeInteger(fromBlock) && fromBlock >= 0, 'fromBlock');
  assert(Number.isSafeInteger(toBlock) && toBlock <= MAX_BLOCKS, 'toBlock');
}

/** Blocks from `fromBlock` to before `toBlock`. */
export type BlockRange = { readonly fromBlock: number; readonly toBlock: number };
