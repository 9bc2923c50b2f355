/**
 * Brings a VM back from a recovery point (rules R67–R70, R73): its disks only, or a new VM of its definition.
 *
 * ```
 *   checked ─► images written, whole and durable ─► VM defined ─► started
 *                              └─ failure, cancel: none is left    └─ failure: the images stay (R69)
 * ```
 */
import { HoldfastError } from '#base';
import type { DefineRequest, Hypervisor, NewVmDisk } from '#hypervisor';
import { inVmFolder } from './vm-folder.ts';
import { definitionOf, newImages, selectedDisks, vmPoint } from './vm-point.ts';
import { writeImages, type ImageWriting, type WrittenImages } from './write-images.ts';

export type VmRestoreRequest = ImageWriting & {
  /** Names of disks; absent: all. The disk that the VM boots from is always restored. */
  readonly disks?: readonly string[];
  /** For images, and for what else belongs to a new VM. Made if it is not there. */
  readonly directory: string;
  /** Of all images; absent: raw what was raw, all else qcow2. */
  readonly format?: 'qcow2';
  /** Absent: only the disks are restored. */
  readonly newVm?: Omit<RestoredVm, 'hypervisor'> & { readonly lend: LendHypervisor };
};

/**
 * Lends a connection for as long as `work` takes: none is held while images are written, as QMP serves one client, and
 * the VM that runs at the same socket may have to be backed up meanwhile.
 */
type LendHypervisor = <Result>(
  work: (hypervisor: Hypervisor) => Promise<Result>,
) => Promise<Result>;

export type RestoredVm = Omit<NewVm, 'networks'> & {
  /** `all`: what every card is plugged into. */
  readonly networks: NewVm['networks'] | { readonly all: string };
};

type NewVm = Pick<DefineRequest, 'name' | 'identity' | 'networks'> & {
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
 * @throws {HoldfastError} as `VmCreation.check`, with nothing written; as `restoreDisks`, `VmCreation.define` and
 *   `start`; where the VM could not be made, the message says which images are there, and so does `stillThere` in
 *   the details.
 */
export async function restoreVm(request: VmRestoreRequest): Promise<VmRestoreResult> {
  const { repository, point, directory, clock, format, newVm } = request;
  const source = await vmPoint(repository, point);
  const chosen = selectedDisks(source, request.disks);
  const definition = definitionOf(source);
  const vm = newVm?.name ?? definition.vm.name;
  const images = newImages(source, chosen, { directory, vm, timeMs: clock.nowMs(), format });
  const defined = (made: Omit<RestoredVm, 'hypervisor'>): DefineRequest => {
    const { name, identity, warn } = made;
    const networks = networksOf(definition, made.networks);
    return { definition, name, identity, networks, disks: images, directory, warn };
  };
  if (newVm !== undefined) {
    const { lend, starts } = newVm;
    // Before hours of copying.
    await lend(async ({ creation }) => await creation.check(defined(newVm), { starts }));
  }
  const written = await inVmFolder(
    directory,
    async () => await writeImages(request, images, { overwrite: false }),
  );
  const restored = { ...written, lacking: source.lacking };
  if (newVm === undefined) return restored;
  const { name, lend, starts } = newVm;
  let unstarted: { readonly error: unknown } | undefined;
  try {
    unstarted = await lend(async ({ creation }) => {
      await creation.define(defined(newVm));
      if (!starts) return undefined;
      return await creation.start(name).then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
    });
  } catch (error) {
    throw stillThere(
      error,
      `the disks are restored (${pathsOf(images)}), but the VM ${name} could not be made`,
      'To go on, mend that and define a VM with these images; or delete them, and run again',
    );
  }
  if (unstarted !== undefined) {
    throw stillThere(
      unstarted.error,
      `the disks are restored (${pathsOf(images)}) and the VM ${name} is defined, but could not be started`,
      'To go on, mend that and start it; its images are whole',
    );
  }
  return { ...restored, vm: { name, isStarted: starts } };
}

/** With one network for all: by each card's MAC address. */
export function networksOf(
  { vm }: DefineRequest['definition'],
  networks: RestoredVm['networks'],
): DefineRequest['networks'] {
  if (typeof networks === 'string' || !('all' in networks)) return networks;
  return new Map(vm.networkCards.map(({ mac }) => [mac.toLowerCase(), networks.all]));
}

function pathsOf(images: readonly NewVmDisk[]): string {
  return images.map(({ path }) => path).join(', ');
}

/** Partial success (rule R69): the images are whole, and worth keeping. */
function stillThere(error: unknown, state: string, advice: string): unknown {
  if (!(error instanceof HoldfastError)) return error;
  return new HoldfastError(error.code, `${state}: ${error.message}. ${advice}`, {
    cause: error,
    details: { ...error.details, stillThere: state },
  });
}
