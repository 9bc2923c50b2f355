/**
 * A QMP socket at which no QEMU listens: that of a VM that is off, if we have defined it; else of one that can
 * be made. What is off is backed up by its images.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { HoldfastError, type Clock } from '#base';
import { openSocketChannel } from '../agent/socket-channel.ts';
import type { Hypervisor } from '../hypervisor.ts';
import { prepareOffline } from '../offline/prepare-offline.ts';
import { offlineTracking } from '../offline/tracking.ts';
import type { DefinitionFile, Vm, VmDefinition } from '../vm.ts';
import { qemuCreation } from './creation/creation.ts';
import { definedAt, type DefinedVm } from './creation/defined-vm.ts';
import { isListening } from './creation/start-qemu.ts';
import type { QemuAddress } from './qemu-address.ts';

export function absentQemu(
  uri: string,
  {
    address,
    clock,
    random,
  }: {
    readonly address: QemuAddress;
    readonly clock: Clock;
    readonly random: (byteCount: number) => Buffer;
  },
): Hypervisor {
  const { qmpPath } = address;
  const find = async (name: string): Promise<DefinedVm> => {
    const known = await definedAt(qmpPath);
    const found = known.find(({ defined }) => defined.vm.name === name);
    if (found !== undefined) return found.defined;
    if (known.length === 0) throw nothingListens(qmpPath);
    const names = known.map(({ defined }) => defined.vm.name).join(', ');
    throw new HoldfastError(
      'VmNotFound',
      `there is no VM "${name}" at "${qmpPath}", there is ${names}`,
      {
        details: { vm: name },
      },
    );
  };
  const vmOf = async ({ vm }: DefinedVm): Promise<Vm> => ({
    ...vm,
    state: (await isListening(qmpPath)) ? 'running' : 'off',
  });
  return {
    kind: 'qemu',
    uri,
    list: async () =>
      await Promise.all((await definedAt(qmpPath)).map(async ({ defined }) => await vmOf(defined))),
    find: async (name) => await vmOf(await find(name)),
    definition: async (name) => await definitionOf(await find(name)),
    agent: async (name) => {
      const { agentPath: path } = await find(name);
      const isThere = path !== undefined && (await isListening(qmpPath));
      return isThere ? openSocketChannel({ path, clock, random }) : undefined;
    },
    prepare: async (request) => {
      const vm = await vmOf(await find(request.vm));
      if (vm.state !== 'off') {
        throw new HoldfastError('VmBusy', `${vm.name} has just been started: run again`, {
          details: { vm: vm.name },
        });
      }
      return await prepareOffline(request, vm, { clock, allowOutside: true });
    },
    tracking: offlineTracking(async (name) => (await find(name)).vm),
    creation: qemuCreation({ address, clock, random, running: async () => await none() }),
    close: async () => {},
  };
}

async function none(): Promise<undefined> {
  return await Promise.resolve(undefined);
}

function nothingListens(qmpPath: string): HoldfastError {
  return new HoldfastError(
    'HypervisorUnavailable',
    `no QEMU listens at "${qmpPath}", and no VM is defined there: start the VM with -qmp unix:PATH,server=on,wait=off, correct the path, or name the folder of its images (images:/folder)`,
    { details: { path: qmpPath } },
  );
}

async function definitionOf(defined: DefinedVm): Promise<VmDefinition> {
  const { vm, commandLine, workingDirectory, variablesPath, tpm } = defined;
  const files: DefinitionFile[] = [];
  if (variablesPath !== undefined) {
    const content = await readFile(variablesPath);
    files.push({ role: 'uefi-variables', path: variablesPath, content });
  }
  if (tpm !== undefined) {
    for (const entry of await readdir(tpm.folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || entry.name === '.lock') continue;
      const path = join(entry.parentPath, entry.name);
      const content = await readFile(path);
      files.push({ role: 'tpm-state', path: relative(tpm.folder, path), content });
    }
  }
  return {
    hypervisor: 'qemu',
    vm,
    commandLine,
    ...(workingDirectory === undefined ? {} : { workingDirectory }),
    files,
  };
}
