/**
 * Instant boot: a VM starts from a recovery point within seconds, its disks overlays on the point that is
 * served over NBD, and is moved to its own images while it runs.
 *
 * ```
 *   point pinned ─► each disk served ─► overlays made ─► VM defined, started ──► running on the point
 *                                                                                   │        │
 *                        a copy of its own: nothing of ours is needed ◄── moved ────┘        │
 *                        powered off, forgotten, overlays deleted     ◄── ended (a trial) ───┘
 * ```
 *
 * What the guest writes goes to the overlay only; the point cannot change.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { throwIfCancelled, type Clock, type ProgressListener } from '#base';
import { createOverlay } from '#disk';
import type { DefineRequest, Hypervisor, NewVmDisk } from '#hypervisor';
import type { Repository } from '#repository';
import { servePoint } from '../serving/serve-point.ts';
import { refuseTaken } from './refuse-taken.ts';
import type { NewVm } from './restore-vm.ts';
import { makeVmFolder } from './vm-folder.ts';
import { definitionOf, newImages, selectedDisks, vmPoint } from './vm-point.ts';

export type VmBootRequest = {
  /** Open, and lent until the VM has been moved or ended. */
  readonly repository: Repository;
  readonly point: string;
  readonly disks?: readonly string[];
  /** For overlays, sockets, and what else belongs to the VM. Made if it is not there. */
  readonly directory: string;
  readonly newVm: Omit<NewVm, 'starts' | 'warn'>;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
  readonly warn: (message: string) => void;
};

export type BootedVm = {
  readonly name: string;
  /** Until the VM had been started. */
  readonly seconds: number;
  readonly images: readonly { readonly name: string; readonly path: string }[];
  /**
   * Moves the disks to their own images while the VM runs; then nothing of Holdfast is needed any more.
   * Cancelled, or failed: the VM runs on from the point, and this may be called again.
   */
  readonly move: (onProgress?: ProgressListener, signal?: AbortSignal) => Promise<void>;
  /** Cuts the power; overlays and definition stay, and need the point to be served at the same sockets. */
  readonly powerOff: () => Promise<void>;
  /** After a trial: cuts the power, forgets the VM, deletes its overlays. Not after `move`. */
  readonly discard: () => Promise<void>;
  /** Ends serving. The VM must have been moved, or be off. */
  readonly close: () => Promise<void>;
};

type Server = Awaited<ReturnType<typeof servePoint>>;

/**
 * Boots a VM from a point.
 *
 * @throws {HoldfastError} `VmExists`; as `servePoint`, `createOverlay`, `VmCreation.define` and `start`. Then
 *   nothing is left behind, and nothing that was there is touched.
 */
export async function bootVm(request: VmBootRequest): Promise<BootedVm> {
  const { repository, point, directory, clock, newVm, signal } = request;
  const { hypervisor, name, identity, networks } = newVm;
  const startedMs = clock.monotonicMs();
  const source = await vmPoint(repository, point);
  const chosen = selectedDisks(source, request.disks);
  await refuseTaken(newVm);
  await makeVmFolder(directory);
  const servers: Server[] = [];
  const made: NewVmDisk[] = [];
  const images = overlaysOf(
    newImages(source, chosen, { directory, vm: name, timeMs: clock.nowMs() }),
    directory,
  );
  const close = async (): Promise<void> => {
    for (const server of servers.splice(0)) await server.close();
  };
  const { warn } = request;
  try {
    for (const image of images) {
      const { name: disk, path, backing } = image;
      const { socketPath } = backing!;
      servers.push(await servePoint({ repository, point, disk, socketPath, warn, threads: 1 }));
      await createOverlay({ path, uri: servers.at(-1)!.uri });
      made.push(image);
    }
    throwIfCancelled(signal);
    const definition = definitionOf(source);
    const defined = { definition, name, identity, networks, disks: images, directory };
    await defineAndStart(hypervisor, defined);
  } catch (error) {
    await removeImages(made);
    await close();
    throw error;
  }
  return {
    name,
    seconds: (clock.monotonicMs() - startedMs) / 1000,
    images: images.map(({ name: disk, path }) => ({ name: disk, path })),
    move: async (onProgress, moveSignal) => {
      for (const { name: disk } of images) {
        throwIfCancelled(moveSignal);
        await hypervisor.creation.moveToImage(name, disk, {
          ...(onProgress === undefined ? {} : { onProgress }),
          ...(moveSignal === undefined ? {} : { signal: moveSignal }),
        });
      }
    },
    powerOff: async () => await hypervisor.creation.powerOff(name),
    discard: async () => {
      await hypervisor.creation.powerOff(name);
      await hypervisor.creation.undefine(name);
      await removeImages(images);
    },
    close,
  };
}

async function defineAndStart({ creation }: Hypervisor, request: DefineRequest): Promise<void> {
  await creation.define(request);
  try {
    await creation.start(request.name);
  } catch (error) {
    await creation.undefine(request.name);
    throw error;
  }
}

async function removeImages(images: readonly NewVmDisk[]): Promise<void> {
  for (const { path } of images) await rm(path, { force: true });
}

/** An overlay is qcow2, whatever the disk was. */
function overlaysOf(images: readonly NewVmDisk[], directory: string): NewVmDisk[] {
  return images.map(({ name, path }) => ({
    name,
    path: path.replace(/\.(?:qcow2|raw)$/, '.qcow2'),
    format: 'qcow2',
    backing: { socketPath: join(directory, `${name}.nbd`), exportName: '' },
  }));
}
