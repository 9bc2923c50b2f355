/**
 * The hypervisor room: VMs of QEMU, of libvirt, of folders of images, behind one contract: find them, quiesce
 * them, snapshot their disks at one instant, follow their changes, define and start them. Knows no repository.
 */
export { connectHypervisor } from './connect.ts';
export type {
  Hypervisor,
  PreparedBackup,
  PreparedDisk,
  Snapshot,
  SnapshotDisk,
  TrackingBase,
} from './hypervisor.ts';
export type { DefineRequest, NewVmDisk } from './vm-creation.ts';
export type { Vm, VmDefinition } from './vm.ts';
export type { TrackingMark } from './vm-tracking.ts';
export { contactGuest, type GuestContact } from './consistency/guest-contact.ts';
export { quiesced, type Quiesced } from './consistency/quiesced.ts';
export type { Consistency, QuiesceStep } from './quiesce.ts';
export type { GuestOs } from './agent/guest-agent.ts';
export { bootSecurity, type BootSecurity } from './boot-security.ts';
export {
  guestExtension,
  lookIntoGuest,
  type ExtensionAction,
} from './extension/guest-extension.ts';
export type { ExtensionState } from './extension/extension.ts';
export { guestLoad } from './load/guest-load.ts';
export type { GuestLoad } from './load/load-shares.ts';
