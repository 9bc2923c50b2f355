/**
 * Decides which packs to rewrite: damaged ones, those that free most bytes per byte moved, those that spoil
 * the locality of an item's oldest or newest point, and small ones that together make a large one. Pure but
 * for lookups.
 */
import type { FrameTable } from '../pack/pack-footer.ts';
import { isLost } from '../reading/lost.ts';
import type { KnownPoint } from '../history/state.ts';
import type { RepositoryParts } from '../repository-parts.ts';
import { eachBlockOf } from './each-block.ts';
import { MOST_POINTS } from './move-order.ts';

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
  /** Whether the store has little room: then only what frees some, and damaged packs last. */
  readonly isShortOfRoom: boolean;
};

/** Rewriting moves the live bytes: below this share of dead ones it is not worth it. */
const SMALLEST_DEAD_SHARE = 0.1;
const MAX_PACKS = 1024;
const TARGET_BYTES = { data: 64 * 1024 * 1024, page: 16 * 1024 * 1024 } as const;
/** So many packs of one size class are merged: the result is in a class above. */
const PACKS_A_CLASS = 4;
const MAX_READ_AMPLIFICATION = 3;
/** From here on what is moved anyway is moved into the order of its item's points. */
const LAID_OUT_FROM = 1.2;

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
  const dead = packs.filter((pack) => pack.liveBytes === 0).slice(0, MAX_PACKS);
  if (dead.length > 0) return dead;
  const damaged = packs.filter((pack) => state.damage.has(pack.id));
  const scattered = packs.filter((pack) => options.scattered.has(pack.number));
  const wasteful = packs
    .filter(isWasteful)
    .sort((a, b) => b.deadBytes / (b.liveBytes + 1) - a.deadBytes / (a.liveBytes + 1));
  // A merge that does not fit as a whole would write the same packs again and again.
  const inOrder = options.isShortOfRoom
    ? [...wasteful, ...damaged]
    : [...damaged, ...scattered, ...wasteful, ...smallPacks(parts, packs)];
  const chosen = new Map<number, PackToRewrite>();
  let movedBytes = 0;
  for (const pack of inOrder) {
    if (chosen.size >= MAX_PACKS) break;
    if (chosen.has(pack.number) || movedBytes + pack.liveBytes > options.budgetBytes) continue;
    movedBytes += pack.liveBytes;
    chosen.set(pack.number, pack);
  }
  return [...chosen.values()];
}

/** Whether rewriting the pack frees enough to be worth it. */
export function isWasteful({ liveBytes, deadBytes }: PackToRewrite): boolean {
  return deadBytes >= SMALLEST_DEAD_SHARE * (liveBytes + deadBytes);
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

/** Of each item the oldest and the newest visible point and a few evenly between, oldest first. */
function sampledPoints(parts: RepositoryParts): KnownPoint[][] {
  const visible = [...parts.history.state.points.values()].filter((point) => point.visible);
  return [...Map.groupBy(visible, ({ item }) => item).values()].map((points) => {
    const step = (points.length - 1) / (MOST_POINTS - 1);
    const places = Array.from({ length: MOST_POINTS }, (_, at) => Math.round(at * step));
    return [...new Set(places)].map((place) => points[place]!);
  });
}

export type Amplification = {
  /** Sealed bytes of the frames that must be read ÷ shares that are needed; 1 for an empty point. */
  readonly factor: number;
  /** Places of blocks that are not zero. */
  readonly blockCount: number;
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
  let blockCount = 0;
  await eachBlockOf(parts, point, (id) => {
    blockCount += 1;
    const place = parts.keeper.countingPlace(id);
    if (place === undefined || (place.pack * 31 + place.frame) % oneIn !== 0) return;
    const frames = needed.get(place.pack) ?? new Map<number, NeededFrame>();
    needed.set(place.pack, frames);
    const frame = frames.get(place.frame) ?? { slots: new Set(), bytes: 0 };
    frames.set(place.frame, frame);
    if (!frame.slots.has(place.slot)) frame.bytes += place.share;
    frame.slots.add(place.slot);
  });
  return { blockCount, ...(await amplificationOf(parts, needed)) };
}

type NeededFrame = { readonly slots: Set<number>; bytes: number };

async function amplificationOf(
  parts: RepositoryParts,
  needed: ReadonlyMap<number, ReadonlyMap<number, NeededFrame>>,
): Promise<Omit<Amplification, 'blockCount'>> {
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

export type ScatteredItem = {
  /** Some of its points, oldest first. */
  readonly points: readonly string[];
  /** Numbers of the packs that its oldest and newest point need. */
  readonly packs: ReadonlySet<number>;
  /** Blocks that are looked at for each of the points. */
  readonly blockCount: number;
  /** Whether one of them is above the limit: then its blocks are laid out whatever that costs. */
  readonly isAboveLimit: boolean;
};

export type Scattered = {
  /** Packs whose rewriting brings the amplification of a first or last point back below the limit. */
  readonly packs: ReadonlySet<number>;
  /** Items worth laying out anew; those that need least gain most, and come first. */
  readonly items: readonly ScatteredItem[];
};

/** The items whose oldest or newest point reads more than it needs, and the packs that make it so. */
export async function findScattered(parts: RepositoryParts): Promise<Scattered> {
  const packs = new Set<number>();
  const items: (ScatteredItem & { readonly neededBytes: number })[] = [];
  for (const points of sampledPoints(parts)) {
    const newest = points.at(-1)!;
    const ends = [...new Set([points[0]!, newest])];
    const found: Amplification[] = [];
    for (const point of ends) found.push(await readAmplification(parts, point));
    for (const { factor, packs: sums } of found) {
      if (factor <= MAX_READ_AMPLIFICATION) continue;
      for (const number of spoiling(sums)) {
        // A pack younger than the newest point was laid out by compaction with all in view.
        const pack = parts.history.state.packs.get(parts.keeper.packs.idOf(number) ?? '');
        if (pack !== undefined && pack.number <= newest.number) packs.add(number);
      }
    }
    const worst = Math.max(...found.map(({ factor }) => factor));
    if (worst <= LAID_OUT_FROM) continue;
    const sums = found.flatMap((one) => [...one.packs]);
    items.push({
      points: points.map(({ point }) => point),
      packs: new Set(sums.map(([number]) => number)),
      blockCount: Math.max(...found.map(({ blockCount }) => blockCount)),
      isAboveLimit: worst > MAX_READ_AMPLIFICATION,
      neededBytes: sums.reduce((sum, [, { neededBytes }]) => sum + neededBytes, 0),
    });
  }
  items.sort((a, b) => a.neededBytes - b.neededBytes);
  return { packs, items };
}

function spoiling(packs: Amplification['packs']): number[] {
  return [...packs].flatMap(([number, { readBytes, neededBytes }]) =>
    readBytes > MAX_READ_AMPLIFICATION * neededBytes ? [number] : [],
  );
}
