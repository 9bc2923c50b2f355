/** What every hypervisor tells of a VM, in one form. */

export type PowerState = 'running' | 'paused' | 'off';

export type VmDisk = {
  /** Stable in the VM: the target of libvirt (`vda`), the device id of QEMU, the file's name in a folder. */
  readonly name: string;
  readonly sizeBytes: number;
  /** QEMU's name of the format of the active image: `qcow2`, `raw`, … */
  readonly format: string;
  /** Path of the active image, or its address where it is no file. */
  readonly location: string;
  /** As the guest sees it, where it was set. */
  readonly serial?: string;
  /** Why this disk cannot be backed up, and the way out; absent: it can. */
  readonly refusal?: string;
};

export type NetworkCard = {
  readonly mac: string;
  readonly model?: string;
  /** The host's network or bridge that it is plugged into. */
  readonly network?: string;
};

export type Vm = {
  readonly name: string;
  readonly uuid?: string;
  readonly state: PowerState;
  /** Off, but its memory is saved: the next start goes on from it. */
  readonly hasSavedMemory?: boolean;
  /** Of all images that hold the VM's data; CD-ROMs and floppies are none. */
  readonly disks: readonly VmDisk[];
  readonly firmware: 'bios' | 'uefi';
  /** That it runs with, or will; absent: this hypervisor does not tell. */
  readonly cores?: number;
  readonly memoryBytes?: number;
  readonly networkCards: readonly NetworkCard[];
  /** Whether there is a channel to a guest agent; not whether the agent answers. */
  readonly hasAgentChannel: boolean;
};

/** A file that the VM needs beside its disks. */
export type DefinitionFile = {
  readonly role: 'uefi-variables' | 'tpm-state';
  /** Where it was, or for TPM state its name below the state's folder. */
  readonly path: string;
  readonly content: Buffer;
};

/** All that a VM needs to start elsewhere, but for the content of its disks. */
export type VmDefinition = {
  readonly hypervisor: 'qemu' | 'libvirt' | 'images';
  readonly vm: Vm;
  /** libvirt: the inactive domain XML. */
  readonly domainXml?: string;
  /** QEMU: its arguments, the program first. */
  readonly commandLine?: readonly string[];
  /** QEMU: the folder that names of files in its arguments start from. */
  readonly workingDirectory?: string;
  readonly files: readonly DefinitionFile[];
};
