/**
 * Makes a map from another by replacing parts. Maps are canonical: the same blocks give the same
 * pages and root, however they came about, because a page of zeros is never stored and every other is
 * named by its content.
 */
import assert from 'node:assert/strict';
import type { PagePlace } from './descent.ts';
import {
  ID_BYTES,
  MAX_BLOCKS,
  PAGE_BYTES,
  PAGE_ENTRIES,
  ROOT_LEVEL,
  ZERO_ID,
  ZERO_PAGE,
  blocksUnder,
  entryOf,
  isZeroId,
  isZeroPage,
} from './page.ts';
import type { PageSource } from './placement.ts';

/** Stores a page that is not all zero and returns its id. Pages come before those that name them. */
type PutPage = (page: Buffer) => Buffer | Promise<Buffer>;

type Target = { readonly pages: PageSource; readonly putPage: PutPage };

export type MapRewrite = Target & {
  readonly oldRoot: Buffer;
  /** New ids of level-1 pages (4096 blocks each) by page number; zero: all zero. */
  readonly changes: ReadonlyMap<number, Buffer>;
};

export type MapTruncation = Target & { readonly root: Buffer; readonly blockCount: number };

/** What a page becomes; `old` is what it was. */
type Replacement = { readonly page: Buffer; readonly old: Buffer; readonly oldId: Buffer };

const FIRST_REWRITTEN_LEVEL = 2;
const LEVEL_ONE_PAGES = MAX_BLOCKS / blocksUnder(1);

/**
 * The map with some level-1 pages replaced: reads and puts only the pages above them.
 *
 * @returns the new root; the old one if nothing changed, zero if nothing is left.
 * @throws what `pages` and `putPage` throw.
 */
export async function rewriteMap(rewrite: MapRewrite): Promise<Buffer> {
  const numbers = [...rewrite.changes.keys()].sort((a, b) => a - b);
  for (const number of numbers) {
    assert(Number.isSafeInteger(number) && number >= 0 && number < LEVEL_ONE_PAGES, 'page number');
  }
  if (numbers.length === 0) return rewrite.oldRoot;
  const place = { level: ROOT_LEVEL, number: 0 };
  return rewritePage(rewrite, { place, numbers, oldId: rewrite.oldRoot });
}

type PageRewrite = {
  readonly place: PagePlace;
  readonly oldId: Buffer;
  /** Numbers of the changed level-1 pages below, ascending; at least one. */
  readonly numbers: readonly number[];
};

async function rewritePage(
  rewrite: MapRewrite,
  { place, oldId, numbers }: PageRewrite,
): Promise<Buffer> {
  const old = await pageOf(rewrite.pages, oldId);
  const page = Buffer.from(old);
  const level = place.level - 1;
  for (const [number, below] of groupByChild(numbers, level)) {
    const entry = number - place.number * PAGE_ENTRIES;
    const child = { place: { level, number }, oldId: entryOf(old, entry), numbers: below };
    const id =
      place.level === FIRST_REWRITTEN_LEVEL
        ? rewrite.changes.get(number)
        : await rewritePage(rewrite, child);
    setEntry(page, entry, id);
  }
  return putReplacement(rewrite.putPage, { page, old, oldId });
}

/** Groups level-1 page numbers, ascending, by the page of this level that is above them. */
function groupByChild(numbers: readonly number[], level: number): Map<number, number[]> {
  const pagesEach = blocksUnder(level) / blocksUnder(1);
  return Map.groupBy(numbers, (number) => Math.floor(number / pagesEach));
}

/**
 * The map with every block at and beyond `blockCount` zero: what a disk keeps that shrinks.
 *
 * @returns the new root; the old one if nothing was there.
 * @throws what `pages` and `putPage` throw.
 */
export async function truncateMap({ root, blockCount, ...target }: MapTruncation): Promise<Buffer> {
  assert(Number.isSafeInteger(blockCount) && blockCount >= 0, 'blockCount');
  if (blockCount >= MAX_BLOCKS) return root;
  return truncatePage(target, { id: root, level: ROOT_LEVEL, blockCount });
}

/** `blockCount` counts from the page's first block and is below the blocks under the page. */
type PageTruncation = { readonly id: Buffer; readonly level: number; readonly blockCount: number };

async function truncatePage(
  target: Target,
  { id, level, blockCount }: PageTruncation,
): Promise<Buffer> {
  if (isZeroId(id) || blockCount === 0) return ZERO_ID;
  const old = await pageOf(target.pages, id);
  const page = Buffer.from(old);
  const blocksEach = blocksUnder(level - 1);
  const boundary = Math.floor(blockCount / blocksEach);
  page.fill(0, boundary * ID_BYTES);
  const rest = blockCount % blocksEach;
  if (rest > 0) {
    const child = { id: entryOf(old, boundary), level: level - 1, blockCount: rest };
    setEntry(page, boundary, await truncatePage(target, child));
  }
  return putReplacement(target.putPage, { page, old, oldId: id });
}

async function putReplacement(
  putPage: PutPage,
  { page, old, oldId }: Replacement,
): Promise<Buffer> {
  if (page.equals(old)) return oldId;
  return isZeroPage(page) ? ZERO_ID : putPage(page);
}

async function pageOf(pages: PageSource, id: Buffer): Promise<Buffer> {
  if (isZeroId(id)) return ZERO_PAGE;
  const page = pages.cached(id) ?? (await pages.page(id));
  assert(page.length === PAGE_BYTES, 'page');
  return page;
}

function setEntry(page: Buffer, entry: number, id: Buffer | undefined): void {
  assert(id !== undefined && id.length === ID_BYTES, 'id');
  id.copy(page, entry * ID_BYTES);
}
