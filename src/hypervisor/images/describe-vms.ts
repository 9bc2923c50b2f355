/** What the images of found VMs are: sizes, locks, and which of them are only parts of others. */
import { HoldfastError, isHoldfastError } from '#base';
import { inspectImage, type InspectedImage } from '#disk';
import type { Vm, VmDisk } from '../vm.ts';
import { allowedFilesOf, findImages, real, type FoundDisk, type FoundVm } from './find-images.ts';

export type ImageVm = FoundVm & { readonly vm: Vm };

/** @throws {HoldfastError} `HypervisorUnavailable`; `ArgumentInvalid` for a wrong `vm.json` and for names that are there twice. */
export async function describeVms(root: string): Promise<readonly ImageVm[]> {
  const found = await findImages(root);
  const looked = new Map<FoundDisk, Look>();
  for (const vm of found) {
    const allowedFiles = allowedFilesOf(vm);
    for (const disk of vm.disks) looked.set(disk, await look(disk, allowedFiles));
  }
  const parts = await partsOfOthers(looked);
  const vms: ImageVm[] = [];
  for (const vm of found) {
    const disks: FoundDisk[] = [];
    for (const disk of vm.disks) {
      if (vm.isDescribed || !parts.has(await real(disk.path))) disks.push(disk);
    }
    if (disks.length === 0) continue;
    refuseTwins(disks, `"${vm.folder}" has two disks called`);
    vms.push({
      ...vm,
      disks,
      vm: describe(
        vm,
        disks.map((disk) => looked.get(disk)!),
      ),
    });
  }
  refuseTwins(vms, `"${root}" has two VMs called`);
  return vms;
}

/** @throws {HoldfastError} `VmNotFound`, naming those that there are. */
export async function findVm(folder: string, name: string): Promise<ImageVm> {
  const vms = await describeVms(folder);
  const vm = vms.find((candidate) => candidate.vm.name === name);
  if (vm !== undefined) return vm;
  const known = vms.map((candidate) => candidate.vm.name).join(', ');
  throw new HoldfastError(
    'VmNotFound',
    known === ''
      ? `there is no VM "${name}": "${folder}" has no disk images`
      : `there is no VM "${name}" in "${folder}", it has ${known}`,
    { details: { vm: name, folder } },
  );
}

type Look = { readonly disk: VmDisk; readonly isInUse: boolean; readonly files: readonly string[] };

async function look(found: FoundDisk, allowedFiles: readonly string[]): Promise<Look> {
  const disk = { name: found.name, location: found.path };
  let image: InspectedImage;
  try {
    image = await inspectImage(found, { allowedFiles });
  } catch (error) {
    if (!isHoldfastError(error) || error.code === 'ToolMissing') throw error;
    const refused = {
      ...disk,
      sizeBytes: 0,
      format: found.format ?? '',
      refusal: refusalOf(error),
    };
    return { disk: refused, isInUse: false, files: [] };
  }
  const { sizeBytes, format, isInUse, files } = image;
  return {
    disk: { ...disk, sizeBytes, format, ...(isInUse ? { refusal: IN_USE } : {}) },
    isInUse,
    files,
  };
}

function refusalOf({ message, details: { needs, formats } }: HoldfastError): string {
  if (needs !== undefined) return `${message} ("allowedFiles" in vm.json)`;
  return formats === undefined ? message : `${message} ("format" in vm.json: ${formats})`;
}

const IN_USE =
  'it is in use, probably by a running VM: shut it down, or back it up through its hypervisor (--connect qemu:///system or qmp:…)';

/** Real paths of backing files, data files and extents of other images. */
async function partsOfOthers(looked: ReadonlyMap<FoundDisk, Look>): Promise<ReadonlySet<string>> {
  const parts = new Set<string>();
  for (const [{ path }, { files }] of looked) {
    const own = await real(path);
    for (const file of files) {
      const needed = await real(file);
      if (needed !== own) parts.add(needed);
    }
  }
  return parts;
}

function describe({ name, description }: FoundVm, looked: readonly Look[]): Vm {
  const { uuid, firmware, uefiVariables } = description;
  return {
    name,
    ...(uuid === undefined ? {} : { uuid }),
    state: looked.some(({ isInUse }) => isInUse) ? 'running' : 'off',
    disks: looked.map(({ disk }) => disk),
    firmware: firmware ?? (uefiVariables === undefined ? 'bios' : 'uefi'),
    networkCards: [],
    hasAgentChannel: false,
  };
}

function refuseTwins(named: readonly { readonly name: string }[], what: string): void {
  const names = named.map(({ name }) => name);
  const twin = names.find((name, at) => names.indexOf(name) !== at);
  if (twin === undefined) return;
  throw new HoldfastError(
    'ArgumentInvalid',
    `${what} ${twin}: rename one of the files, or name them in a vm.json`,
    { details: { name: twin } },
  );
}
