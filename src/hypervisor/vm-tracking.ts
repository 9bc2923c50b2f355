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
};

type Warn = (message: string) => void;

export interface VmTracking {
  /**
   * Of all repositories. Reads only; disks that cannot be looked at are told to `warn`.
   *
   * @throws {HoldfastError} `VmNotFound`, `HypervisorUnavailable`, `HypervisorFailed`.
   */
  list(vm: string, warn: Warn): Promise<readonly TrackingMark[]>;

  /**
   * Removes bitmaps and checkpoints for good, and first what a killed backup left. The next backup into that
   * repository compares whole disks. Idempotent; the guest notices nothing.
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

export function isOf(mark: TrackingMark, repositoryId: string | undefined): boolean {
  return repositoryId === undefined || mark.repositoryId === repositoryId;
}
