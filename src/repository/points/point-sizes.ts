/** What each point costs (DESIGN §3.3, M30): what it owns, what that takes stored, what its end frees. */
import type { KnownPoint } from '../history/state.ts';
import { pointAdded } from '../map/placement-walk.ts';
import { planExpiry } from '../expiry/expire.ts';
import { isLost } from '../reading/lost.ts';
import type { RepositoryParts } from '../repository-parts.ts';
import { readManifest, type Manifest } from './manifest.ts';

/** In place of what a lost manifest said. */
const UNKNOWN = 'unknown';

type DiskSizes = {
  readonly name: string;
  readonly size: number;
  /** Bytes of the blocks that this point is the oldest of its chain to hold. */
  readonly owned: number;
  /** Their stored bytes. */
  readonly ownedStored: number;
};

export type PointSizes = {
  readonly id: string;
  /** The item's name. */
  readonly item: string;
  readonly timeMs: number;
  readonly consistency: string;
  readonly disks: readonly DiskSizes[];
  /** By how much `liveBytes` falls if this point alone expires. */
  readonly freedIfExpired: number;
};

/**
 * The visible points, oldest first.
 *
 * @param options.item only those of the item of this name. `onManifest`: told of each manifest that can be read.
 */
export async function pointSizes(
  parts: RepositoryParts,
  options: { readonly item?: string; readonly onManifest?: (manifest: Manifest) => void } = {},
): Promise<PointSizes[]> {
  const wanted = options.item === undefined ? undefined : parts.keyring.itemId(options.item);
  const points = [...parts.history.state.points.values()].filter(
    (point) => point.visible && (wanted === undefined || point.item === wanted),
  );
  const sizes: PointSizes[] = [];
  for (const point of points) {
    const { item, consistency, timeMs } = await describe(
      { parts, onManifest: options.onManifest },
      point,
      points,
    );
    const disks: DiskSizes[] = [];
    for (const disk of point.disks) {
      disks.push({
        name: disk.name,
        size: disk.sizeBytes,
        owned: parts.keeper.ownedBlocks(disk.chain, point.point) * parts.keyring.blockSize,
        ownedStored: await ownedStored(parts, point, disk),
      });
    }
    const { freedBytes } = await planExpiry(parts, [point.point]);
    sizes.push({ id: point.point, item, timeMs, consistency, disks, freedIfExpired: freedBytes });
  }
  return sizes.sort((a, b) => a.timeMs - b.timeMs);
}

/** What the manifest says; of one that is lost, what the log and the item's other manifests say. */
async function describe(
  {
    parts,
    onManifest,
  }: {
    readonly parts: RepositoryParts;
    readonly onManifest: ((manifest: Manifest) => void) | undefined;
  },
  point: KnownPoint,
  points: readonly KnownPoint[],
): Promise<Pick<PointSizes, 'item' | 'consistency' | 'timeMs'>> {
  const siblings = points.filter((other) => other.item === point.item && other !== point);
  for (const other of [point, ...siblings]) {
    try {
      const manifest = await readManifest(parts, other);
      const { item, consistency, timeMs } = manifest;
      if (other === point) onManifest?.(manifest);
      if (other === point) return { item, consistency, timeMs };
      return { item, consistency: UNKNOWN, timeMs: point.timeMs };
    } catch (error) {
      if (!isLost(error)) throw error;
    }
  }
  return { item: UNKNOWN, consistency: UNKNOWN, timeMs: point.timeMs };
}

async function ownedStored(
  parts: RepositoryParts,
  point: KnownPoint,
  disk: { readonly chain: string; readonly root: string },
): Promise<number> {
  const { state } = parts.history;
  const chain = state.chains.get(disk.chain)!;
  const before = state.points.get(chain[chain.indexOf(point.point) - 1] ?? '');
  const previous = before?.disks.find((known) => known.chain === disk.chain)?.root;
  let bytes = 0;
  const roots = {
    previous: previous === undefined ? undefined : Buffer.from(previous, 'hex'),
    root: Buffer.from(disk.root, 'hex'),
  };
  await pointAdded(parts.keeper.reader, roots, (kind, id) => {
    if (kind === 'block') bytes += parts.keeper.stored(id).share;
  });
  return bytes;
}
