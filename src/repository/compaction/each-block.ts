/** The blocks of a point, for whoever decides what goes where in compaction. */
import type { KnownPoint } from '../history/state.ts';
import { forEachBlock } from '../map/map-walk.ts';
import { isZeroEntry, entryOf, ZERO_PAGE } from '../map/page.ts';
import type { PageSource } from '../map/placement.ts';
import { isLost } from '../reading/lost.ts';
import type { RepositoryParts } from '../repository-parts.ts';

/**
 * Visits the id of every block of the point's disks that is not zero; the id is a view. What lies below a
 * page that cannot be read is passed over.
 */
export async function eachBlockOf(
  parts: RepositoryParts,
  point: KnownPoint,
  visit: (id: Buffer) => void | Promise<void>,
): Promise<void> {
  const { blockSize } = parts.keyring;
  const { reader } = parts.keeper;
  const pages: PageSource = {
    cached: reader.cached,
    page: async (id) => {
      try {
        return await reader.page(id);
      } catch (error) {
        if (!isLost(error)) throw error;
        return ZERO_PAGE;
      }
    },
  };
  for (const disk of point.disks) {
    const range = { fromBlock: 0, toBlock: Math.ceil(disk.sizeBytes / blockSize) };
    const root = Buffer.from(disk.root, 'hex');
    await forEachBlock({ pages, root, ...range }, async (leaf) => {
      for (let entry = leaf.fromEntry; entry < leaf.toEntry; entry += 1) {
        if (isZeroEntry(leaf.page, entry)) continue;
        const pending = visit(entryOf(leaf.page, entry));
        if (pending !== undefined) await pending;
      }
    });
  }
}
