/**
 * Instant boot: a VM starts from a recovery point within seconds, its disks overlays on the point that is
 * served over NBD, and is moved to its own images while it runs.
 *
 * ```
 *   noted ─► each disk served ─► overlays made ─► VM defined, started ──► running on the point ◄── resumed
 *                                                                             │        │
 *                  a copy of its own: nothing of ours is needed ◄── moved ────┘        │
 *                  powered off, forgotten, overlays deleted     ◄── discarded ─────────┘
 * ```
 *
 * What the guest writes goes to the overlay only; the point cannot change. From the note on another process can
 * go on, wherever this one dies (`resume-boot.ts`); the note goes last.
 */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { throwIfCancelled, type Clock } from '#base';
import { createOverlay, requireSocketPath } from '#disk';
import type { DefineRequest, NewVmDisk } from '#hypervisor';
import type { Repository } from '#repository';
import { bootedVm, serveDisks, type BootedVm } from './booted-vm.ts';
import { requireBootRoom } from './boot-room.ts';
import { refuseUnfinished, removeBootNote, writeBootNote, type BootNote } from './boot-note.ts';
import { removeBooted } from './remove-booted.ts';
import type { PointDisk } from '../point-disks.ts';
import { networksOf, type RestoredVm } from './restore-vm.ts';
import { inVmFolder, type VmFolder } from './vm-folder.ts';
import { definitionOf, newImages, selectedDisks, vmPoint } from './vm-point.ts';

export type VmBootRequest = {
  /** Open, and lent until the VM has been moved or ended. */
  readonly repository: Repository;
  readonly point: string;
  readonly disks?: readonly string[];
  /** For overlays, sockets, and what else belongs to the VM. Made if it is not there. */
  readonly directory: string;
  readonly newVm: Omit<RestoredVm, 'starts' | 'warn'>;
  /** Whether it will be discarded, and never moved. */
  readonly isTrial: boolean;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
  readonly warn: (message: string) => void;
};

/**
 * Boots a VM from a point.
 *
 * @throws {HoldfastError} `BootUnfinished`; `StoreFull` where its folder has no room for the whole disks, but for a
 *   trial, which grows by what the guest writes; as `VmCreation.check`, `servePoint`, `createOverlay`,
 *   `VmCreation.define` and `start`. Then nothing is left behind, and nothing that was there is touched.
 */
export async function bootVm(request: VmBootRequest): Promise<BootedVm> {
  const { repository, directory, clock, newVm } = request;
  const startedMs = clock.monotonicMs();
  const { chosen, images, defined } = await planBoot(request);
  return await inVmFolder(directory, async (folder) => {
    if (!request.isTrial) await requireBootRoom(repository, { directory, disks: chosen, images });
    const note = noteOf(request, { images, folder });
    await writeBootNote(directory, note);
    const servers = await begin(request, { note, defined });
    return bootedVm({ ...request, hypervisor: newVm.hypervisor, note, servers, startedMs });
  });
}

/**
 * Refuses what `bootVm` would refuse now; makes nothing.
 *
 * @throws {HoldfastError} as `bootVm`.
 */
export async function checkBoot(request: Omit<VmBootRequest, 'signal' | 'warn'>): Promise<void> {
  const { chosen, images } = await planBoot(request);
  if (request.isTrial) return;
  let directory = request.directory;
  while (!existsSync(directory)) directory = dirname(directory);
  const there = images.map(({ path }) => ({ path: join(directory, basename(path)) }));
  await requireBootRoom(request.repository, { directory, disks: chosen, images: there });
}

type BootPlan = {
  readonly chosen: readonly PointDisk[];
  /** In the order of `chosen`. */
  readonly images: readonly NewVmDisk[];
  readonly defined: DefineRequest;
};

async function planBoot(
  request: Omit<VmBootRequest, 'signal' | 'warn'> & Partial<Pick<VmBootRequest, 'warn'>>,
): Promise<BootPlan> {
  const { repository, point, directory, clock, newVm, warn } = request;
  const { hypervisor, name, identity } = newVm;
  await refuseUnfinished(directory);
  const source = await vmPoint(repository, point);
  const chosen = selectedDisks(source, request.disks);
  const images = overlaysOf(
    newImages(source, chosen, { directory, vm: name, timeMs: clock.nowMs() }),
    directory,
  );
  for (const { backing } of images) requireSocketPath(backing!.socketPath);
  const definition = definitionOf(source);
  const networks = networksOf(definition, newVm.networks);
  const told = warn === undefined ? {} : { warn };
  const defined = { definition, name, identity, networks, disks: images, directory, ...told };
  await hypervisor.creation.check(defined, { starts: true });
  return { chosen, images, defined };
}

/** Serves, makes, defines, starts; undoes all of it where one of them fails. @returns what serves the disks. */
async function begin(
  request: VmBootRequest,
  { note, defined }: { readonly note: BootNote; readonly defined: DefineRequest },
): Promise<Awaited<ReturnType<typeof serveDisks>>> {
  const { directory, signal, newVm } = request;
  const { creation } = newVm.hypervisor;
  const made: string[] = [];
  let servers: Awaited<ReturnType<typeof serveDisks>> | undefined;
  let isDefined = false;
  try {
    servers = await serveDisks(request, note.disks);
    for (const [at, { path }] of note.disks.entries()) {
      await createOverlay({ path, uri: servers.uris[at]! });
      made.push(path);
    }
    throwIfCancelled(signal);
    await creation.define(defined);
    isDefined = true;
    await creation.start(newVm.name);
    return servers;
  } catch (error) {
    if (isDefined) await creation.undefine(newVm.name);
    await removeBooted(made);
    await servers?.close();
    await removeBootNote(directory);
    throw error;
  }
}

function noteOf(
  { repository, point, newVm, isTrial }: VmBootRequest,
  { images, folder }: { readonly images: readonly NewVmDisk[]; readonly folder: VmFolder },
): BootNote {
  return {
    version: 1,
    repository: repository.parts.keyring.repositoryId.toString('hex'),
    point,
    vm: newVm.name,
    connect: newVm.hypervisor.uri,
    isTrial,
    disks: images.map(({ name, path, backing }) => ({
      name,
      path,
      socketPath: backing!.socketPath,
    })),
    ...(folder.made === undefined ? {} : { made: folder.made }),
  };
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
