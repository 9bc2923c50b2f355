/**
 * VMs made in a folder of images: a sub-folder with a `vm.json` that names the disks, wherever they lie.
 * Nothing runs here, so nothing is started.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import { HoldfastError } from '#base';
import type { DefineRequest, NewVmDisk, VmCreation } from '../vm-creation.ts';
import { describeVms, findVm, type ImageVm } from './describe-vms.ts';
import { real } from './find-images.ts';
import { readVmDescription, writeVmDescription, type DescribedDisk } from './vm-json.ts';

export function imageCreation(root: string): VmCreation {
  return {
    check: async (request, { starts }) => {
      await refuse(root, request);
      if (starts) throw nothingRuns(`${request.name} cannot be started`);
    },
    define: async (request) => await define(root, request),
    defined: async (name) => (await findVm(root, name)).vm,
    runState: async (name) => (await findVm(root, name)).vm.state,
    resume: async (name) => {
      await findVm(root, name);
      throw nothingRuns(`${name} does not run`);
    },
    start: async (name) => {
      await findVm(root, name);
      throw nothingRuns(`${name} cannot be started`);
    },
    powerOff: async (name) => {
      const { vm } = await findVm(root, name);
      if (vm.state !== 'off')
        throw nothingRuns(`${name} is run by another program, and is not ended`);
    },
    undefine: async (name) => {
      const { folder, description } = await ownFolder(root, name);
      await writeVmDescription(folder, { ...description, disks: [] });
    },
    replaceDisks: async (name, disks) => await replaceDisks(root, { name, disks }),
    moveToImage: async (name) => {
      await findVm(root, name);
      throw nothingRuns(`${name} does not run`);
    },
    restoreErrorPolicies: async (name) => {
      await findVm(root, name); // A folder says nothing of errors.
    },
  };
}

function nothingRuns(what: string): HoldfastError {
  return new HoldfastError(
    'DefinitionUnsupported',
    `${what}: a folder of images runs no VMs; restore to libvirt for that`,
  );
}

async function refuse(root: string, { name, disks }: DefineRequest): Promise<void> {
  if (disks.some(({ backing }) => backing !== undefined)) {
    throw nothingRuns(`${name} cannot be made of disks that are being served`);
  }
  await refuseTaken(root, { name, folder: join(root, folderName(name)), disks });
}

async function define(root: string, request: DefineRequest): Promise<void> {
  const { definition, name, identity, disks } = request;
  await refuse(root, request);
  const folder = join(root, folderName(name));
  const { uuid, firmware } = definition.vm;
  const variables = definition.files.find(({ role }) => role === 'uefi-variables');
  const uefiVariables = variables === undefined ? undefined : basename(variables.path);
  await mkdir(folder, { recursive: true });
  if (variables !== undefined) await writeFile(join(folder, uefiVariables!), variables.content);
  await writeVmDescription(folder, {
    name,
    ...(identity === 'new' || uuid === undefined ? {} : { uuid }),
    firmware,
    ...(uefiVariables === undefined ? {} : { uefiVariables }),
    disks: disks.map((disk) => described(disk, folder)),
  });
}

/** A VM that is only the images of the new one, just written, is no other. */
async function refuseTaken(
  root: string,
  wanted: { readonly name: string; readonly folder: string; readonly disks: readonly NewVmDisk[] },
): Promise<void> {
  const images = new Set(await Promise.all(wanted.disks.map(({ path }) => real(path))));
  for (const found of await describeVms(root)) {
    if (found.vm.name !== wanted.name && found.folder !== wanted.folder) continue;
    const others = await Promise.all(found.disks.map(({ path }) => real(path)));
    if (!found.isDescribed && others.every((path) => images.has(path))) continue;
    throw new HoldfastError(
      'VmExists',
      `there is a VM ${found.vm.name} in "${found.folder}" already`,
      {
        details: { vm: found.vm.name, folder: found.folder },
      },
    );
  }
}

async function replaceDisks(
  root: string,
  { name, disks }: { readonly name: string; readonly disks: readonly NewVmDisk[] },
): Promise<void> {
  const { vm, folder, disks: present } = await ownFolder(root, name);
  if (vm.state !== 'off') {
    throw new HoldfastError('VmNotShutDown', `${name} is in use: shut it down first`, {
      details: { vm: name },
    });
  }
  const unknown = disks.find((disk) => !present.some((old) => old.name === disk.name));
  if (unknown !== undefined) {
    const known = present.map((disk) => disk.name).join(', ');
    throw new HoldfastError(
      'DiskNotFound',
      `${name} has no disk "${unknown.name}", it has ${known}`,
      {
        details: { vm: name, disk: unknown.name },
      },
    );
  }
  await writeVmDescription(folder, {
    ...(await readVmDescription(folder)),
    name,
    disks: present.map((old) => {
      const replaced = disks.find((disk) => disk.name === old.name);
      return described(replaced ?? { ...old, format: old.format ?? '' }, folder);
    }),
  });
}

/** A VM that is one image has no folder to describe it in. */
async function ownFolder(root: string, name: string): Promise<ImageVm> {
  const found = await findVm(root, name);
  if (found.folder !== root) return found;
  throw new HoldfastError(
    'DefinitionUnsupported',
    `${name} is one image and no folder: move it into a folder of its own, "${join(root, name)}"`,
    { details: { vm: name } },
  );
}

function described(
  { name, path, format }: { readonly name: string; readonly path: string; readonly format: string },
  folder: string,
): DescribedDisk {
  const inside = relative(folder, path);
  return { name, file: inside.startsWith('..') ? path : inside, format };
}

/** VMs may have names that no folder can have. */
function folderName(name: string): string {
  return name.replaceAll(sep, '_').replace(/^\./, '_');
}
