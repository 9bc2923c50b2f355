/**
 * Brings the checkpoints of our repository in line with its points before a backup of a running VM, and drops
 * those that a committed backup has replaced. Checkpoints of other repositories and products are not touched.
 * Bases are here the item's own and those of other items of the repository: each has its checkpoint.
 *
 * | metadata | bitmap  | its point        |                                                              |
 * | -------- | ------- | ---------------- | ------------------------------------------------------------ |
 * | there    | any     | not among bases  | deleted: its backup died before the commit, or it expired    |
 * | there    | valid   | among bases      | kept: the next increment can count from it                   |
 * | there    | all bad | among bases      | deleted: QEMU was killed, or the image replaced              |
 * | none     | valid   | among bases      | adopted: the VM was defined anew, or backed up while off     |
 * | none     | other   |                  | deleted from the image                                       |
 */
import { formatBitmapName, parseBitmapName } from '../bitmap-name.ts';
import type { TrackingRequest } from '../hypervisor.ts';
import {
  adoptCheckpoint,
  checkpointNames,
  deleteCheckpoint,
  deleteStrayBitmaps,
  readCheckpoint,
  type Checkpoint,
  type CheckpointScope,
} from './checkpoints.ts';

type DiskBitmaps = { readonly name: string; readonly bitmaps: readonly string[] };

/**
 * @param disks those that are backed up, with the bitmaps stored in their images.
 * @returns our checkpoints that are left, by name.
 */
export async function reconcileCheckpoints(
  scope: CheckpointScope,
  context: {
    readonly tracking: TrackingRequest;
    readonly disks: readonly DiskBitmaps[];
    readonly warn: (message: string) => void;
  },
): Promise<ReadonlyMap<string, Checkpoint>> {
  const { tracking, disks, warn } = context;
  const wanted = baseNames(tracking);
  const names = (await checkpointNames(scope)).filter((name) => isOurs(name, tracking));
  const kept = new Map<string, Checkpoint>();
  for (const name of names) {
    const checkpoint = await readCheckpoint(scope, name);
    const reason = reasonToDelete(checkpoint, { wanted, disks });
    if (reason === undefined) {
      kept.set(name, checkpoint);
    } else {
      await deleteCheckpoint(scope, name);
      if (!isFollowed(checkpoint, tracking)) warn(`removed checkpoint ${name}: ${reason}`);
    }
  }
  for (const [name, diskNames] of strayBitmaps(disks, { tracking, names })) {
    const isAdopted =
      wanted.has(name) && (await adoptCheckpoint(scope, { name, disks: diskNames }));
    if (isAdopted) {
      kept.set(name, await readCheckpoint(scope, name));
    } else {
      await deleteStrayBitmaps(scope, { name, disks: diskNames });
      warn(`removed bitmap ${name} from ${diskNames.join(', ')}: nothing counts from it`);
    }
  }
  return kept;
}

/**
 * Deletes every checkpoint of our repository that the new one has replaced: no other item counts from it, and
 * all its disks that the VM still has are in the new one.
 */
export async function dropReplaced(
  scope: CheckpointScope,
  context: {
    readonly tracking: TrackingRequest;
    readonly newDisks: readonly string[];
    readonly vmDisks: readonly string[];
  },
): Promise<void> {
  const { tracking, newDisks, vmDisks } = context;
  const kept = new Set([formatBitmapName(tracking), ...otherNames(tracking)]);
  for (const name of await checkpointNames(scope)) {
    if (kept.has(name) || !isOurs(name, tracking)) continue;
    const { disks } = await readCheckpoint(scope, name);
    const isNeeded = disks.some((disk) => vmDisks.includes(disk) && !newDisks.includes(disk));
    if (!isNeeded) await deleteCheckpoint(scope, name);
  }
}

function reasonToDelete(
  checkpoint: Checkpoint,
  context: { readonly wanted: ReadonlySet<string>; readonly disks: readonly DiskBitmaps[] },
): string | undefined {
  const { wanted, disks } = context;
  // Of disks that are not asked about now, the bases are not known.
  if (checkpoint.disks.some((name) => disks.every((disk) => disk.name !== name))) return undefined;
  if (!wanted.has(checkpoint.name)) {
    return 'its point was never committed, or has expired';
  }
  if (checkpoint.validDisks.size > 0) return undefined;
  return 'its bitmaps are missing or broken: QEMU or the host was killed, or the images were replaced';
}

/**
 * Whether newer points of all its disks were taken since, while the VM was off: then libvirt did not see how its
 * bitmaps went, and nothing is lost.
 */
function isFollowed({ name, disks }: Checkpoint, tracking: TrackingRequest): boolean {
  const point = parseBitmapName(name)?.point;
  if (point === undefined || tracking.otherBases.has(point)) return false;
  return disks.every((disk) => {
    const known = tracking.bases.get(disk) ?? [];
    return known.findIndex((base) => base.point === point) > 0;
  });
}

/** Bitmaps of ours in images that belong to no checkpoint: the names of the disks by that of the bitmap. */
function strayBitmaps(
  disks: readonly DiskBitmaps[],
  { tracking, names }: { readonly tracking: TrackingRequest; readonly names: readonly string[] },
): ReadonlyMap<string, readonly string[]> {
  const stray = new Map<string, string[]>();
  for (const disk of disks) {
    for (const bitmap of disk.bitmaps) {
      if (!isOurs(bitmap, tracking) || names.includes(bitmap)) continue;
      stray.set(bitmap, [...(stray.get(bitmap) ?? []), disk.name]);
    }
  }
  return stray;
}

function baseNames(tracking: TrackingRequest): ReadonlySet<string> {
  const { repositoryId, bases } = tracking;
  const points = Array.from(bases.values()).flatMap((list) => list.map(({ point }) => point));
  const names = points.map((point) => formatBitmapName({ repositoryId, point }));
  return new Set([...names, ...otherNames(tracking)]);
}

function otherNames({ repositoryId, otherBases }: TrackingRequest): string[] {
  return Array.from(otherBases, (point) => formatBitmapName({ repositoryId, point }));
}

function isOurs(name: string, { repositoryId }: TrackingRequest): boolean {
  return parseBitmapName(name)?.repositoryId === repositoryId;
}
