/** Which points and disks cannot be restored whole, as things stand. Walks every map. */
import { isHoldfastError } from '#base';
import type { PageSource } from '../map/placement.ts';
import { forEachBlock } from '../map/map-walk.ts';
import { entryOf, isZeroEntry, ZERO_PAGE } from '../map/page.ts';
import type { RepositoryParts } from '../repository-parts.ts';

type TouchedDisk = {
  readonly name: string;
  readonly lostBlocks: number;
  /** Pages of the map that cannot be read: what is below them is not counted. */
  readonly lostPages: number;
  /** Byte offset on the disk of the first lost block, where known. */
  readonly firstOffset: number | undefined;
};

export type TouchedPoint = {
  readonly point: string;
  readonly item: string;
  readonly disks: readonly TouchedDisk[];
};

export async function touchedPoints(parts: RepositoryParts): Promise<TouchedPoint[]> {
  const touched: TouchedPoint[] = [];
  for (const point of parts.history.state.points.values()) {
    if (!point.visible) continue;
    const disks: TouchedDisk[] = [];
    for (const disk of point.disks) {
      const found = await touchedDisk(parts, disk);
      if (found.lostBlocks > 0 || found.lostPages > 0) disks.push(found);
    }
    if (disks.length > 0) touched.push({ point: point.point, item: point.item, disks });
  }
  return touched;
}

async function touchedDisk(
  parts: RepositoryParts,
  disk: { readonly name: string; readonly sizeBytes: number; readonly root: string },
): Promise<TouchedDisk> {
  const { blockSize } = parts.keyring;
  let [lostBlocks, lostPages] = [0, 0];
  let firstOffset: number | undefined;
  // A reader of its own: what the other has in memory says nothing of what is stored.
  const reader = parts.keeper.newReader();
  const pages: PageSource = {
    cached: reader.cached,
    page: async (id) => {
      try {
        return await reader.page(id);
      } catch (error) {
        if (!isHoldfastError(error) || error.kind !== 'corrupt') throw error;
        lostPages += 1;
        return ZERO_PAGE;
      }
    },
  };
  const range = { fromBlock: 0, toBlock: Math.ceil(disk.sizeBytes / blockSize) };
  await forEachBlock({ pages, root: Buffer.from(disk.root, 'hex'), ...range }, (leaf) => {
    for (let entry = leaf.fromEntry; entry < leaf.toEntry; entry += 1) {
      if (isZeroEntry(leaf.page, entry) || parts.keeper.isReadable(entryOf(leaf.page, entry)))
        continue;
      lostBlocks += 1;
      firstOffset ??= (leaf.firstBlock + entry) * blockSize;
    }
  });
  return { name: disk.name, lostBlocks, lostPages, firstOffset };
}
