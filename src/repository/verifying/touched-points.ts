/** Which points and disks cannot be restored whole, as things stand, and by what. Walks every map. */
import { isHoldfastError } from '#base';
import { newFound } from '../block-index/index.ts';
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

/** A point with the names of its disks that an object's damage touches. */
export type TouchedBy = {
  readonly point: string;
  readonly item: string;
  readonly disks: readonly string[];
};

/** Where copies of the blocks lay that are lost: which point and disk needs each damaged frame. */
class LostPlaces {
  readonly #found = newFound();
  readonly #disks = new Map<string, Map<number, Set<string>>>();
  readonly #keeper: RepositoryParts['keeper'];

  constructor(keeper: RepositoryParts['keeper']) {
    this.#keeper = keeper;
  }

  /** Notes that the disk needs the id. */
  add(id: Buffer, disk: string): void {
    const { index, rules } = this.#keeper;
    const { copyCount, packs, frames } = index.find(id, this.#found);
    for (let at = 0; at < copyCount; at += 1) {
      const pack = rules.packId(packs[at]!)?.toString('hex');
      if (pack === undefined) continue;
      const byFrame = this.#disks.get(pack) ?? new Map<number, Set<string>>();
      const disks = byFrame.get(frames[at]!) ?? new Set();
      this.#disks.set(pack, byFrame.set(frames[at]!, disks.add(disk)));
    }
  }

  /** Disks that lost something in the frame; frame −1: in any frame of the pack. */
  disksOf(pack: string, frame: number): ReadonlySet<string> {
    const byFrame = this.#disks.get(pack);
    if (frame >= 0) return byFrame?.get(frame) ?? new Set();
    return new Set([...(byFrame?.values() ?? [])].flatMap((disks) => [...disks]));
  }
}

export type Touched = {
  readonly points: readonly TouchedPoint[];
  /** Points that cannot be restored whole because of a frame, or with frame −1 of a pack. */
  readonly by: (pack: string, frame: number) => TouchedBy[];
};

export async function touchedPoints(parts: RepositoryParts): Promise<Touched> {
  const points: TouchedPoint[] = [];
  const places = new LostPlaces(parts.keeper);
  for (const { visible, point, item, disks } of parts.history.state.points.values()) {
    if (!visible) continue;
    const touched: TouchedDisk[] = [];
    for (const disk of disks) {
      const key = keyOf(point, disk.name);
      const found = await touchedDisk(parts, disk, (id) => places.add(id, key));
      if (found.lostBlocks > 0 || found.lostPages > 0) touched.push(found);
    }
    if (touched.length > 0) points.push({ point, item, disks: touched });
  }
  const by = (pack: string, frame: number): TouchedBy[] => {
    const keys = places.disksOf(pack, frame);
    return points.flatMap(({ point, item, disks }) => {
      const names = disks.map(({ name }) => name).filter((name) => keys.has(keyOf(point, name)));
      return names.length === 0 ? [] : [{ point, item, disks: names }];
    });
  };
  return { points, by };
}

function keyOf(point: string, disk: string): string {
  return `${point}/${disk}`;
}

async function touchedDisk(
  parts: RepositoryParts,
  disk: { readonly name: string; readonly sizeBytes: number; readonly root: string },
  onLost: (id: Buffer) => void,
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
        onLost(id);
        return ZERO_PAGE;
      }
    },
  };
  const range = { fromBlock: 0, toBlock: Math.ceil(disk.sizeBytes / blockSize) };
  await forEachBlock({ pages, root: Buffer.from(disk.root, 'hex'), ...range }, (leaf) => {
    for (let entry = leaf.fromEntry; entry < leaf.toEntry; entry += 1) {
      if (isZeroEntry(leaf.page, entry)) continue;
      const id = entryOf(leaf.page, entry);
      if (parts.keeper.isReadable(id)) continue;
      onLost(id);
      lostBlocks += 1;
      firstOffset ??= (leaf.firstBlock + entry) * blockSize;
    }
  });
  return { name: disk.name, lostBlocks, lostPages, firstOffset };
}
