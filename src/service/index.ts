/**
 * The control plane: vaults, policies, items, schedules, jobs. Knows no HTTP and touches no disk byte: `api`
 * translates what is said in Azure's words, `#backup` moves the data.
 */
export { openService, type Service } from './service.ts';
export type { ServiceLog } from './record-parts.ts';
export { writePrivate } from './data-folder/write-private.ts';
// Access
export { openAccess, type Access } from './access/access.ts';
export {
  createPrincipal,
  deletePrincipal,
  getPrincipal,
  listPrincipals,
  rotateSecret,
  type NewPrincipal,
  type Principal,
} from './access/principals.ts';
// Groups, hosts, VMs, storage accounts
export {
  deleteResourceGroup,
  getResourceGroup,
  listResourceGroups,
  putResourceGroup,
  type ResourceGroup,
} from './groups/resource-groups.ts';
export { discoverAll, discoverHost } from './hosts/discovery.ts';
export { lookAgain } from './hosts/look-again.ts';
export { getHost, listHosts, putHost, removeHost, runsVms, type Host } from './hosts/hosts.ts';
export { getVm, listVms, type HostVm } from './hosts/vms.ts';
export { accountLoads, type AccountLoad } from './storage-accounts/account-loads.ts';
export {
  getStorageAccount,
  listStorageAccounts,
  putStorageAccount,
  removeStorageAccount,
  type StorageAccount,
} from './storage-accounts/storage-accounts.ts';
// Vaults and policies
export { createVault } from './vaults/create-vault.ts';
export { deleteVault } from './vaults/delete-vault.ts';
export { getDeletedVault, listDeletedVaults, type DeletedVault } from './vaults/deleted-vaults.ts';
export { forgetVault } from './vaults/forget-vault.ts';
export { undeleteVault } from './vaults/undelete-vault.ts';
export {
  getVault,
  listVaults,
  makeVaultRecoveryKey,
  updateVault,
  type Vault,
  type VaultName,
} from './vaults/vaults.ts';
export type { VaultSettings } from './vaults/vault-settings.ts';
export { whyOutOfReach } from './vaults/vault-reach.ts';
export {
  deletePolicy,
  getPolicy,
  listPolicies,
  putPolicy,
  type VaultPolicy,
} from './policies/policies.ts';
export type {
  BackupPolicy,
  RetentionDays,
  RetentionRule,
  Schedule,
  TimeOfDay,
} from './policy/backup-policy.ts';
export { validatePolicy } from './policy/validate-policy.ts';
export { previewRuns } from './schedule/runs.ts';
export { listItems } from './items/items.ts';
// Items, points, jobs
export {
  checkProtection,
  deleteData,
  protect,
  stopByPolicy,
  stopRetaining,
  undelete,
  type Protection,
} from './items/protect.ts';
export { getItem, listItemsOfVm, type Item, type ItemName } from './items/items.ts';
export { backUpNow } from './backing-up/start-backup.ts';
export {
  deleteGroup,
  getGroup,
  listGroups,
  putGroup,
  type ConsistencyGroup,
} from './consistency-groups/consistency-groups.ts';
export { backUpGroupNow } from './consistency-groups/start-group-backup.ts';
export { getPoint, listPoints, type Point } from './points/points.ts';
export { getShownPoint, shownPoints, type ShownPoint } from './points/planned-points.ts';
export {
  deletePoint,
  extendPoint,
  pinPoint,
  undeletePoint,
  unpinPoint,
  type PointName,
} from './points/hold-point.ts';
export { startExpiry } from './expiring/start-expiry.ts';
export {
  previewDeletion,
  previewExpiry,
  previewPolicyEdit,
  previewPolicySwitch,
  type Preview,
} from './previews/preview.ts';
export { adviseAccount } from './restoring/advise-account.ts';
export { checkRestore, startRestore } from './restoring/start-restore.ts';
export type { RestoreRequest } from './restoring/restore-request.ts';
export { startBoot, type WantedBoot } from './booting/start-boot.ts';
export { startExport } from './exporting/start-export.ts';
export { startVerify } from './verifying/start-verify.ts';
export {
  countJobs,
  getJob,
  isPastCancelling,
  JOB_STATUSES,
  listJobs,
  type Job,
} from './jobs/jobs.ts';
export type { JobTask } from './jobs/job-records.ts';
export type { JobOperation } from './jobs/job-runner.ts';
export { examine } from './doctor/doctor.ts';
export { listActivities, type Activity } from './activities/activities.ts';
// Charges
export {
  itemCharges,
  vaultCharges,
  type Costs,
  type ItemCharges,
  type ItemChargesByPoint,
} from './charges/charges.ts';
export { forecastItem } from './charges/item-forecast.ts';
export { freedByPoints } from './charges/freed-by-points.ts';
export { PRICE_SHEET } from './charges/price-sheet.ts';
export { listPrices, putPriceSheet } from './charges/prices.ts';
export { readCharges } from './charges/read-charges.ts';
// Operations
export { beginOperation } from './operations/begin-operation.ts';
export { addOperation, getOperation, type Operation } from './operations/operations.ts';
