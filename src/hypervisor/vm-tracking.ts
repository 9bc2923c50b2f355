/**
 * What backups leave on a VM to follow its changes: dirty bitmaps, and with libvirt their checkpoints. Backups look
 * after those of their own repository; of a repository that was given up or lost they stay until they are removed
 * here. What other products made is neither shown nor touched.
 */
import { parseBitmapName } from './bitmap-name.ts';

export type TrackingMark = {
  /** Hex, 32 digits. */
  readonly repositoryId: string;
  /** The recovery point that it counts from. */
  readonly point: string;
  readonly disk: string;
  /** Of the bitmap, and of the checkpoint where there is one. */
  readonly name: string;
  /** Why no backup can count from it; absent: nothing is known against it. */
  readonly fault?: string;
  /** The file that it lies in, where the disk's image is only based on that; absent: it is the VM's own. */
  readonly backingImage?: string;
};

type Warn = (message: string) => void;

export interface VmTracking {
  /**
   * Of all repositories, also in backing images. Reads only; disks that cannot be looked at are told to `warn`.
   *
   * @throws {HoldfastError} `VmNotFound`, `HypervisorUnavailable`, `HypervisorFailed`.
   */
  list(vm: string, warn: Warn): Promise<readonly TrackingMark[]>;

  /**
   * Removes bitmaps and checkpoints for good, and first what a killed backup left. The next backup into that
   * repository compares whole disks. Idempotent; the guest notices nothing. Backing images are not touched: others
   * may be based on them, too.
   *
   * @param repositoryId absent: of all repositories.
   * @returns what was removed.
   * @throws {HoldfastError} as `list`; `VmBusy` while a backup runs; `DiskInUse` if an image of a VM that is off is
   *   open elsewhere. What was removed until then stays removed.
   */
  remove(
    vm: string,
    repositoryId: string | undefined,
    warn: Warn,
  ): Promise<readonly TrackingMark[]>;
}

/** Whose a bitmap or checkpoint is; undefined: not ours. */
export function markOf(
  name: string,
  disk: string,
  fault: string | undefined,
): TrackingMark | undefined {
  const parsed = parseBitmapName(name);
  if (parsed === undefined) return undefined;
  const { repositoryId, point } = parsed;
  return { repositoryId, point, disk, name, ...(fault === undefined ? {} : { fault }) };
}

function isOf(mark: TrackingMark, repositoryId: string | undefined): boolean {
  return repositoryId === undefined || mark.repositoryId === repositoryId;
}

/** Whether it may be removed: it is of that repository, and the VM's own. */
export function isRemovable(mark: TrackingMark, repositoryId: string | undefined): boolean {
  return mark.backingImage === undefined && isOf(mark, repositoryId);
}
