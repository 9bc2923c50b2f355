/**
 * Decides which packs to rewrite: damaged ones, those that free most bytes per byte moved, those that spoil the newest
 * points' locality, and small ones that together make a large one. Pure but for lookups.
 */
import { forEachBlock } from '../map/map-walk.ts';
import { isZeroEntry, entryOf, ZERO_PAGE } from '../map/page.ts';
import type { PageSource } from '../map/placement.ts';
import type { FrameTable } from '../pack/pack-footer.ts';
import { isLost } from '../reading/lost.ts';
import type { KnownPoint } from '../history/state.ts';
import type { RepositoryParts } from '../repository-parts.ts';

export type PackToRewrite = {
  readonly id: string;
  readonly number: number;
  readonly liveBytes: number;
  readonly deadBytes: number;
};

export type PlanOptions = {
  /** Most live bytes to move. */
  readonly budgetBytes: number;
  readonly scattered: ReadonlySet<number>;
  /** Packs that this run has dealt with. */
  readonly passed: ReadonlySet<string>;
};

/** Rewriting moves the live bytes: below this share of dead ones it is not worth it. */
const SMALLEST_DEAD_SHARE = 0.1;
const MAX_PACKS = 1024;
const TARGET_BYTES = { data: 64 * 1024 * 1024, page: 16 * 1024 * 1024 } as const;
/** So many packs of one size class are merged: the result is in a class above. */
const PACKS_A_CLASS = 4;
const MAX_READ_AMPLIFICATION = 3;

/**
 * The packs to rewrite now, best first; none if nothing is worth it. While there are packs without anything
 * alive, only those: they need no room, which a full disk does not have.
 */
export function planCompaction(parts: RepositoryParts, options: PlanOptions): PackToRewrite[] {
  const { state } = parts.history;
  const busy = new Set(
    [...state.marks.values()].flatMap((mark) => mark.packs.map(({ pack }) => pack)),
  );
  const isFree = (pack: string): boolean => !busy.has(pack) && !options.passed.has(pack);
  const packs = [...parts.keeper.packs.rows()]
    .filter((row) => isFree(row.id) && (row.slotCount > 0 || state.damage.has(row.id)))
    .map((row) => ({ ...row, deadBytes: row.frameBytes - row.liveBytes }));
  const damaged = packs.filter((pack) => state.damage.has(pack.id));
  const scattered = packs.filter((pack) => options.scattered.has(pack.number));
  const wasteful = packs
    .filter((pack) => pack.deadBytes >= SMALLEST_DEAD_SHARE * pack.frameBytes)
    .sort((a, b) => b.deadBytes / (b.liveBytes + 1) - a.deadBytes / (a.liveBytes + 1));
  const chosen = new Map<number, PackToRewrite>();
  let movedBytes = 0;
  for (const pack of [...damaged, ...scattered, ...wasteful, ...smallPacks(parts, packs)]) {
    if (chosen.size >= MAX_PACKS) break;
    if (chosen.has(pack.number) || movedBytes + pack.liveBytes > options.budgetBytes) continue;
    movedBytes += pack.liveBytes;
    chosen.set(pack.number, pack);
  }
  const dead = [...chosen.values()].filter((pack) => pack.liveBytes === 0);
  return dead.length > 0 ? dead : [...chosen.values()];
}

/** Packs of a kind and size class (a factor of four each) of which there are enough to merge. */
function smallPacks<Pack extends { readonly id: string; readonly frameBytes: number }>(
  parts: RepositoryParts,
  packs: readonly Pack[],
): Pack[] {
  const { state } = parts.history;
  const classes = Map.groupBy(packs, (pack) => {
    const kind = state.packs.get(pack.id)?.kind ?? 'data';
    const isSmall = pack.frameBytes * PACKS_A_CLASS <= TARGET_BYTES[kind];
    return isSmall ? `${kind} ${Math.floor(Math.log2(pack.frameBytes + 1) / 2)}` : 'large';
  });
  classes.delete('large');
  return [...classes.values()].filter((group) => group.length >= PACKS_A_CLASS).flat();
}

/** The newest visible point of each item. */
function newestPoints(parts: RepositoryParts): KnownPoint[] {
  const newest = new Map<string, KnownPoint>();
  for (const point of parts.history.state.points.values()) {
    if (point.visible) newest.set(point.item, point);
  }
  return [...newest.values()];
}

