/**
 * Brings a VM back from a recovery point (rules R67–R70, R73): its disks only, or a new VM of its definition.
 *
 * ```
 *   definition read ─► images written, whole and durable ─► VM defined ─► started
 *                              └─ failure, cancel: none is left    └─ failure: the images stay (R69)
 * ```
 */
import { HoldfastError } from '#base';
import type { DefineRequest, Hypervisor, NewVmDisk } from '#hypervisor';
import { refuseTaken } from './refuse-taken.ts';
import { makeVmFolder } from './vm-folder.ts';
import { definitionOf, newImages, selectedDisks, vmPoint } from './vm-point.ts';
import { writeImages, type ImageWriting, type WrittenImages } from './write-images.ts';

export type VmRestoreRequest = ImageWriting & {
  /** Names of disks; absent: all. The disk that the VM boots from is always restored. */
  readonly disks?: readonly string[];
  /** For images, and for what else belongs to a new VM. Made if it is not there. */
  readonly directory: string;
  /** Absent: only the disks are restored. */
  readonly newVm?: NewVm;
};

export type NewVm = Pick<DefineRequest, 'name' | 'identity' | 'networks'> & {
  readonly hypervisor: Hypervisor;
  readonly starts: boolean;
  /** Told in one line of what the new VM has otherwise than the old one. */
  readonly warn: (message: string) => void;
};

export type VmRestoreResult = WrittenImages & {
  /** Disks that the VM had and the point has not. */
  readonly lacking: readonly string[];
  /** Absent: only the disks were restored. */
  readonly vm?: { readonly name: string; readonly isStarted: boolean };
};

/**
 * Restores the disks to new images, and makes a VM of them if that is asked for.
 *
 * @throws {HoldfastError} as `restoreDisks`, `VmCreation.define` and `start`; the message says which images are
 *   there where the VM could not be made.
 */
export async function restoreVm(request: VmRestoreRequest): Promise<VmRestoreResult> {
  const { repository, point, directory, clock, newVm } = request;
  const source = await vmPoint(repository, point);
  const chosen = selectedDisks(source, request.disks);
  const definition = definitionOf(source);
  // Before hours of copying.
  if (newVm !== undefined) await refuseTaken(newVm);
  await makeVmFolder(directory);
  const vm = newVm?.name ?? definition.vm.name;
  const images = newImages(source, chosen, { directory, vm, timeMs: clock.nowMs() });
  const written = await writeImages(request, images, { overwrite: false });
  const restored = { ...written, lacking: source.lacking };
  if (newVm === undefined) return restored;
  const { name, identity, networks, hypervisor, starts, warn } = newVm;
  try {
    await hypervisor.creation.define({
      definition,
      name,
      identity,
      networks,
      disks: images,
      directory,
      warn,
    });
    if (starts) await hypervisor.creation.start(name);
  } catch (error) {
    throw stillThere(error, { name, images });
  }
  return { ...restored, vm: { name, isStarted: starts } };
}

/** Partial success (rule R69): the images are whole, and worth keeping. */
function stillThere(
  error: unknown,
  { name, images }: { readonly name: string; readonly images: readonly NewVmDisk[] },
): unknown {
  if (!(error instanceof HoldfastError)) return error;
  const paths = images.map(({ path }) => path).join(', ');
  return new HoldfastError(
    error.code,
    `the disks are restored (${paths}), but the VM ${name} could not be made: ${error.message}`,
    { cause: error, details: error.details },
  );
}
