/** Removes what a boot has made: the VM, its overlays, its note. */
import { rm } from 'node:fs/promises';
import { HoldfastError, isHoldfastError } from '#base';
import { isServed, readsBelow, refuseInUse } from '#disk';
import type { Hypervisor, Vm } from '#hypervisor';
import { removeBootNote, resumeCommand, type BootNote } from './boot-note.ts';
import { removeIfEmpty } from './vm-folder.ts';

export type NotedBoot = {
  readonly hypervisor: Hypervisor;
  readonly directory: string;
  readonly note: BootNote;
};

/**
 * Removes a booted VM that no Holdfast serves any more: cuts its power, forgets it, deletes its overlays. A VM
 * whose disks are its own already is refused; what is gone is no error.
 *
 * @throws {HoldfastError} `VmBusy` if its disks are being served; `BootUnfinished` for a VM that was moved;
 *   `DiskInUse` for an overlay that something else has open.
 */
export async function discardBoot(boot: NotedBoot): Promise<void> {
  const { note, directory } = boot;
  await refuseServed(note);
  if (await isMoved(note)) {
    throw new HoldfastError(
      'BootUnfinished',
      `${note.vm} has been copied whole, and its disks are its own: end it with ${resumeCommand(directory)}, or remove the VM by hand`,
      { details: { vm: note.vm } },
    );
  }
  await removeVm(boot);
  await removeRemains(boot);
}

/** Whether all disks of a boot that was to be moved are its own: only its note is left. */
export async function isMoved({ isTrial, disks }: BootNote): Promise<boolean> {
  const below = await Promise.all(disks.map(async ({ path }) => await readsBelow(path)));
  return !isTrial && below.length > 0 && below.every((reads) => reads === false);
}

/** @throws {HoldfastError} `VmBusy` while another command serves the disks. */
export async function refuseServed(note: BootNote): Promise<void> {
  for (const { socketPath } of note.disks) {
    if (!(await isServed(socketPath))) continue;
    throw new HoldfastError(
      'VmBusy',
      `${note.vm} is being served at "${socketPath}": end that command first, it may be the one that booted it`,
      { details: { vm: note.vm } },
    );
  }
}

/** Of a boot whose disks are ours to serve. Idempotent. */
export async function removeVm({ hypervisor, directory, note }: NotedBoot): Promise<void> {
  const vm = await bootedIn({ hypervisor, directory, note });
  if (vm !== undefined) {
    await hypervisor.creation.powerOff(note.vm);
    await hypervisor.creation.undefine(note.vm);
  }
  // Of a VM that is not found under its name any more.
  for (const { path } of note.disks) await refuseInUse(path);
  await removeBooted(note.disks.map(({ path }) => path));
  await removeBootNote(directory);
}

/** Sockets that a killed process left, and the folder if it was made for the boot. */
export async function removeRemains({
  directory,
  note,
}: Omit<NotedBoot, 'hypervisor'>): Promise<void> {
  for (const { socketPath } of note.disks) await rm(socketPath, { force: true });
  const { made } = note;
  await removeIfEmpty({ directory, ...(made === undefined ? {} : { made }) });
}

/** The VM, if it is there and uses the overlays. */
export async function bootedIn({
  hypervisor,
  directory,
  note,
}: NotedBoot): Promise<Vm | undefined> {
  let vm: Vm;
  try {
    vm = await hypervisor.creation.defined(note.vm, directory);
  } catch (error) {
    if (isHoldfastError(error, 'VmNotFound')) return undefined;
    throw error;
  }
  const used = new Set(vm.disks.map(({ location }) => location));
  return note.disks.every(({ path }) => used.has(path)) ? vm : undefined;
}

export async function removeBooted(paths: readonly string[]): Promise<void> {
  for (const path of paths) await rm(path, { force: true });
}
