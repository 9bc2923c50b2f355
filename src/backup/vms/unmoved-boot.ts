/** VMs that were booted from a point, and still need it while nobody serves it: their disks cannot be read whole. */
import { constants, existsSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { HoldfastError } from '#base';
import { isServed, readsBelow } from '#disk';
import type { Vm } from '#hypervisor';
import { BOOT_NOTE, discardCommand, readBootNote, resumeCommand } from './boot-note.ts';

export type UnmovedBoot = {
  /** Its folder. */
  readonly directory: string;
  readonly point: string;
  /** In one line: what it is, and what goes on with it. */
  readonly text: string;
};

/** By the notes in the folders of the VM's images, as far as this process may read them. */
export async function unmovedBoot(
  vm: Pick<Vm, 'name' | 'disks'>,
): Promise<UnmovedBoot | undefined> {
  const images = new Set(vm.disks.map(({ location }) => location).filter(isAbsolute));
  for (const directory of new Set([...images].map(dirname))) {
    if (!(await isReadable(join(directory, BOOT_NOTE)))) continue;
    const { point, disks } = await readBootNote(directory);
    for (const { path, socketPath } of disks) {
      if (!images.has(path) || !existsSync(path)) continue;
      if ((await readsBelow(path)) !== true || (await isServed(socketPath))) continue;
      const text = `${vm.name} was booted from point ${point}, and not all its disks have been copied yet: go on with ${resumeCommand(directory)}, or remove it with ${discardCommand(directory)}`;
      return { directory, point, text };
    }
  }
  return undefined;
}

/** @throws {HoldfastError} `BootUnfinished`. */
export async function refuseUnmoved(vm: Pick<Vm, 'name' | 'disks'>): Promise<void> {
  const boot = await unmovedBoot(vm);
  if (boot === undefined) return;
  const { text, directory, point } = boot;
  throw new HoldfastError('BootUnfinished', `${text}. It can be backed up then`, {
    details: { vm: vm.name, path: directory, point },
  });
}

async function isReadable(path: string): Promise<boolean> {
  return await access(path, constants.R_OK).then(
    () => true,
    () => false, // Not there, or another user's.
  );
}
