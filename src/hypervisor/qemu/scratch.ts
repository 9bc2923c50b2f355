/** The scratch images of a backup: what the guest overwrites while it is read, or what is pushed. */
import { join } from 'node:path';
import { HoldfastError } from '#base';
import { runTool } from '#disk';
import type { Backup, Mechanism } from './backup.ts';
import type { DiskNames } from './names.ts';
import type { ScratchFolder } from './scratch-folder.ts';

/** Makes one for each disk, and its node in QEMU. */
export async function addScratch(backup: Backup, mechanism: Mechanism): Promise<void> {
  for (const { disk, names } of backup.disks) {
    const path = scratchPath(backup.folder, names);
    await createImage(path, disk.sizeBytes);
    await backup.folder.give(path);
    await backup.qmp.execute('blockdev-add', {
      driver: 'qcow2',
      'node-name': names.scratch,
      discard: 'unmap',
      file: { driver: 'file', filename: path, discard: 'unmap' },
      // A job's scratch is read through to the disk; a filter's access node looks into both.
      ...(mechanism === 'job' ? { backing: disk.rootNode } : {}),
    });
  }
}

export function scratchPath({ path }: ScratchFolder, { scratch }: DiskNames): string {
  return join(path, `${scratch}.qcow2`);
}

async function createImage(path: string, sizeBytes: number): Promise<void> {
  const args = ['create', '-q', '-f', 'qcow2', path, String(sizeBytes)];
  const ran = await runTool({ command: 'qemu-img', args });
  if (!('complaint' in ran)) return;
  throw new HoldfastError('StoreFailed', `cannot make a scratch image: ${ran.complaint}`, {
    details: { path },
  });
}
