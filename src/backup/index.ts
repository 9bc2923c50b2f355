/**
 * The data plane: takes recovery points of disks, restores them, serves them as disks. Joins the rooms
 * `disk` and `repository`, which do not know each other; knows no vaults and no users.
 */
export { createRepository, type NewRepository } from './new-repository.ts';
export {
  rebuildIndexOf,
  withRepository,
  type Caller,
  type RepositoryRequest,
} from './open-repository.ts';
export { repositoryIdAt } from './repository-id.ts';
export { addKey, addRecoveryKey, listKeys, removeKey } from './repository-keys.ts';
export {
  findPoint,
  keepPlanOfItems,
  listPoints,
  pointDetails,
  type ListedPoint,
  type PointDetails,
} from './find-point.ts';
export { itemNames } from './points/item-names.ts';
export { verify } from './verify.ts';
export {
  compactRepository,
  DEFAULT_BLOCK_SIZE,
  expirePoints,
  isBlockSize,
  makeRecoveryKey,
  newPointId,
  planExpiry,
  pointSizes,
  readDocument,
  repositoryStatistics,
  storedByOwner,
  tryLock,
  usedBytes,
  writeDocument,
  type CompactResult,
  type ExpiryResult,
  type PointSizes,
  type RepositoryStatistics,
  type VerifyResult,
} from '#repository';
export { connectHypervisor, type Hypervisor, type TrackingMark } from '#hypervisor';
export { describeVmPoint, type VmPointDescription } from './vms/describe-vm-point.ts';
export { backUpVm, type VmBackupResult } from './vms/back-up-vm.ts';
export { backUpVms, type GroupBackupResult, type GroupMember } from './vms/back-up-vms.ts';
export { awaitGuests, lookAtLoads, type GuestLoadLimit } from './vms/guest-wait.ts';
export type { PointGroup } from './vms/vm-note.ts';
export { contactVm, type VmContact } from './vms/vm-contact.ts';
export { writeDefinition } from './vms/write-definition.ts';
export { restoreVm, type VmRestoreResult } from './vms/restore-vm.ts';
export { replaceVm, type VmReplaceResult } from './vms/replace-vm.ts';
export { forgetTracking, type TrackingOwner } from './vms/vm-tracking.ts';
export { lookAtGuest, type GuestSight } from './vms/look-at-guest.ts';
export { inScratch } from './vms/scratch-folder.ts';
export { vmExtension } from './vms/vm-extension.ts';
export { bootVm, checkBoot } from './vms/boot-vm.ts';
export type { BootedVm } from './vms/booted-vm.ts';
export { readBootNote, type BootNote } from './vms/boot-note.ts';
export { resumeBoot } from './vms/resume-boot.ts';
export { discardBoot, isMoved } from './vms/remove-booted.ts';
export { unmovedBoot } from './vms/unmoved-boot.ts';
export { backUpDisks } from './taking/back-up-disks.ts';
export { warmUpBackup } from './taking/backup-crew.ts';
export type { BackupRequest, BackupResult } from './taking/backup-run.ts';
export type { DiskToBackUp } from './taking/backup-source.ts';
export {
  restoreDisks,
  warmUpRestore,
  type RestoreRequest,
  type RestoreResult,
} from './restoring/restore-disks.ts';
export { servePoint, type PointServer } from './serving/serve-point.ts';
export { requireSocketPath } from '#disk';
export { bytesToRestore } from './restoring/allocated-bytes.ts';
export { diffPoints, type DiskDifference } from './points/diff-points.ts';
export type { KeepPlan, KeepRules } from './points/keep-plan.ts';
