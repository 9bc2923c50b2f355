/**
 * The room that scratch images have. libvirt pauses a guest whose scratch image is full (`blockdev-backup` hands
 * the error to the device), so the room is checked before and watched during a backup, which is ended in time.
 */
import { statfs } from 'node:fs/promises';
import { HoldfastError } from '#base';

const MIB = 1024 ** 2;
/** What a guest may overwrite during a backup, unless its disks are smaller. */
const MIN_NEEDED_BYTES = 1024 * MIB;
const NEEDED_SHARE = 0.1;
const MAX_RESERVE_BYTES = 256 * MIB;

export type ScratchNeeds = {
  /** To begin with. */
  readonly neededBytes: number;
  /** Below it the backup is ended. */
  readonly reserveBytes: number;
};

/** A scratch image never takes more than its disk has. */
export function scratchNeeds(diskSizesBytes: readonly number[]): ScratchNeeds {
  const total = diskSizesBytes.reduce((sum, size) => sum + size, 0);
  const neededBytes = Math.min(total, Math.max(MIN_NEEDED_BYTES, Math.ceil(total * NEEDED_SHARE)));
  return { neededBytes, reserveBytes: Math.min(MAX_RESERVE_BYTES, Math.floor(neededBytes / 4)) };
}

/** What an ordinary user can still write: QEMU is none. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** @throws {HoldfastError} `StoreFull`, with what is needed. */
export async function checkScratchSpace(folder: string, needs: ScratchNeeds): Promise<void> {
  const free = await freeBytes(folder);
  if (free >= needs.neededBytes) return;
  throw scratchFull(
    folder,
    `has ${inMiB(free)} free and needs ${inMiB(needs.neededBytes)} for what the guest overwrites, or what is copied, during the backup`,
  );
}

export function scratchFull(folder: string, what: string): HoldfastError {
  return new HoldfastError('StoreFull', `the scratch folder "${folder}" ${what}`, {
    details: { path: folder, purpose: 'scratch' },
  });
}

export function inMiB(bytes: number): string {
  return `${Math.ceil(bytes / MIB)} MiB`;
}
