/** How Backup jobs come to be: by hand, or by the schedule. */
import { HoldfastError, type Clock } from '#base';
import { noteItemActivity } from '../activities/activities.ts';
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import { itemById, getItem, type Item, type ItemName } from '../items/items.ts';
import { requireAllowed } from '../items/item-states.ts';
import type { Accepted } from '../items/protect.ts';
import { tasksFromJson } from '../jobs/job-records.ts';
import { checkQuota } from '../policy/quotas.ts';
import type { ServiceParts } from '../service-parts.ts';
import { requireWritable } from '../vaults/require-writable.ts';
import type { BackupRequest } from './backup-request.ts';
import { hasNewDisk } from './new-disks.ts';

const LONGEST_DAYS = 99 * 366;
const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * Backs the item up now (R20, R57, M29).
 *
 * @param expiresAt when the point shall expire; undefined: 30 days from now.
 * @throws {HoldfastError} `ResourceNotFound`, `BMSUserErrorProtectedItemNotFound`; `UserErrorProtectionStopped`,
 *   `UserErrorItemSoftDeleted`; `VaultUnavailable`, `StoreReadOnly`; `UserErrorInvalidRecoveryPointExpiry`;
 *   `UserErrorBackupOperationInProgress` while another backup of it is in its snapshot (R41; in its transfer, this one
 *   waits); `UserErrorQuotaExceeded` where the settings have one (R14).
 */
export async function backUpNow(
  parts: ServiceParts,
  name: ItemName,
  expiresAt: number | undefined,
): Promise<Accepted> {
  const { catalogue, clock } = parts;
  const date = onDemandExpiry(clock, expiresAt);
  const { id, vaultId } = await getItem(catalogue.read, name);
  await requireWritable(parts, vaultId);
  return await catalogue.change(async (change) => {
    const item = await itemById(change, id);
    requireAllowed('backUp', item);
    await requireNoSnapshot(change, item);
    await requireQuota(parts, change, item);
    await noteItemActivity(parts, change, { item: id, action: 'Backup' });
    return {
      jobId: await addBackup(parts, change, { item, origin: 'on-demand', expiresAt: date }),
    };
  });
}

/** @throws {HoldfastError} `UserErrorInvalidRecoveryPointExpiry`. */
export function onDemandExpiry(clock: Clock, expiresAt: number | undefined): number {
  const now = clock.nowMs();
  const date = expiresAt ?? now + 30 * DAY_MS;
  if (date > now && date <= now + LONGEST_DAYS * DAY_MS) return date;
  throw new HoldfastError(
    'UserErrorInvalidRecoveryPointExpiry',
    `The recovery point's expiry must lie between now and 99 years from now; it is ${new Date(date).toISOString()}.`,
  );
}

export async function addBackup(
  { jobs, clock, settings }: ServiceParts,
  change: CatalogueChange,
  backup: BackupRequest & { readonly item: Item },
): Promise<string> {
  const { item, ...request } = backup;
  const isUnlimited = await hasNewDisk(change, item);
  const deadline = isUnlimited ? {} : { deadlineAt: clock.nowMs() + settings.backupTimeoutMs };
  return await jobs.add(change, {
    vaultId: item.vaultId,
    itemId: item.id,
    entity: item.vmName,
    operation: 'Backup',
    isUserTriggered: request.origin === 'on-demand',
    request,
    claims: [`item:${item.id}`],
    ...deadline,
  });
}

/** R14: tries count, whatever became of them. @throws {HoldfastError} `UserErrorQuotaExceeded`. */
async function requireQuota(
  { clock, settings }: ServiceParts,
  change: CatalogueChange,
  { id }: Item,
): Promise<void> {
  const { used } = await change
    .selectFrom('jobs')
    .select(({ fn }) => fn.countAll<number>().as('used'))
    .where('itemId', '=', id)
    .where('operation', '=', 'Backup')
    .where('isUserTriggered', '=', 1)
    .where('createdAt', '>', clock.nowMs() - DAY_MS)
    .executeTakeFirstOrThrow();
  checkQuota(settings.quotas, 'onDemandBackupsPerDay', used);
}

/** @throws {HoldfastError} `UserErrorBackupOperationInProgress` (R41). */
export async function requireNoSnapshot(change: CatalogueChange, item: Item): Promise<void> {
  const running = await change
    .selectFrom('jobs')
    .select('tasks')
    .where('itemId', '=', item.id)
    .where('operation', '=', 'Backup')
    .where('endedAt', 'is', null)
    .execute();
  const isTransferring = (tasks: string): boolean =>
    tasksFromJson(tasks).some(
      ({ name, status }) => name === 'Take Snapshot' && status === 'Completed',
    );
  if (running.every(({ tasks }) => isTransferring(tasks))) return;
  throw new HoldfastError(
    'UserErrorBackupOperationInProgress',
    `Unable to initiate backup of '${item.vmGroup}/${item.vmName}' as another backup operation is currently in progress.`,
  );
}
