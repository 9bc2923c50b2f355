/** A protected item on the wire (Microsoft.RecoveryServices 2016 to 2023-06-01). */
import { HoldfastError } from '#base';
import type { Item, Point, VaultName } from '#service';
import { timeSpan } from '../frame/durations.ts';
import type { Site } from '../frame/route.ts';
import { vaultId, vmId } from '../ids.ts';
import { errorNumber, recommendationsFor } from '../jobs/error-numbers.ts';
import { itemId, itemName, ITEM_TYPE, MANAGEMENT_TYPE, plainName, VM_KIND } from './item-names.ts';

/** What Azure says where no backup has ended yet. */
const NO_BACKUP = '2001-01-01T00:00:00Z';
const UPCOMING_MS = 2 * 86_400_000;
const DAY_MS = 86_400_000;

export type ItemToShow = {
  readonly site: Site;
  readonly vault: VaultName & { readonly id: string };
  readonly item: Item;
  /** The name of its policy. */
  readonly policy: string | undefined;
  /** All of its points, newest first; undefined: they are left out, as lists do. */
  readonly points?: readonly Point[] | undefined;
};

export function itemToWire({ site, vault, item, policy, points }: ItemToShow) {
  const vm = { group: item.vmGroup, name: item.vmName };
  const sourceId = vmId(site, vm);
  const { lastBackup } = item;
  return {
    id: itemId(site, vault, vm),
    name: itemName(vm),
    type: ITEM_TYPE,
    eTag: `"${item.revision}"`,
    properties: {
      protectedItemType: VM_KIND,
      backupManagementType: MANAGEMENT_TYPE,
      workloadType: 'VM',
      friendlyName: item.vmName,
      containerName: plainName(vm),
      sourceResourceId: sourceId,
      virtualMachineId: sourceId,
      policyId: policy === undefined ? '' : `${vaultId(site, vault)}/backupPolicies/${policy}`,
      policyName: policy ?? '',
      vaultId: vaultId(site, vault),
      protectedItemDataId: dataId(item),
      protectionState: item.state === 'SoftDeleted' ? 'ProtectionStopped' : item.state,
      ...health(item),
      lastBackupStatus: lastBackup?.status ?? '',
      lastBackupTime: lastBackup === undefined ? NO_BACKUP : iso(lastBackup.endedAt),
      ...(lastBackup?.pointAt === undefined ? {} : { lastRecoveryPoint: iso(lastBackup.pointAt) }),
      isArchiveEnabled: false,
      ...deletion(item, site.service.clock.nowMs()),
      ...diskExclusion(item),
      ...(points === undefined ? {} : { extendedInfo: extendedInfo(points) }),
    },
  };
}

/** A number that stays with the item: of its id's first 48 bits. */
function dataId({ id }: Item): string {
  return BigInt(`0x${id.replaceAll('-', '').slice(0, 12)}`).toString();
}

/** R55, R81: what the newest backup says; that a VM is gone raises it only where somebody asked for the backup. */
export function health({ lastBackup }: Item) {
  const failure = lastBackup?.status === 'Failed' ? lastBackup.failure : undefined;
  const isQuiet = failure?.code === 'UserErrorVmNotFoundV2' && lastBackup?.isOnDemand !== true;
  if (failure === undefined || isQuiet) {
    const green = {
      code: errorNumber('IaasVmHealthGreenDefault'),
      title: 'IaasVmHealthGreenDefault',
      message: 'Backup pre-check status of this virtual machine is OK.',
      recommendations: [],
    };
    return {
      protectionStatus: failure === undefined ? 'Healthy' : 'Unhealthy',
      healthStatus: 'Passed',
      healthDetails: [green],
      kpisHealths: { BackupHealth: { resourceHealthStatus: 'Healthy', resourceHealthDetails: [] } },
    };
  }
  const detail = {
    code: errorNumber(failure.code),
    title: failure.code,
    message: failure.message,
    recommendations: recommendationsFor(failure.code),
  };
  const kpi = { resourceHealthStatus: 'PersistentUnhealthy', resourceHealthDetails: [detail] };
  return {
    protectionStatus: 'Unhealthy',
    healthStatus: 'ActionRequired',
    healthDetails: [detail],
    kpisHealths: { BackupHealth: kpi },
  };
}

function deletion({ state, purgeAt, deletedAt }: Item, now: number) {
  if (state !== 'SoftDeleted' || purgeAt === undefined || deletedAt === undefined) {
    return { isScheduledForDeferredDelete: false };
  }
  const days = Math.round((purgeAt - deletedAt) / DAY_MS);
  return {
    isScheduledForDeferredDelete: true,
    deferredDeleteTimeInUTC: iso(deletedAt),
    deferredDeleteTimeRemaining: timeSpan(purgeAt - now),
    isDeferredDeleteScheduleUpcoming: purgeAt - now <= UPCOMING_MS,
    // The one until 2022, the other since 2023.
    softDeleteRetentionPeriod: days,
    softDeleteRetentionPeriodInDays: days,
  };
}

function diskExclusion({ diskSelection }: Item) {
  if (diskSelection === undefined) return {};
  const { luns, isInclusion } = diskSelection;
  const diskExclusionProperties = { diskLunList: luns, isInclusionList: isInclusion };
  return { extendedProperties: { diskExclusionProperties } };
}

function extendedInfo(points: readonly Point[]) {
  const oldest = points.at(-1)?.takenAt;
  return {
    ...(oldest === undefined
      ? {}
      : { oldestRecoveryPoint: iso(oldest), oldestRecoveryPointInVault: iso(oldest) }),
    recoveryPointCount: points.length,
    policyInconsistent: false,
  };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

/** @throws {HoldfastError} `PreconditionFailed` if `revision` is given and is not that of the item. */
export function requireItemRevision(item: Item | undefined, revision: number | undefined): void {
  if (revision === undefined || item?.revision === revision) return;
  throw new HoldfastError(
    'PreconditionFailed',
    'The item is not there, or was changed meanwhile: read it again, then repeat the change.',
  );
}
