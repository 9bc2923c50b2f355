/**
 * The scratch images of a backup, into which QEMU saves what the guest overwrites meanwhile. Made before the
 * guest is frozen: by libvirt itself, each takes some 50 ms of the freeze.
 */
import { chown } from 'node:fs/promises';
import { HoldfastError } from '#base';
import { runTool } from '#disk';
import type { BackupFolder } from './backup-folder.ts';

/**
 * @param images.owner whose processes QEMU's are; absent: ours.
 * @throws {HoldfastError} `StoreFailed`; `ToolMissing`.
 */
export async function makeScratchImages(
  folder: BackupFolder,
  images: {
    readonly disks: readonly { readonly name: string; readonly sizeBytes: number }[];
    readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  },
): Promise<void> {
  const { disks, owner } = images;
  const made = await Promise.allSettled(
    disks.map(async ({ name, sizeBytes }) => {
      const path = folder.scratchPath(name);
      await makeImage(path, sizeBytes);
      // Only root runs VMs as another user.
      if (owner !== undefined && process.getuid?.() === 0) await chown(path, owner.uid, owner.gid);
    }),
  );
  // All have ended by now: the folder can go.
  for (const each of made) if (each.status === 'rejected') throw each.reason;
}

async function makeImage(path: string, sizeBytes: number): Promise<void> {
  const args = ['create', '-q', '-f', 'qcow2', path, String(sizeBytes)];
  const result = await runTool({ command: 'qemu-img', args });
  if (!('complaint' in result)) return;
  throw new HoldfastError(
    'StoreFailed',
    `cannot make a scratch image for the backup: ${result.complaint}`,
    { details: { path } },
  );
}
