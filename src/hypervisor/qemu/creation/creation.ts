/**
 * Defines, starts and ends VMs of QEMU, and gives them other disks: the contract of vm-creation.ts. A VM is its
 * command line, kept in a file (`defined-vm.ts`); the socket that `--connect` names is that of one VM.
 */
import { existsSync } from 'node:fs';
import { mkdir, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HoldfastError, type Clock } from '#base';
import { QmpClient } from '../../qmp/qmp-client.ts';
import type { Vm, VmDefinition } from '../../vm.ts';
import type { DefineRequest, NewVmDisk, RunState, VmCreation } from '../../vm-creation.ts';
import type { QemuAddress } from '../qemu-address.ts';
import { formatArguments, parseArguments } from './arguments.ts';
import {
  definedAt,
  descriptionPath,
  readDefined,
  removeDefined,
  writeDefined,
  type DefinedVm,
} from './defined-vm.ts';
import { replaceImages, restoreErrorPolicies } from './disk-images.ts';
import { spellOutDrives } from './drives.ts';
import { checkHost } from './check-host.ts';
import { refuseLackingFiles, tpmOf, writeFiles } from './definition-files.ts';
import { placeIn } from './host-ends.ts';
import { moveToImage } from './move-to-image.ts';
import { newCommandLine } from './new-command-line.ts';
import { endQemu, isListening, startQemu } from './start-qemu.ts';

export type RunningQemu = Pick<Vm, 'name' | 'uuid'> & { readonly qmp: QmpClient };

export type QemuCreationParts = {
  readonly address: QemuAddress;
  readonly clock: Clock;
  readonly random: (byteCount: number) => Buffer;
  /** The VM that runs at the address, and the connection to it; undefined: none does. */
  readonly running: () => Promise<RunningQemu | undefined>;
};

/** A unix socket's path has 108 bytes, the last one zero. */
const MAX_SOCKET_PATH_BYTES = 107;

type Lent = { readonly qmp: Promise<QmpClient>; users: number };

type Kept = { readonly directory: string; readonly defined: DefinedVm };

export function qemuCreation(parts: QemuCreationParts): VmCreation {
  const creation = new QemuCreation(parts);
  return {
    check: async (request, { starts }) => {
      const { commandLine } = await creation.plan({ ...request, warn: () => {} });
      await checkHost(commandLine, { starts });
    },
    define: async (request) => await creation.define(request),
    defined: async (name, directory) => await creation.adopt(name, directory),
    runState: async (name) => await creation.runState(name),
    resume: async (name) =>
      await creation.withQmp(name, async (qmp) => {
        await qmp.execute('cont');
      }),
    start: async (name) => {
      const { defined } = await creation.find(name);
      if (!(await creation.isRunning(defined))) await startQemu(defined);
    },
    powerOff: async (name) => await creation.powerOff(name),
    undefine: async (name) => {
      const { directory, defined } = await creation.find(name);
      const isRunning = await creation.isRunning(defined);
      await removeDefined(directory, defined, { isRunning });
    },
    replaceDisks: async (name, disks) => await creation.replaceDisks(name, disks),
    moveToImage: async (name, disk, options) =>
      await creation.withQmp(name, async (qmp) => {
        await moveToImage({ qmp, clock: parts.clock }, { vm: name, disk }, options);
      }),
    restoreErrorPolicies: async (name, definition) =>
      await creation.restoreErrorPolicies(name, definition),
  };
}

class QemuCreation {
  readonly #parts: QemuCreationParts;
  /** Folders of VMs that were defined here, whose socket may be another than the address's. */
  readonly #folders = new Map<string, string>();
  /** Connections in use, by socket: each serves one client. */
  readonly #lent = new Map<string, Lent>();

  constructor(parts: QemuCreationParts) {
    this.#parts = parts;
  }

  async define(request: DefineRequest): Promise<void> {
    const { definition, name, directory } = request;
    const defined = await this.plan(request);
    await mkdir(directory, { recursive: true });
    await mkdir(dirname(defined.qmpPath), { recursive: true });
    try {
      await writeFiles(definition.files, defined);
      await writeDefined(directory, defined);
    } catch (error) {
      await removeDefined(directory, defined, { isRunning: false });
      throw error;
    }
    this.#folders.set(name, directory);
  }

