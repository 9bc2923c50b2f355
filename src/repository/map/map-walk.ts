/** Reads maps: blocks of a range, ids of pages, and where two maps differ. */
import assert from 'node:assert/strict';
import { Descent, type PagePlace, type PageRow } from './descent.ts';
import {
  ID_BYTES,
  PAGE_ENTRIES,
  blocksUnder,
  checkBlockRange,
  entryOf,
  isZeroEntry,
  sameEntry,
  type BlockRange,
} from './page.ts';
import type { PageSource } from './placement.ts';

type OneMap = { readonly pages: PageSource; readonly root: Buffer };

/** A page of level 0 whose blocks `fromEntry` to before `toEntry` are in the range asked for. */
export type LeafView = {
  /** The block of entry 0. */
  readonly firstBlock: number;
  /** Block ids, 16 bytes each; entries may be zero. */
  readonly page: Buffer;
  readonly fromEntry: number;
  readonly toEntry: number;
};

/**
 * Visits every page of level 0 in the range that is not all zero, ascending; a promise that `visit`
 * returns is awaited before the next.
 *
 * @throws what the page source and `visit` throw.
 */
export async function forEachBlock(
  { pages, root, fromBlock, toBlock }: OneMap & BlockRange,
  visit: (leaf: LeafView) => void | Promise<void>,
): Promise<void> {
  checkBlockRange({ fromBlock, toBlock });
  let running: Promise<void> | undefined;
  const visitor = {
    enter: ([page]: PageRow, entry: number, { level, number }: PagePlace): boolean => {
      const firstBlock = number * blocksUnder(level);
      const outside = firstBlock >= toBlock || firstBlock + blocksUnder(level) <= fromBlock;
      return !outside && holds(page, entry);
    },
    leaf: ([page]: PageRow, leafNumber: number): boolean => {
      assert(page !== undefined);
      const firstBlock = leafNumber * PAGE_ENTRIES;
      const fromEntry = Math.max(0, fromBlock - firstBlock);
      const toEntry = Math.min(PAGE_ENTRIES, toBlock - firstBlock);
      running = visit({ firstBlock, page, fromEntry, toEntry }) ?? undefined;
      return running !== undefined;
    },
  };
  await new Descent({ pages, roots: [root], visitor }).finish(() => running);
}

/** Consecutive blocks. */
export type BlockRun = { readonly firstBlock: number; readonly blockCount: number };

/**
 * Where two maps of disks differ: maximal runs, ascending, descending only where page ids differ. A
 * position that one map has as zero and the other not differs.
 */
export async function* differingBlocks(
  pages: PageSource,
  { a, b }: { readonly a: Buffer; readonly b: Buffer },
): AsyncGenerator<BlockRun> {
  let first = 0;
  let end = 0;
  const found: BlockRun[] = [];
  const visitor = {
    enter: ([one, other]: PageRow, entry: number): boolean => !sameEntry(one, other, entry),
    leaf: ([one, other]: PageRow, leafNumber: number): boolean => {
      for (let entry = 0; entry < PAGE_ENTRIES; entry++) {
        if (sameEntry(one, other, entry)) continue;
        const block = leafNumber * PAGE_ENTRIES + entry;
        if (block !== end && end > first)
          found.push({ firstBlock: first, blockCount: end - first });
        if (block !== end) first = block;
        end = block + 1;
      }
      return found.length > 0;
    },
  };
  const descent = new Descent({ pages, roots: [a, b], visitor });
  while (await descent.untilPaused()) yield* found.splice(0);
  if (end > first) yield { firstBlock: first, blockCount: end - first };
}

/** A page of a map: its id, a view to be copied if kept, and where it is. */
export type PageVisit = (id: Buffer, place: PagePlace) => boolean;

/**
 * Visits the id of every page of a map, the root first, before the page itself is read; where `visit`
 * returns false, nothing below is read. A page that stands in two places is visited twice.
 *
 * @throws what `pages` throws: to go on past a damaged page, give a source that notes the damage and
 *   returns a page of zeros.
 */
export async function pagesBelow({ pages, root }: OneMap, visit: PageVisit): Promise<void> {
  const visitor = {
    enter: ([page]: PageRow, entry: number, place: PagePlace): boolean =>
      holds(page, entry) && visit(entryOf(page, entry), place),
    leaf: (): boolean => false,
  };
  await new Descent({ pages, roots: [root], visitor }).finish();
}

/**
 * The ids of the level-1 pages (4096 blocks each) `fromPage` to before `toPage`: 16 bytes each, zero
 * where there is none. The pages themselves are not read.
 */
export async function levelOneIds(
  options: OneMap & { readonly fromPage: number; readonly toPage: number },
): Promise<Buffer> {
  const { pages, root, fromPage, toPage } = options;
  const blocks = blocksUnder(1);
  checkBlockRange({ fromBlock: fromPage * blocks, toBlock: toPage * blocks });
  const ids = Buffer.alloc((toPage - fromPage) * ID_BYTES);
  const visitor = {
    enter: ([page]: PageRow, entry: number, { level, number }: PagePlace): boolean => {
      const pagesEach = blocksUnder(level) / blocks;
      const outside = number * pagesEach >= toPage || (number + 1) * pagesEach <= fromPage;
      if (outside || !holds(page, entry)) return false;
      if (level > 1) return true;
      entryOf(page, entry).copy(ids, (number - fromPage) * ID_BYTES);
      return false;
    },
    leaf: (): boolean => false,
  };
  await new Descent({ pages, roots: [root], visitor }).finish();
  return ids;
}

function holds(page: Buffer | undefined, entry: number): page is Buffer {
  return page !== undefined && !isZeroEntry(page, entry);
}
