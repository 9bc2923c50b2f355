/** The scratch images of a backup: what the guest overwrites while it is read, or what is pushed. */
import { join } from 'node:path';
import { HoldfastError } from '#base';
import { runTool } from '#disk';
import type { Backup, Mechanism } from './backup.ts';
import type { ScratchFolder } from './scratch-folder.ts';

/** Makes one for each disk, and its node in QEMU. */
export async function addScratch(backup: Backup, mechanism: Mechanism): Promise<void> {
  for (const { disk, names, prepared } of backup.disks) {
    const { sizeBytes } = disk;
    // A job's scratch is read through to the disk; a filter's access node looks into both.
    const backing = mechanism === 'job' ? { backing: disk.rootNode } : {};
    await addNode(backup, { node: names.scratch, sizeBytes, backing });
    if (prepared.audit !== undefined) {
      await addNode(backup, { node: names.counted, sizeBytes, backing: {} });
    }
  }
}

async function addNode(
  { folder, qmp }: Backup,
  {
    node,
    sizeBytes,
    backing,
  }: {
    readonly node: string;
    readonly sizeBytes: number;
    readonly backing: { readonly backing?: string };
  },
): Promise<void> {
  const path = scratchPath(folder, node);
  await createImage(path, sizeBytes);
  await folder.give(path);
  await qmp.execute('blockdev-add', {
    driver: 'qcow2',
    'node-name': node,
    discard: 'unmap',
    file: { driver: 'file', filename: path, discard: 'unmap' },
    ...backing,
  });
}

/** Of the image that a node of ours has. */
export function scratchPath({ path }: ScratchFolder, node: string): string {
  return join(path, `${node}.qcow2`);
}

async function createImage(path: string, sizeBytes: number): Promise<void> {
  const args = ['create', '-q', '-f', 'qcow2', path, String(sizeBytes)];
  const ran = await runTool({ command: 'qemu-img', args });
  if (!('complaint' in ran)) return;
  throw new HoldfastError('StoreFailed', `cannot make a scratch image: ${ran.complaint}`, {
    details: { path },
  });
}
