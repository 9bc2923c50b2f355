/**
 * Expiry (DESIGN §3.3): a point leaves the list; what only it held is dead, what the next point still
 * holds is merged into it. Deciding is apart from doing: `planExpiry` says to the byte what
 * `expirePoints` then does. Order: log entry → index → manifest (invariant 3).
 */
import { HoldfastError } from '#base';
import type { KnownPoint, RepositoryState } from '../history/state.ts';
import type { PageSource } from '../map/placement.ts';
import { pointRemoved, type RemovedBlocks } from '../map/placement-walk.ts';
import { manifestName } from '../points/manifest.ts';
import type { RepositoryParts } from '../repository-parts.ts';
import { DeltaTally } from './delta-tally.ts';

/** Manifests; those of one folder share its fsync. */
const DELETED_AT_ONCE = 32;

export type ExpiryPlan = {
  readonly points: readonly string[];
  /** By how much `liveBytes` falls when all of them are gone. */
  readonly freedBytes: number;
  /** Blocks of the points that the next point of their chain still holds and now owns. */
  readonly mergedBlocks: number;
  /** Blocks that no point holds any more at their place. */
  readonly deletedBlocks: number;
};

export type ExpiryResult = ExpiryPlan & {
  /** Points that a backup or a reader still needs: they go when it ends. */
  readonly kept: readonly string[];
};

/** @throws {HoldfastError} `PointNotFound` for the first that is not there. */
function visiblePoints(state: RepositoryState, ids: readonly string[]): KnownPoint[] {
  return [...new Set(ids)].map((id) => {
    const point = state.points.get(id);
    if (point?.visible === true) return point;
    throw new HoldfastError('PointNotFound', `there is no recovery point ${id}`, {
      details: { point: id },
    });
  });
}

/** What expiring the points together would free. Changes nothing. */
export async function planExpiry(
  parts: RepositoryParts,
  ids: readonly string[],
): Promise<ExpiryPlan> {
  const points = visiblePoints(parts.history.state, ids);
  const tally = new DeltaTally();
  const pages: PageSource = {
    cached: (id) => (tally.isFull ? undefined : parts.keeper.reader.cached(id)),
    page: async (id) => {
      if (tally.isFull) await tally.spill();
      return parts.keeper.reader.page(id);
    },
  };
  try {
    const owned = new OwnedBlocks(parts);
    let [mergedBlocks, deletedBlocks] = [0, 0];
    for (const removal of removals(parts.history.state, points)) {
      const walked = await pointRemoved(pages, removal, (_kind, id, delta) => tally.add(id, delta));
      deletedBlocks += walked.deleted;
      mergedBlocks += owned.removed(removal, walked);
    }
    let freedBytes = 0;
    for await (const { id, delta } of tally.sums()) {
      const { share, count } = parts.keeper.stored(id);
      if (count > 0 && count + delta === 0) freedBytes += share;
    }
    return { points: points.map(({ point }) => point), freedBytes, mergedBlocks, deletedBlocks };
  } finally {
    await tally.close();
  }
}

type Removal = {
  readonly chain: string;
  readonly point: string;
  readonly nextPoint: string | undefined;
  readonly previous: Buffer | undefined;
  readonly root: Buffer;
  readonly next: Buffer | undefined;
};

/** How many blocks each point would own after the removals so far. */
class OwnedBlocks {
  readonly #parts: RepositoryParts;
  readonly #counts = new Map<string, number>();

  constructor(parts: RepositoryParts) {
    this.#parts = parts;
  }

  /** @returns how many blocks are merged into the next point. */
  removed({ chain, point, nextPoint }: Removal, { deleted, joined }: RemovedBlocks): number {
    if (nextPoint === undefined) return 0;
    const merged = this.#count(chain, point) - deleted;
    this.#counts.set(`${chain}/${nextPoint}`, this.#count(chain, nextPoint) + merged - joined);
    return merged;
  }

  #count(chain: string, point: string): number {
    return this.#counts.get(`${chain}/${point}`) ?? this.#parts.keeper.ownedBlocks(chain, point);
  }
}

/** The removals in order, each after those before it. */
function* removals(state: RepositoryState, points: readonly KnownPoint[]): Generator<Removal> {
  const chains = new Map(Array.from(state.chains, ([chain, ids]) => [chain, [...ids]]));
  const rootIn = (chain: string, id: string | undefined): Buffer | undefined => {
    const disk = state.points.get(id ?? '')?.disks.find((known) => known.chain === chain);
    return disk === undefined ? undefined : Buffer.from(disk.root, 'hex');
  };
  for (const point of points) {
    for (const { chain, root } of point.disks) {
      const ids = chains.get(chain)!;
      const at = ids.indexOf(point.point);
      yield {
        chain,
        point: point.point,
        nextPoint: ids[at + 1],
        previous: rootIn(chain, ids[at - 1]),
        root: Buffer.from(root, 'hex'),
        next: rootIn(chain, ids[at + 1]),
      };
      ids.splice(at, 1);
    }
  }
}

/**
 * Expires the points by one log entry. On return it is durable; the space is reclaimed by compaction.
 *
 * @throws {HoldfastError} `PointNotFound`: then none has expired.
 */
export async function expirePoints(
  parts: RepositoryParts,
  ids: readonly string[],
): Promise<ExpiryResult> {
  const points = visiblePoints(parts.history.state, ids).map((point) => point.point);
  const known = new Map(points.map((id) => [id, parts.history.state.points.get(id)!]));
  if (points.length === 0) {
    return { points, freedBytes: 0, mergedBlocks: 0, deletedBlocks: 0, kept: [] };
  }
  const number = await parts.append((state) => {
    visiblePoints(state, points);
    return { type: 'point-expired', points };
  });
  const { state } = parts.history;
  const gone = [...known.values()].filter(({ point }) => !state.points.has(point));
  for (let from = 0; from < gone.length; from += DELETED_AT_ONCE) {
    const some = gone.slice(from, from + DELETED_AT_ONCE);
    const names = some.map(({ item, point }) => manifestName(item, point));
    await Promise.all(names.map(async (name) => await parts.store.delete(name)));
  }
  const applied = parts.keeper.appliedBy(number!);
  return {
    points,
    freedBytes: applied.freedBytes,
    mergedBlocks: applied.merged,
    deletedBlocks: applied.deleted,
    kept: points.filter((id) => state.points.has(id)),
  };
}
