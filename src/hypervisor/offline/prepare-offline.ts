/**
 * Backups of the disks of a VM that does not run. The "instant" lasts from `snapshot` to `release`: every
 * image but raw ones is held open read-only, and QEMU's lock keeps all writers out; a VM that is started
 * meanwhile is refused its disk. Raw images are shared by QEMU's readers with writers: whoever reads them
 * checks that they stayed as they were.
 *
 * ```
 *   prepare   look, check, remove leftovers
 *   snapshot  add the new bitmaps ─► hold the images ─► read the old bitmaps
 *   release   let go ─► committed: remove the old bitmaps; failed: remove the new ones
 * ```
 *
 * Nobody writes between adding and reading, so both bitmaps lack nothing whatever is killed when. A VM that
 * runs again by the time of `release` keeps a bitmap too many: its next backup removes that.
 */
import { HoldfastError, throwIfCancelled, type Clock } from '#base';
import type { PreparedBackup, PrepareRequest, Snapshot } from '../hypervisor.ts';
import type { Vm, VmDisk } from '../vm.ts';
import { prepareOfflineDisk, type OfflineDisk, type OfflineOptions } from './offline-disk.ts';
import { takeOfflineSnapshot } from './offline-snapshot.ts';

type Options = OfflineOptions & { readonly clock: Clock };

/** Readies the disks of `vm` that `request` names. @throws {HoldfastError} as `Hypervisor.prepare`. */
export async function prepareOffline(
  request: PrepareRequest,
  vm: Vm,
  options: Options,
): Promise<PreparedBackup> {
  const disks: OfflineDisk[] = [];
  for (const disk of chosenDisks(request, vm)) {
    throwIfCancelled(request.signal);
    disks.push(await prepareOfflineDisk(disk, request, options));
  }
  let taken: Snapshot | undefined;
  return {
    vm,
    disks: disks.map(({ name, sizeBytes, tracking, fingerprint, untracked }) => ({
      name,
      sizeBytes,
      tracking,
      fingerprint,
      ...(untracked === undefined ? {} : { untracked }),
    })),
    snapshot: async () => {
      taken = await takeOfflineSnapshot(disks, { request, clock: options.clock });
      try {
        await request.atRest?.(); // Its images are locked meanwhile.
        return taken;
      } catch (error) {
        await taken.release('failed');
        throw error;
      }
    },
    // After `release` this does nothing.
    close: async () => await taken?.release('failed'),
  };
}

function chosenDisks(request: PrepareRequest, vm: Vm): readonly VmDisk[] {
  if (request.disks === undefined) return vm.disks;
  return request.disks.map((name) => {
    const disk = vm.disks.find((candidate) => candidate.name === name);
    if (disk !== undefined) return disk;
    const known = vm.disks.map((candidate) => candidate.name).join(', ');
    throw new HoldfastError('DiskNotFound', `${vm.name} has no disk "${name}", it has ${known}`, {
      details: { vm: vm.name, disk: name },
    });
  });
}
