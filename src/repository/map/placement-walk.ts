/**
 * Counts placements as points come and go (DESIGN: expiry is merging). A placement is a run of
 * consecutive points of a chain that hold the same block, or page, at one position; the index keeps
 * the number of placements of each id.
 *
 * A missing neighbour differs from everything; the id of zeros is never counted. Where two maps that
 * must not differ are equal, nothing below is read.
 */
import { Descent, type PageRow } from './descent.ts';
import { PAGE_ENTRIES, entryOf, isZeroEntry, sameEntry } from './page.ts';
import type { PageSource, PlacementSink } from './placement.ts';

export type AddedPoint = {
  /** Root of the last point of the chain; undefined if the new one is the first. */
  readonly previous: Buffer | undefined;
  readonly root: Buffer;
};

export type RemovedPoint = {
  readonly previous: Buffer | undefined;
  readonly root: Buffer;
  readonly next: Buffer | undefined;
};

export type RemovedBlocks = {
  /** Blocks that the point owned and no neighbour holds: their placements end. */
  readonly deleted: number;
  /** Blocks of the next point that belong to the previous one's run again: it owns them no more. */
  readonly joined: number;
};

/**
 * Adds the placements of a point at the end of its chain.
 *
 * @returns the blocks it owns: those that are not zero and differ from the point before. With an
 *   empty sink this counts what any point owns.
 * @throws what `pages` throws; the deltas given by then are the first of the fixed order.
 */
export async function pointAdded(
  pages: PageSource,
  { previous, root }: AddedPoint,
  sink: PlacementSink,
): Promise<number> {
  let ownedBlocks = 0;
  const visitor = {
    enter: ([before, own]: PageRow, entry: number): boolean => {
      if (sameEntry(before, own, entry) || !holds(own, entry)) return false;
      sink('page', entryOf(own, entry), 1);
      return true;
    },
    leaf: ([before, own]: PageRow): boolean => {
      for (let entry = 0; entry < PAGE_ENTRIES; entry++) {
        if (sameEntry(before, own, entry) || !holds(own, entry)) continue;
        sink('block', entryOf(own, entry), 1);
        ownedBlocks++;
      }
      return false;
    },
  };
  await new Descent({ pages, roots: [previous, root], visitor }).finish();
  return ownedBlocks;
}

/**
 * Removes the placements that end with a point: those where it differs from both neighbours, and one
 * of each pair that becomes one run, where the neighbours agree with each other but not with it.
 *
 * What the point owned and the next still holds is merged into the next. It is not walked, which would
 * read all of a first point's map, but follows: merged = owned − `deleted`. The next point then owns
 * `merged − joined` blocks more.
 *
 * @throws what `pages` throws; the deltas given by then are the first of the fixed order.
 */
export async function pointRemoved(
  pages: PageSource,
  { previous, root, next }: RemovedPoint,
  sink: PlacementSink,
): Promise<RemovedBlocks> {
  let deleted = 0;
  let joined = 0;
  const visitor = {
    enter: ([before, own, after]: PageRow, entry: number): boolean => {
      if (sameEntry(before, own, entry) || sameEntry(own, after, entry)) return false;
      const ends = holds(own, entry);
      if (ends) sink('page', entryOf(own, entry), -1);
      const bothHold = holds(before, entry) && holds(after, entry);
      if (bothHold && sameEntry(before, after, entry)) sink('page', entryOf(before, entry), -1);
      // Under zeros nothing ends, but neighbours that differ as pages may agree in some blocks.
      return ends || bothHold;
    },
    leaf: ([before, own, after]: PageRow): boolean => {
      for (let entry = 0; entry < PAGE_ENTRIES; entry++) {
        if (sameEntry(before, own, entry) || sameEntry(own, after, entry)) continue;
        if (holds(own, entry)) {
          sink('block', entryOf(own, entry), -1);
          deleted++;
        }
        if (holds(before, entry) && sameEntry(before, after, entry)) {
          sink('block', entryOf(before, entry), -1);
          joined++;
        }
      }
      return false;
    },
  };
  await new Descent({ pages, roots: [previous, root, next], visitor }).finish();
  return { deleted, joined };
}

function holds(page: Buffer | undefined, entry: number): page is Buffer {
  return page !== undefined && !isZeroEntry(page, entry);
}
