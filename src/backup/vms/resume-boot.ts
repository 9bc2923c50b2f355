/**
 * Goes on with a VM that was booted from a point by a process which died or was cancelled: by the note in its
 * folder the disks are served again where their overlays look for them, and the VM runs on.
 */
import { existsSync } from 'node:fs';
import { HoldfastError, type Clock } from '#base';
import { readsBelow } from '#disk';
import type { Hypervisor } from '#hypervisor';
import type { Repository } from '#repository';
import { bootedVm, serveDisks, type BootedVm } from './booted-vm.ts';
import { discardCommand, type BootNote } from './boot-note.ts';
import { bootedIn, refuseServed, removeRemains } from './remove-booted.ts';

export type ResumeRequest = {
  /** Open, and lent until the VM has been moved or ended. */
  readonly repository: Repository;
  readonly hypervisor: Hypervisor;
  readonly directory: string;
  /** As `readBootNote` reads it from the folder. */
  readonly note: BootNote;
  readonly clock: Clock;
  readonly warn: (message: string) => void;
};

/**
 * Serves, and starts the VM or lets it run on. Disks that were moved before are not served; where all were, the VM
 * is left as it is, and `move` only ends the boot.
 *
 * @throws {HoldfastError} `ArgumentInvalid` if the note is of another repository; `VmNotFound` if the VM is gone
 *   or uses other disks; `DiskNotFound` for an overlay that is gone; `VmBusy` while the first process
 *   lives; as `servePoint`; as `VmCreation.start`. Nothing is changed by them.
 */
export async function resumeBoot(request: ResumeRequest): Promise<BootedVm> {
  const { repository, hypervisor, directory, note, clock } = request;
  const { creation } = hypervisor;
  const startedMs = clock.monotonicMs();
  refuseOther(repository, request);
  await refuseServed(note);
  for (const { name, path } of note.disks) if (!existsSync(path)) throw gone(name, path, directory);
  if ((await bootedIn(request)) === undefined) throw noVm(request);
  const below = await Promise.all(note.disks.map(async ({ path }) => await readsBelow(path)));
  const served = note.disks.filter((_, at) => below[at] !== false);
  const servers = await serveDisks({ ...request, point: note.point }, served);
  try {
    const state = await creation.runState(note.vm);
    if (served.length > 0) {
      if (state === 'off') await creation.start(note.vm);
      else if (state !== 'running') await creation.resume(note.vm);
    } else {
      await removeRemains({ directory, note });
    }
  } catch (error) {
    await servers.close();
    throw error;
  }
  const moving = served.map(({ name }) => name);
  return bootedVm({ ...request, servers, moving, startedMs });
}

function refuseOther(repository: Repository, { directory, note }: ResumeRequest): void {
  if (repository.parts.keyring.repositoryId.toString('hex') === note.repository) return;
  throw new HoldfastError(
    'ArgumentInvalid',
    `${note.vm} in "${directory}" was booted from another repository (${note.repository}): name that with --repo`,
    { details: { repository: note.repository } },
  );
}

function gone(disk: string, path: string, directory: string): HoldfastError {
  return new HoldfastError(
    'DiskNotFound',
    `"${path}", where the VM wrote to ${disk}, is gone: put it back, or remove the rest with ${discardCommand(directory)}`,
    { details: { disk, path } },
  );
}

function noVm({ note, directory, hypervisor }: ResumeRequest): HoldfastError {
  return new HoldfastError(
    'VmNotFound',
    `there is no VM ${note.vm} at ${hypervisor.uri} with the disks in "${directory}": it was never defined, or removed since. Remove the rest with ${discardCommand(directory)}, then boot again`,
    { details: { vm: note.vm } },
  );
}
