/**
 * A VM that QEMU runs, by its QMP socket; for VMs started by hand or by other tools. The socket is held until
 * `close`: it serves one client at a time. When QEMU ends, so does the connection. Where none listens, the VM is
 * off, or still to be made (`absent-qemu.ts`).
 */
import { readlink, stat } from 'node:fs/promises';
import { HoldfastError, type Clock } from '#base';
import { openSocketChannel } from '../agent/socket-channel.ts';
import type { Hypervisor, PreparedBackup, PrepareRequest } from '../hypervisor.ts';
import { QmpClient } from '../qmp/qmp-client.ts';
import type { Vm } from '../vm.ts';
import type { VmCreation } from '../vm-creation.ts';
import type { VmTracking } from '../vm-tracking.ts';
import { absentQemu } from './absent-qemu.ts';
import type { Mechanism } from './backup.ts';
import { qemuCreation, type RunningQemu } from './creation/creation.ts';
import { nobodyListens } from './creation/start-qemu.ts';
import { defineVm } from './define-vm.ts';
import { describeVm, nameAndUuid } from './describe-vm.ts';
import { prepareBackup } from './prepare.ts';
import { parseQemuUri, type QemuAddress } from './qemu-address.ts';
import { listTracking, removeTracking } from './tracking.ts';
import { findQemu, type QemuProcess } from './qemu-process.ts';

export type ConnectQemuOptions = {
  /** As `parseQemuUri` takes it. */
  readonly uri: string;
  readonly clock: Clock;
  readonly random: (byteCount: number) => Buffer;
  /** Absent: a filter, where QEMU and the devices can; see `Mechanism`. */
  readonly mechanism?: Mechanism;
};

/** @throws {HoldfastError} `ArgumentInvalid`, `HypervisorUnavailable`. */
export async function connectQemu(options: ConnectQemuOptions): Promise<Hypervisor> {
  const address = parseQemuUri(options.uri);
  let qmp: QmpClient;
  try {
    qmp = await QmpClient.connect({ path: address.qmpPath, clock: options.clock });
  } catch (error) {
    const cause = error instanceof HoldfastError ? error.cause : undefined;
    if (!nobodyListens(cause)) throw error;
    return absentQemu(options.uri, { ...options, address });
  }
  return new QemuVm(options, { address, qmp });
}

class QemuVm implements Hypervisor {
  readonly kind = 'qemu';
  readonly uri: string;
  readonly creation: VmCreation;
  readonly tracking: VmTracking;
  readonly #options: ConnectQemuOptions;
  readonly #address: QemuAddress;
  readonly #qmp: QmpClient;
  #process: Promise<QemuProcess | undefined> | undefined;
  #backsUp = false;

  constructor(
    options: ConnectQemuOptions,
    { address, qmp }: { readonly address: QemuAddress; readonly qmp: QmpClient },
  ) {
    this.uri = options.uri;
    this.#options = options;
    this.#address = address;
    this.#qmp = qmp;
    const { clock, random } = options;
    this.tracking = {
      list: async (name) => {
        await this.find(name);
        return await listTracking(qmp);
      },
      remove: async (name, repositoryId) => {
        await this.find(name);
        return await removeTracking({ qmp, clock }, repositoryId);
      },
    };
    this.creation = qemuCreation({
      address,
      clock,
      random,
      running: async () => await this.#running(),
    });
  }

  async list(): Promise<readonly Vm[]> {
    const { qmpPath, agentPath } = this.#address;
    const process = await this.#findProcess();
    const hasAgentChannel = agentPath !== undefined;
    return [await describeVm(this.#qmp, { qmpPath, process, hasAgentChannel })];
  }

  async find(name: string): Promise<Vm> {
    const [vm] = await this.list();
    if (vm?.name === name) return vm;
    throw new HoldfastError('VmNotFound', `${this.uri} is the VM "${vm?.name}", not "${name}"`, {
      details: { vm: name },
    });
  }

  async definition(name: string): ReturnType<Hypervisor['definition']> {
    const vm = await this.find(name);
    const process = await this.#findProcess();
    const definition = await defineVm(this.#qmp, { vm, process });
    if (process === undefined) return definition;
    return { ...definition, workingDirectory: await readlink(`/proc/${process.pid}/cwd`) };
  }

  async agent(name: string): ReturnType<Hypervisor['agent']> {
    const { state } = await this.find(name);
    const path = this.#address.agentPath;
    if (path === undefined || state !== 'running') return undefined;
    const { clock, random } = this.#options;
    return openSocketChannel({ path, clock, random });
  }

  async prepare(request: PrepareRequest): Promise<PreparedBackup> {
    const vm = await this.find(request.vm);
    if (this.#backsUp) {
      throw new HoldfastError('VmBusy', `${vm.name} is being backed up: wait until that has ended`);
    }
    this.#backsUp = true;
    const onEnd = (): void => {
      this.#backsUp = false;
    };
    try {
      const { clock, random, mechanism } = this.#options;
      const { uid, gid } = await stat(this.#address.qmpPath);
      const context = { qmp: this.#qmp, clock, random, mechanism };
      return await prepareBackup({ ...context, owner: { uid, gid }, vm, onEnd }, request);
    } catch (error) {
      onEnd();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#qmp.close();
  }

  /** Asks nothing of disks: QEMU 7.2 crashes on that while a copy of one ends. */
  async #running(): Promise<RunningQemu | undefined> {
    if (!this.#qmp.isOpen) return undefined;
    const facts = await nameAndUuid(this.#qmp, this.#address.qmpPath);
    return { ...facts, qmp: this.#qmp };
  }

  async #findProcess(): Promise<QemuProcess | undefined> {
    this.#process ??= findQemu(this.#address.qmpPath);
    return await this.#process;
  }
}