  /** What would be defined; changes nothing. */
  async plan(request: DefineRequest): Promise<DefinedVm> {
    const { definition, name, directory, identity } = request;
    const { address, random } = this.#parts;
    if (definition.hypervisor !== 'qemu') {
      throw new HoldfastError(
        'DefinitionUnsupported',
        `the point has the definition of a VM of ${definition.hypervisor}, not of a QEMU: restore its disks and start QEMU with them`,
        { details: { hypervisor: definition.hypervisor } },
      );
    }
    const warn = request.warn ?? (() => {});
    await this.#refuseExisting(request);
    const isTaken = await this.#isTaken();
    const place = placeIn(directory, name);
    const qmpPath = isTaken ? place('qmp.sock') : address.qmpPath;
    const agentPath = isTaken ? undefined : address.agentPath;
    const { words, vm, ...made } = newCommandLine(
      request,
      { qmpPath, agentPath },
      { random, warn },
    );
    if (isTaken) {
      const agent = made.agentPath === undefined ? '' : `,agent=${made.agentPath}`;
      warn(`"${address.qmpPath}" is another VM's: ${name} is at qmp:${qmpPath}${agent}`);
    }
    refuseLong([qmpPath, made.agentPath, made.tpmSocket]);
    if (identity === 'same') await this.#refuseTwin(vm);
    const defined: DefinedVm = {
      version: 1,
      vm,
      qmpPath,
      ...(made.agentPath === undefined ? {} : { agentPath: made.agentPath }),
      pidPath: made.pidPath,
      files: made.files,
      commandLine: words,
      ...(definition.workingDirectory === undefined
        ? {}
        : { workingDirectory: definition.workingDirectory }),
      ...(made.variablesPath === undefined ? {} : { variablesPath: made.variablesPath }),
      ...(made.tpmSocket === undefined ? {} : { tpm: tpmOf(request, made.tpmSocket) }),
    };
    refuseFile(made.variablesPath);
    refuseLackingFiles(definition.files, defined);
    return defined;
  }

  async adopt(name: string, directory: string): Promise<Vm> {
    this.#folders.set(name, directory);
    return (await this.find(name)).defined.vm;
  }

