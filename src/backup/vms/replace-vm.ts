/**
 * Puts the disks of a VM back as they were at a recovery point (rule R68).
 *
 * ```
 *   VM off? ─► safety backup of what is there ─► new images written ─► VM uses them; the old images stay
 *                                             └► or, in place: the old images, only where they differ
 * ```
 */
import { HoldfastError, isHoldfastError, shellQuoted } from '#base';
import type { Hypervisor, NewVmDisk, Vm } from '#hypervisor';
import { backUpVm, type VmBackupRequest, type VmBackupResult } from './back-up-vm.ts';
import { makeVmFolder, removeIfEmpty } from './vm-folder.ts';
import { newImages, selectedDisks, vmPoint, type VmPoint } from './vm-point.ts';
import { writeImages, type WrittenImages } from './write-images.ts';

export type VmReplaceRequest = Omit<VmBackupRequest, 'disks' | 'quiesces'> & {
  readonly point: string;
  /** Names of disks; absent: all of the point. */
  readonly disks?: readonly string[];
  /** For the new images, made if it is not there; absent: the old images are written, only where they differ. */
  readonly directory?: string;
};

export type VmReplaceResult = WrittenImages & {
  /** Of what was there. */
  readonly safetyPoint: string;
  /** Disks of the VM that were left as they were. */
  readonly leftAlone: readonly string[];
  /** Images that the VM used and does not use any more. */
  readonly oldImages: readonly string[];
};

/**
 * Replaces the disks of a VM that is off. A disk that the point has and the VM has not is refused.
 *
 * @throws {HoldfastError} `VmNotShutDown`; `DiskNotFound`; as `backUpVm`, `restoreDisks` and
 *   `VmCreation.replaceDisks`. Written to new images, nothing is changed by a failure; in place, the disks
 *   are incomplete and the safety point has what was there.
 */
export async function replaceVm(request: VmReplaceRequest): Promise<VmReplaceResult> {
  const { repository, hypervisor, point } = request;
  const source = await vmPoint(repository, point);
  const vm = await findToReplace(hypervisor, { name: request.vm, source });
  refuseRunning(vm, { kind: hypervisor.kind, source });
  const chosen = selectedDisks(source, request.disks).map(({ name }) => name);
  refuseMissing(vm, chosen);
  const safety = await safetyBackup(request);
  // It took a while: whoever started the VM meanwhile must not lose its disks.
  refuseRunning(await hypervisor.find(request.vm), { kind: hypervisor.kind, source });
  const images = imagesOf(request, { source, vm, chosen });
  const isInPlace = request.directory === undefined;
  const folder =
    request.directory === undefined ? undefined : await makeVmFolder(request.directory);
  let restored: WrittenImages;
  try {
    restored = await writeImages(request, images, { overwrite: isInPlace });
    if (!isInPlace) await hypervisor.creation.replaceDisks(vm.name, images);
  } catch (error) {
    if (folder !== undefined) await removeIfEmpty(folder);
    throw afterSafety(error, { point, safetyPoint: safety.pointId, isInPlace });
  }
  return {
    ...restored,
    safetyPoint: safety.pointId,
    leftAlone: vm.disks.map(({ name }) => name).filter((name) => !chosen.includes(name)),
    oldImages: isInPlace
      ? []
      : vm.disks.filter(({ name }) => chosen.includes(name)).map(({ location }) => location),
  };
}

/** A QEMU that was started by hand is unknown once it has ended: its images are not. */
async function findToReplace(
  hypervisor: Hypervisor,
  { name, source }: { readonly name: string; readonly source: VmPoint },
): Promise<Vm> {
  try {
    return await hypervisor.find(name);
  } catch (error) {
    const isGone = hypervisor.kind === 'qemu' && isHoldfastError(error, 'HypervisorUnavailable');
    if (!isGone) throw error;
    throw new HoldfastError(
      error.code,
      `${name} is not there to be asked for its disks: if it is off, write its images: ${overwriting(source)}`,
      { cause: error, details: error.details },
    );
  }
}

/** Whoever tries again must not take the safety point, the newest now, for the one that he wanted. */
function afterSafety(
  error: unknown,
  at: { readonly point: string; readonly safetyPoint: string; readonly isInPlace: boolean },
): unknown {
  if (!(error instanceof HoldfastError)) return error;
  const state = at.isInPlace ? 'its disks are incomplete now' : 'its disks are as they were';
  return new HoldfastError(
    error.code,
    `${error.message}; ${state}, point ${at.safetyPoint} has what was there; run again with --point ${at.point}`,
    { cause: error, details: error.details },
  );
}

async function safetyBackup(request: VmReplaceRequest): Promise<VmBackupResult> {
  const { point, disks: _, directory: __, ...backup } = request;
  return await backUpVm({ ...backup, quiesces: false, safetyBefore: point });
}

type Chosen = { readonly source: VmPoint; readonly vm: Vm; readonly chosen: readonly string[] };

function imagesOf(
  { directory, clock }: VmReplaceRequest,
  { source, vm, chosen }: Chosen,
): NewVmDisk[] {
  const disks = source.disks.filter(({ name }) => chosen.includes(name));
  if (directory !== undefined) {
    return newImages(source, disks, { directory, vm: vm.name, timeMs: clock.nowMs() });
  }
  return disks.map(({ name }) => {
    const { location, format } = vm.disks.find((disk) => disk.name === name)!;
    if (format === 'raw' || format === 'qcow2') return { name, path: location, format };
    throw new HoldfastError(
      'DiskFormatUnsupported',
      `${name} of ${vm.name} is ${format}, which cannot be written in place: restore to new images`,
      { details: { disk: name } },
    );
  });
}

/** @throws {HoldfastError} `VmNotShutDown`. */
function refuseRunning(
  { name, state, hasSavedMemory }: Vm,
  { kind, source }: { readonly kind: Hypervisor['kind']; readonly source: VmPoint },
): void {
  if (state === 'off' && hasSavedMemory === true) {
    throw new HoldfastError(
      'VmNotShutDown',
      `${name} is off with its memory saved, and would go on from it over other disks: start it and shut it down, or give the saved memory up: virsh managedsave-remove ${shellQuoted(name)}`,
      { details: { vm: name } },
    );
  }
  if (state === 'off') return;
  throw new HoldfastError(
    'VmNotShutDown',
    kind === 'qemu'
      ? `${name} is ${state}: shut it down, then run again; where nothing is known of it then, as its QEMU was started by hand: ${overwriting(source)}`
      : `${name} is ${state}: shut it down, then replace its disks`,
    { details: { vm: name } },
  );
}

/** The command that puts the disks back without a hypervisor, into the images that the VM had at the point. */
function overwriting({ point, note, disks }: VmPoint): string {
  const images = disks.map(({ name }) => {
    const { location } = note.definition.vm.disks.find((disk) => disk.name === name) ?? {};
    return `--disk ${shellQuoted(`${name}=${location ?? 'IMAGE'}`)}`;
  });
  return `holdfast repo restore REPO ${point} ${images.join(' ')} --overwrite`;
}

/** @throws {HoldfastError} `DiskNotFound`. */
function refuseMissing({ name, disks }: Vm, chosen: readonly string[]): void {
  const missing = chosen.find((disk) => !disks.some((known) => known.name === disk));
  if (missing === undefined) return;
  throw new HoldfastError(
    'DiskNotFound',
    `the point has the disk ${missing}, which ${name} has not any more: restore to a new VM, or choose disks`,
    { details: { vm: name, disk: missing } },
  );
}
