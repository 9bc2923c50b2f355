/** Which bitmap an increment may count from, and why none may. Decides; asks nobody. */
import type { Tracking, TrackingBase } from '../hypervisor.ts';
import { formatBitmapName } from '../bitmap-name.ts';
import { fingerprintDifference } from '../image-fingerprint.ts';
import type { Checkpoint } from './checkpoints.ts';

/**
 * @param checkpoints those of this repository, by name.
 * @returns `bitmap` only if the checkpoint of a base has a valid bitmap for the disk, and the image is still
 *   what it was when that bitmap began.
 */
export function chooseTracking(
  disk: {
    readonly name: string;
    readonly fingerprint: string;
    readonly untracked: string | undefined;
  },
  choice: {
    readonly repositoryId: string;
    readonly bases: readonly TrackingBase[] | undefined;
    readonly checkpoints: ReadonlyMap<string, Checkpoint>;
    /** Why none may be used this time. */
    readonly distrust?: string | undefined;
  },
): Tracking {
  const { bases = [], repositoryId, checkpoints, distrust } = choice;
  if (bases.length === 0) return { kind: 'initial' };
  if (distrust !== undefined) return { kind: 'compare', reason: distrust };
  if (disk.untracked !== undefined) return { kind: 'compare', reason: disk.untracked };
  let reason: string | undefined;
  for (const base of bases) {
    const checkpoint = checkpoints.get(formatBitmapName({ repositoryId, point: base.point }));
    if (checkpoint === undefined) continue;
    const objection = objectionTo(checkpoint, { disk, base });
    if (objection === undefined) return { kind: 'bitmap', base: base.point };
    reason ??= objection;
  }
  return {
    kind: 'compare',
    reason:
      reason ??
      'no checkpoint of an earlier point is left: the VM was restored or defined anew, its image replaced, or "vm untrack" removed it',
  };
}

function objectionTo(
  checkpoint: Checkpoint,
  {
    disk,
    base,
  }: {
    readonly disk: { readonly name: string; readonly fingerprint: string };
    readonly base: TrackingBase;
  },
): string | undefined {
  if (!checkpoint.disks.includes(disk.name)) {
    return `checkpoint ${checkpoint.name} has no bitmap for ${disk.name}`;
  }
  if (!checkpoint.validDisks.has(disk.name)) {
    return `the bitmap ${checkpoint.name} of ${disk.name} is missing or broken: QEMU or the host was killed, or the image was replaced`;
  }
  const difference = fingerprintDifference(base.fingerprint, disk.fingerprint);
  return difference === undefined
    ? undefined
    : `the bitmap ${checkpoint.name} of ${disk.name} is not used: ${difference}`;
}