  async runState(name: string): Promise<RunState> {
    const { defined } = await this.find(name);
    if (!this.#lent.has(defined.qmpPath) && !(await this.isRunning(defined))) return 'off';
    return await this.withQmp(name, async (qmp) => {
      const { status, running } = await qmp.execute('query-status');
      if (running) return 'running';
      return status === 'io-error' ? 'failed' : 'paused';
    });
  }

  /** @throws {HoldfastError} `VmNotFound`. */
  async find(name: string): Promise<Kept> {
    const folder = this.#folders.get(name);
    if (folder !== undefined) {
      const defined = await readDefined(descriptionPath(folder, name));
      if (defined !== undefined) return { directory: folder, defined };
    }
    const { qmpPath } = this.#parts.address;
    const found = (await definedAt(qmpPath)).find(({ defined: { vm } }) => vm.name === name);
    if (found !== undefined) {
      return { directory: dirname(await realpath(found.path)), defined: found.defined };
    }
    throw new HoldfastError(
      'VmNotFound',
      `${name} was not defined by Holdfast at "${qmpPath}": whoever starts it must be told`,
      { details: { vm: name } },
    );
  }

  async powerOff(name: string): Promise<void> {
    const { defined } = await this.find(name);
    const running = await this.#parts.running();
    const isOurs = running !== undefined && defined.qmpPath === this.#parts.address.qmpPath;
    await endQemu(defined, {
      clock: this.#parts.clock,
      ...(isOurs ? { lent: running.qmp } : {}),
    });
  }

  async replaceDisks(name: string, disks: readonly NewVmDisk[]): Promise<void> {
    if ((await this.#parts.running())?.name === name) throw runs(name);
    const { directory, defined } = await this.find(name);
    if (await this.isRunning(defined)) throw runs(name);
    const [program = '', ...rest] = defined.commandLine;
    const before = { all: defined.vm.disks, images: disks };
    const parsed = replaceImages(parseArguments(rest), before, { program, name });
    await writeDefined(directory, {
      ...defined,
      commandLine: [program, ...formatArguments(parsed)],
      vm: {
        ...defined.vm,
        disks: defined.vm.disks.map((disk) => {
          const image = disks.find((one) => one.name === disk.name);
          return image === undefined
            ? disk
            : { ...disk, location: image.path, format: image.format };
        }),
      },
    });
  }

  async restoreErrorPolicies(name: string, definition: VmDefinition): Promise<void> {
    const { directory, defined } = await this.find(name);
    const [program = '', ...rest] = defined.commandLine;
    const parsed = parseArguments(rest);
    const original = spellOutDrives(parseArguments(definition.commandLine?.slice(1) ?? []));
    restoreErrorPolicies(parsed, original, { disks: definition.vm.disks, program });
    await writeDefined(directory, {
      ...defined,
      commandLine: [program, ...formatArguments(parsed)],
    });
  }

  /** Callers at one time share one connection. */
  async withQmp<Answer>(name: string, use: (qmp: QmpClient) => Promise<Answer>): Promise<Answer> {
    const running = await this.#parts.running();
    if (running?.name === name) return await use(running.qmp);
    const { qmpPath: path } = (await this.find(name)).defined;
    const connect = async (): Promise<QmpClient> =>
      await QmpClient.connect({ path, clock: this.#parts.clock });
    const lent = this.#lent.get(path) ?? { qmp: connect(), users: 0 };
    this.#lent.set(path, lent);
    lent.users += 1;
    try {
      return await use(await lent.qmp);
    } finally {
      lent.users -= 1;
      if (lent.users === 0) {
        this.#lent.delete(path);
        const qmp = await lent.qmp.catch(() => undefined); // Whoever asked for it was told.
        await qmp?.close();
      }
    }
  }

  async isRunning({ qmpPath }: DefinedVm): Promise<boolean> {
    const { address } = this.#parts;
    return qmpPath === address.qmpPath ? await this.#isTaken() : await isListening(qmpPath);
  }

  async #isTaken(): Promise<boolean> {
    const isOurs = (await this.#parts.running()) !== undefined;
    return isOurs || (await isListening(this.#parts.address.qmpPath));
  }

  async #refuseExisting({ name, directory }: DefineRequest): Promise<void> {
    const path = descriptionPath(directory, name);
    const { qmpPath } = this.#parts.address;
    const running = await this.#parts.running();
    const others = await definedAt(qmpPath);
    if (
      running?.name !== name &&
      !existsSync(path) &&
      others.every(({ defined }) => defined.vm.name !== name)
    ) {
      return;
    }
    throw new HoldfastError(
      'VmExists',
      `there is a VM "${name}" already ("${path}"): choose another name`,
      {
        details: { vm: name },
      },
    );
  }

  async #refuseTwin(vm: Vm): Promise<void> {
    const running = await this.#parts.running();
    if (vm.uuid === undefined || running?.uuid !== vm.uuid) return;
    throw new HoldfastError(
      'VmExists',
      `there is a VM "${running.name}" with the UUID ${vm.uuid} already, and it runs`,
      { details: { vm: running.name } },
    );
  }
}

function runs(name: string): HoldfastError {
  return new HoldfastError(
    'VmNotShutDown',
    `"${name}" runs: shut it down, then its disks can be replaced`,
    { details: { vm: name } },
  );
}

/** It may be what is left of another VM of this name. */
function refuseFile(path: string | undefined): void {
  if (path === undefined || !existsSync(path)) return;
  throw new HoldfastError('OutputExists', `"${path}" is there already`, { details: { path } });
}

function refuseLong(paths: readonly (string | undefined)[]): void {
  for (const path of paths) {
    if (path === undefined || Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES) continue;
    throw new HoldfastError(
      'ArgumentInvalid',
      `"${path}" is too long for a socket (${MAX_SOCKET_PATH_BYTES} bytes): choose a shorter folder or name`,
      { details: { path } },
    );
  }
}