export type Amplification = {
  /** Sealed bytes of the frames that must be read ÷ shares that are needed; 1 for an empty point. */
  readonly factor: number;
  /** Packs by number: bytes read and bytes needed of them. */
  readonly packs: ReadonlyMap<number, { readonly readBytes: number; readonly neededBytes: number }>;
};

/** Above so many blocks only a sample of the frames is looked at: about 50 MB of memory. */
const SAMPLED_BLOCKS = 4_000_000;

/**
 * How many bytes restoring the point reads for each that it needs (promise 7). Frames are read once,
 * blocks that stand in several places are needed once.
 */
export async function readAmplification(
  parts: RepositoryParts,
  point: KnownPoint,
): Promise<Amplification> {
  const { blockSize } = parts.keyring;
  const blocks = point.disks.reduce((sum, disk) => sum + disk.sizeBytes / blockSize, 0);
  const oneIn = Math.ceil(blocks / SAMPLED_BLOCKS);
  const needed = new Map<number, Map<number, NeededFrame>>();
  await eachBlockOf(parts, point, (id) => {
    const place = parts.keeper.countingPlace(id);
    if (place === undefined || (place.pack * 31 + place.frame) % oneIn !== 0) return;
    const frames = needed.get(place.pack) ?? new Map<number, NeededFrame>();
    needed.set(place.pack, frames);
    const frame = frames.get(place.frame) ?? { slots: new Set(), bytes: 0 };
    frames.set(place.frame, frame);
    if (!frame.slots.has(place.slot)) frame.bytes += place.share;
    frame.slots.add(place.slot);
  });
  return amplificationOf(parts, needed);
}

type NeededFrame = { readonly slots: Set<number>; bytes: number };

async function amplificationOf(
  parts: RepositoryParts,
  needed: ReadonlyMap<number, ReadonlyMap<number, NeededFrame>>,
): Promise<Amplification> {
  const packs = new Map<number, { readBytes: number; neededBytes: number }>();
  let [readBytes, neededBytes] = [0, 0];
  for (const [pack, frames] of needed) {
    const packId = Buffer.from(parts.keeper.packs.idOf(pack)!, 'hex');
    const table = await tableOf(parts, packId);
    if (table === undefined) continue;
    const sums = { readBytes: 0, neededBytes: 0 };
    for (const [frame, { bytes }] of frames) {
      sums.readBytes += table.sealedLengths[frame]!;
      sums.neededBytes += bytes;
    }
    packs.set(pack, sums);
    readBytes += sums.readBytes;
    neededBytes += sums.neededBytes;
  }
  return { factor: neededBytes === 0 ? 1 : readBytes / neededBytes, packs };
}

/** Undefined: it cannot be read, which verification is there to find. */
async function tableOf(parts: RepositoryParts, packId: Buffer): Promise<FrameTable | undefined> {
  try {
    return await parts.keeper.reader.footers.table({ packId });
  } catch (error) {
    if (!isLost(error)) throw error;
    return undefined;
  }
}

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

export type Scattered = {
  /** Packs whose rewriting brings the newest points' amplification back below the limit. */
  readonly packs: ReadonlySet<number>;
  /** Points to store in disk order, those that need least first: they gain most. */
  readonly points: readonly string[];
};

/** The newest points above the limit of read amplification, and the packs that make them so. */
export async function findScattered(parts: RepositoryParts): Promise<Scattered> {
  const packs = new Set<number>();
  const points: { readonly point: string; readonly neededBytes: number }[] = [];
  for (const known of newestPoints(parts)) {
    const { point, number: committed } = known;
    const found = await readAmplification(parts, known);
    if (found.factor <= MAX_READ_AMPLIFICATION) continue;
    let total = 0;
    for (const [number, { readBytes, neededBytes }] of found.packs) {
      total += neededBytes;
      // A pack younger than the point was laid out by compaction with the point in view.
      const pack = parts.history.state.packs.get(parts.keeper.packs.idOf(number) ?? '');
      const isYounger = pack === undefined || pack.number > committed;
      if (!isYounger && readBytes > MAX_READ_AMPLIFICATION * neededBytes) packs.add(number);
    }
    points.push({ point, neededBytes: total });
  }
  points.sort((a, b) => a.neededBytes - b.neededBytes);
  return { packs, points: points.map(({ point }) => point) };
}
