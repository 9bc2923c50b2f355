/** A folder of disk images as VMs that do not run: they are backed up while nobody has them open. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { HoldfastError, type Clock } from '#base';
import type { Hypervisor } from '../hypervisor.ts';
import { prepareOffline } from '../offline/prepare-offline.ts';
import { offlineTracking } from '../offline/tracking.ts';
import type { DefinitionFile, VmDefinition } from '../vm.ts';
import { describeVms, findVm, type ImageVm } from './describe-vms.ts';
import { allowedFilesOf } from './find-images.ts';
import { imageCreation } from './image-creation.ts';

export type ConnectImagesOptions = {
  /** An absolute path. */
  readonly folder: string;
  readonly clock: Clock;
};

/** @throws {HoldfastError} `HypervisorUnavailable` if there is no such folder. */
export async function connectImages({ folder, clock }: ConnectImagesOptions): Promise<Hypervisor> {
  await describeVms(folder);
  const find = async (name: string): Promise<ImageVm> => await findVm(folder, name);
  return {
    kind: 'images',
    uri: `images:${folder}`,
    list: async () => (await describeVms(folder)).map(({ vm }) => vm),
    find: async (name) => (await find(name)).vm,
    definition: async (name) => await definitionOf(await find(name)),
    // Nothing runs here.
    agent: async (name) => void (await find(name)),
    prepare: async (request) => {
      const found = await find(request.vm);
      return await prepareOffline(request, found.vm, {
        clock,
        allowedFiles: allowedFilesOf(found),
      });
    },
    tracking: offlineTracking(async (name) => (await find(name)).vm),
    creation: imageCreation(folder),
    close: async () => {},
  };
}

async function definitionOf({ vm, folder, description }: ImageVm): Promise<VmDefinition> {
  const files: DefinitionFile[] = [];
  if (description.uefiVariables !== undefined) {
    const path = resolve(folder, description.uefiVariables);
    const content = await readFile(path).catch((cause: Error) => {
      throw new HoldfastError(
        'HypervisorFailed',
        `cannot read the UEFI variables of ${vm.name}: ${cause.message}`,
        { cause, details: { path } },
      );
    });
    files.push({ role: 'uefi-variables', path, content });
  }
  return { hypervisor: 'images', vm, files };
}
