/** A VM that runs from a point which this process serves: how it is moved, powered off, discarded. */
import { isHoldfastError, type Clock, type ProgressListener } from '#base';
import type { Hypervisor } from '#hypervisor';
import type { Repository } from '#repository';
import { servePoint } from '../serving/serve-point.ts';
import { isOff, moveDisk } from './boot-move.ts';
import { removeBootNote, type BootNote } from './boot-note.ts';
import { watchBooted } from './boot-watch.ts';
import { removeRemains, removeVm } from './remove-booted.ts';
import { definitionOf, vmPoint } from './vm-point.ts';

export type BootedVm = {
  readonly name: string;
  readonly point: string;
  readonly isTrial: boolean;
  /** Until the VM ran. */
  readonly seconds: number;
  readonly images: readonly { readonly name: string; readonly path: string }[];
  /**
   * Moves the disks to their own images while the VM runs; then nothing of Holdfast is needed any more. A full
   * file system is waited out. Cancelled, or failed: the VM runs on from the point, and this may be called again.
   */
  readonly move: (onProgress?: ProgressListener, signal?: AbortSignal) => Promise<void>;
  /** Whether the VM is off; false where it cannot be asked just now. */
  readonly isOff: () => Promise<boolean>;
  /** Cuts the power; overlays and definition stay for `resumeBoot`. */
  readonly powerOff: () => Promise<void>;
  /** Cuts the power, forgets the VM, deletes its overlays. Not after `move`. */
  readonly discard: () => Promise<void>;
  /** Ends serving. The VM must have been moved, or be off. */
  readonly close: () => Promise<void>;
};

export type Servers = { readonly uris: readonly string[]; readonly close: () => Promise<void> };

type Serving = {
  readonly repository: Repository;
  readonly point: string;
  readonly warn: (message: string) => void;
};

/** It runs on its own disks; where this fails, only that a later error pauses it may differ from the original. */
async function restoreErrorPolicies({
  hypervisor,
  repository,
  note,
  warn,
}: Pick<
  Parameters<typeof bootedVm>[0],
  'hypervisor' | 'repository' | 'note' | 'warn'
>): Promise<void> {
  try {
    const definition = definitionOf(await vmPoint(repository, note.point));
    await hypervisor.creation.restoreErrorPolicies(note.vm, definition);
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    warn(
      `${note.vm} keeps pausing at errors of its disks, which may not be what the original does: ${error.message}`,
    );
  }
}

/** Serves disks of a point at the sockets that their overlays name. */
export async function serveDisks(
  { repository, point, warn }: Serving,
  disks: BootNote['disks'],
): Promise<Servers> {
  const servers: Awaited<ReturnType<typeof servePoint>>[] = [];
  const close = async (): Promise<void> => {
    for (const server of servers.splice(0)) await server.close();
  };
  try {
    for (const { name: disk, socketPath } of disks) {
      servers.push(await servePoint({ repository, point, disk, socketPath, warn, threads: 1 }));
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { uris: servers.map(({ uri }) => uri), close };
}

/**
 * @param boot `moving`: names of the disks that still read from the point; absent: all.
 *   `startedMs`: monotonic, when the boot began.
 */
export function bootedVm(boot: {
  readonly hypervisor: Hypervisor;
  readonly repository: Repository;
  readonly directory: string;
  readonly note: BootNote;
  readonly servers: Servers;
  readonly moving?: readonly string[];
  readonly startedMs: number;
  readonly clock: Clock;
  readonly warn: (message: string) => void;
}): BootedVm {
  const { hypervisor, directory, note, servers, clock, warn } = boot;
  const { creation } = hypervisor;
  const parts = { creation, name: note.vm, directory, clock, warn };
  const watch = watchBooted(parts);
  const moving = boot.moving ?? note.disks.map(({ name }) => name);
  let isDiscarded = false;
  return {
    name: note.vm,
    point: note.point,
    isTrial: note.isTrial,
    seconds: (clock.monotonicMs() - boot.startedMs) / 1000,
    images: note.disks.map(({ name, path }) => ({ name, path })),
    move: async (onProgress, signal) => {
      for (const disk of moving) {
        await moveDisk(parts, disk, {
          ...(onProgress === undefined ? {} : { onProgress }),
          ...(signal === undefined ? {} : { signal }),
        });
      }
      await watch.stop();
      // It may stand still since a read of the point failed; the watch may not have come to let it go on.
      if ((await creation.runState(note.vm)) === 'failed') await creation.resume(note.vm);
      await restoreErrorPolicies(boot);
      await removeBootNote(directory);
    },
    isOff: async () => await isOff(parts),
    powerOff: async () => {
      await watch.stop();
      await creation.powerOff(note.vm);
    },
    discard: async () => {
      await watch.stop();
      await removeVm({ hypervisor, directory, note });
      isDiscarded = true;
    },
    close: async () => {
      await watch.stop();
      await servers.close();
      if (isDiscarded) await removeRemains({ directory, note });
    },
  };
}
