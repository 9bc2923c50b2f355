/**
 * The hypervisor room: VMs of QEMU, of libvirt, of folders of images, behind one contract: find them, quiesce
 * them, snapshot their disks at one instant, follow their changes, define and start them. Knows no repository.
 */
export type {
  Hypervisor,
  PreparedBackup,
  PreparedDisk,
  PrepareRequest,
  Snapshot,
  SnapshotDisk,
  Tracking,
  TrackingBase,
  TrackingRequest,
} from './hypervisor.ts';
export type { DefineRequest, NewVmDisk, VmCreation } from './vm-creation.ts';
export type { NetworkCard, PowerState, Vm, VmDefinition, VmDisk } from './vm.ts';
export type { Consistency, QuiesceResult, QuiesceStep } from './quiesce.ts';
export { quiesced } from './consistency/quiesced.ts';
export { connectHypervisor, type ConnectOptions } from './connect.ts';
export { guestExtension, type ExtensionAction } from './extension/guest-extension.ts';
export type { ExtensionState } from './extension/extension.ts';
