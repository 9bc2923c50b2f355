/**
 * Making VMs of the definitions in recovery points, starting them, replacing their disks: the restoring
 * side of a hypervisor (rules R67–R70). Images are made by the caller; names of images are not looked at.
 */
import type { ProgressListener } from '#base';
import type { Vm, VmDefinition } from './vm.ts';

export type NewVmDisk = {
  /** As in the definition. */
  readonly name: string;
  readonly path: string;
  readonly format: 'qcow2' | 'raw';
  /** The image is an overlay on this read-only NBD export: a recovery point that is being served. */
  readonly backing?: { readonly socketPath: string; readonly exportName: string };
};

export type DefineRequest = {
  readonly definition: VmDefinition;
  readonly name: string;
  /** `new`: with a new UUID and new MAC addresses, so that it can run beside the VM that it is a copy of. */
  readonly identity: 'new' | 'same';
  /** `none`: without any card plugged in; a map: by the definition's MAC address, what to plug each into. */
  readonly networks: 'same' | 'none' | ReadonlyMap<string, string>;
  /** Disks of the definition that are not named are left out. */
  readonly disks: readonly NewVmDisk[];
  /** For what belongs to the VM beside its disks: UEFI variables, TPM state, sockets. */
  readonly directory: string;
  /** Told in one line of what the new VM has otherwise than the old one. */
  readonly warn?: (message: string) => void;
};

/** What a VM does; `failed`: QEMU has paused it at a disk's error; `paused`: somebody else has. */
export type RunState = 'off' | 'running' | 'paused' | 'failed';

export interface VmCreation {
  /**
   * Refuses what `define`, and with `starts` the start after it, would refuse, as far as that can be known before
   * the images are there. Changes nothing, and warns of nothing.
   *
   * @throws {HoldfastError} as `define`; `DefinitionUnsupported` also for what this host lacks: networks,
   *   firmware, a machine type; `OutputExists`, `ToolMissing`.
   */
  check(request: DefineRequest, use: { readonly starts: boolean }): Promise<void>;
  /**
   * Defines a VM and does not start it.
   *
   * @throws {HoldfastError} `VmExists` if there is one of this name, or (identity `same`) of this UUID;
   *   `DefinitionUnsupported` if the definition is of another kind of hypervisor and cannot be converted;
   *   `HypervisorFailed`, with nothing left behind.
   */
  define(request: DefineRequest): Promise<void>;
  /**
   * The VM of this name that was defined in `directory`, perhaps by an earlier process; it is found from then on.
   *
   * @throws {HoldfastError} `VmNotFound`.
   */
  defined(name: string, directory: string): Promise<Vm>;
  /** @throws {HoldfastError} `VmNotFound`; `HypervisorUnavailable`: it cannot be asked just now. */
  runState(name: string): Promise<RunState>;
  /** Lets a paused VM run on; what it could not read or write it tries again. */
  resume(name: string): Promise<void>;
  /** @throws {HoldfastError} `VmNotFound`, `HypervisorFailed`. */
  start(name: string): Promise<void>;
  /** Cuts the power. Idempotent. */
  powerOff(name: string): Promise<void>;
  /** Forgets the VM, and deletes what was made for it beside its images, which stay. */
  undefine(name: string): Promise<void>;
  /**
   * Of a VM that is off: its disks of these names are from now on these images. The old images stay.
   *
   * @throws {HoldfastError} `VmNotShutDown`, also with saved memory; `VmNotFound`, `DiskNotFound`, `HypervisorFailed`.
   */
  replaceDisks(name: string, disks: readonly NewVmDisk[]): Promise<void>;
  /**
   * Copies into a running VM's overlay all that it still reads from the served point; afterwards the
   * disk needs nothing but its own image. Cancelled: the overlay stays on the point, and works.
   */
  moveToImage(
    name: string,
    disk: string,
    options: { readonly onProgress?: ProgressListener; readonly signal?: AbortSignal },
  ): Promise<void>;
  /**
   * Of a VM whose disks have all been moved: what it does at a disk's error is from its next start on what the
   * definition says that it was made of; until then it pauses, as hypervisors set that at a start only. Idempotent.
   *
   * @throws {HoldfastError} `VmNotFound`, `HypervisorFailed`.
   */
  restoreErrorPolicies(name: string, definition: VmDefinition): Promise<void>;
}
