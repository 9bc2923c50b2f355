/**
 * What a user does with an item's protection (states and transitions: item-states.ts). Each is one change with a
 * finished job beside it, as Azure shows one; deleting data at once is work (delete-data.ts).
 */
import { randomUUID } from 'node:crypto';
import { HoldfastError } from '#base';
import { noteItemActivity } from '../activities/activities.ts';
import type { CatalogueChange, CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import { getVm, type HostVm } from '../hosts/vms.ts';
import type { JobOperation } from '../jobs/job-runner.ts';
import { nameKey } from '../names.ts';
import { getPolicy, listPolicies, type VaultPolicy } from '../policies/policies.ts';
import { changeVault } from '../repositories/change-vault.ts';
import type { ServiceParts } from '../service-parts.ts';
import { getVault, type Vault } from '../vaults/vaults.ts';
import { changeItem } from './change-item.ts';
import { isSelected, type DiskSelection } from './disk-selection.ts';
import { itemDocument } from './item-documents.ts';
import { isOver, requireAllowed, type ItemState } from './item-states.ts';
import { findItem, getItem, type Item, type ItemName } from './items.ts';
import { requireProtectionQuotas } from './protection-quotas.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

export type Protection = {
  /** Absent: the one that it has; of a stopped one, the one that it had. */
  readonly policy?: string | undefined;
  /** Absent: as it was; of a new item, all. */
  readonly diskSelection?: DiskSelection | 'all' | undefined;
};

/** What was accepted: the job that shows it. */
export type Accepted = { readonly jobId: string };

/**
 * Protects the VM, or gives a protected one another policy or choice of disks; resumes a stopped one.
 *
 * @throws {HoldfastError} `ResourceNotFound` for vault or VM; `BMSUserErrorPolicyNotFound`, also where none is named
 *   and the item has none, or its last one is deleted; `UserErrorItemAlreadyProtected` if another vault protects it;
 *   `UserErrorItemSoftDeleted`; `DiskUnsupported` for a chosen disk that cannot be backed up;
 *   `UserErrorInvalidDiskSelection`; `UserErrorQuotaExceeded` where the settings have one (R1, R6); as `changeItem` in
 *   an immutable vault. So do the others.
 */
export async function protect(
  parts: ServiceParts,
  name: ItemName,
  wanted: Protection,
): Promise<Accepted> {
  const reader = parts.catalogue.read;
  const vault = await getVault(reader, name.vault);
  // One VM at a time: two vaults may be asked to protect it at once.
  return await parts.turns(`vm ${nameKey(name.vm.group)}/${nameKey(name.vm.name)}`, async () => {
    const known = await findItem(reader, vault.id, name.vm);
    const of = { vault, name, wanted };
    return known === undefined
      ? await protectNew(parts, of)
      : await protectKnown(parts, { ...of, known });
  });
}

type ToProtect = {
  readonly vault: Vault;
  readonly name: ItemName;
  readonly wanted: Protection;
};

async function protectKnown(
  parts: ServiceParts,
  { known, vault, name, wanted }: ToProtect & { readonly known: Item },
): Promise<Accepted> {
  const reader = parts.catalogue.read;
  return await changeItem(parts, known, async (item) => {
    // Read here, in the turn of the vault: it cannot be deleted before the item has it.
    const isStopped = item.state === 'ProtectionStopped' || item.state === 'BackupsSuspended';
    requireAllowed(isStopped ? 'resume' : 'changePolicy', item);
    const policy = await policyOf(reader, { vault, item, wanted });
    const vm = isStopped ? await requireResumable(parts, vault, name) : undefined;
    await requireProtectionQuotas(parts, { vaultId: vault.id, vm, policy, item });
    if (typeof wanted.diskSelection === 'object') {
      requireDisks(await getVm(reader, name.vm), wanted.diskSelection);
    }
    const now = parts.clock.nowMs();
    const state = item.lastBackup?.pointAt === undefined ? 'IRPending' : 'Protected';
    return {
      item: {
        policyId: policy.id,
        lastPolicyId: null,
        ...(wanted.diskSelection === undefined
          ? {}
          : { diskSelection: selectionJson(wanted.diskSelection) }),
        nextRunAt: null,
        ...(isStopped ? { state, stateSince: now } : {}),
      },
      also: async (change) => await done(parts, change, { item, operation: 'ConfigureBackup' }),
    };
  });
}

/**
 * A VM that is gone keeps its item, but cannot be given backups again.
 *
 * @throws {HoldfastError} `ResourceNotFound`; `UserErrorItemAlreadyProtected` if another vault protects it.
 */
export async function requireResumable(
  parts: Pick<ServiceParts, 'catalogue'>,
  vault: Pick<Vault, 'id'>,
  name: ItemName,
): Promise<HostVm> {
  const vm = await getVm(parts.catalogue.read, name.vm);
  await requireUnprotected(parts, vault, name);
  return vm;
}

/** The one that is named, else the item's. */
async function policyOf(
  reader: CatalogueReader,
  of: Pick<ToProtect, 'vault' | 'wanted'> & { readonly item?: Item },
): Promise<VaultPolicy> {
  const { vault, item, wanted } = of;
  if (wanted.policy !== undefined) return await getPolicy(reader, { vault, name: wanted.policy });
  const policies = await listPolicies(reader, vault);
  const id = item?.policyId ?? item?.lastPolicyId;
  const found = policies.find((policy) => policy.id === id);
  if (found !== undefined) return found;
  const why =
    item === undefined
      ? 'No policy is named'
      : `The policy that '${item.vmGroup}/${item.vmName}' had ${id === undefined ? 'is not known' : 'is deleted'}`;
  throw new HoldfastError(
    'BMSUserErrorPolicyNotFound',
    `${why}: name one; '${vault.name}' has ${policies.map(({ name }) => name).join(', ')}.`,
  );
}

async function protectNew(
  parts: ServiceParts,
  { vault, name, wanted }: ToProtect,
): Promise<Accepted> {
  return await changeVault(parts, vault.id, async () => {
    const reader = parts.catalogue.read;
    const vm = await requireProtectable(parts, vault, name);
    const policy = await policyOf(reader, { vault, wanted });
    requireDisks(vm, wanted.diskSelection);
    await requireProtectionQuotas(parts, { vaultId: vault.id, vm, policy, item: undefined });
    const now = parts.clock.nowMs();
    const row: Row<'items'> = {
      id: randomUUID(),
      vaultId: vault.id,
      vmGroupKey: nameKey(vm.group),
      vmKey: nameKey(vm.name),
      vmGroup: vm.group,
      vmName: vm.name,
      repositoryItem: `${nameKey(vm.group)}/${nameKey(vm.name)}`,
      policyId: policy.id,
      lastPolicyId: null,
      state: 'IRPending' satisfies ItemState,
      stateSince: now,
      diskSelection: selectionJson(wanted.diskSelection),
      lastBackup: null,
      purgeAt: null,
      deletedAt: null,
      lastRunAt: null,
      nextRunAt: null,
      revision: 1,
      createdAt: now,
    };
    return {
      documents: [itemDocument(row, [])],
      apply: async (change) => {
        await change.insertInto('items').values(row).execute();
        const item = { id: row.id, vaultId: vault.id, vmName: vm.name };
        return await done(parts, change, { item, operation: 'ConfigureBackup' });
      },
    };
  });
}

/**
 * Whether a VM that the vault does not protect yet could be, with all its disks.
 *
 * @throws {HoldfastError} as `protect`, and `UserErrorItemAlreadyProtected` for one that the vault protects.
 */
export async function checkProtection(parts: ServiceParts, name: ItemName): Promise<void> {
  const vault = await getVault(parts.catalogue.read, name.vault);
  const vm = await requireProtectable(parts, vault, name);
  requireDisks(vm, 'all');
  const of = { vaultId: vault.id, vm, policy: undefined, item: undefined };
  await requireProtectionQuotas(parts, of);
}

async function requireProtectable(
  parts: ServiceParts,
  vault: Vault,
  name: ItemName,
): Promise<HostVm> {
  const reader = parts.catalogue.read;
  const vm = await getVm(reader, name.vm);
  const known = await findItem(reader, vault.id, name.vm);
  if (known !== undefined) requireAllowed('protect', known);
  await requireUnprotected(parts, vault, name);
  return vm;
}

/** R54: no more backups; every point stays for ever. */
export async function stopRetaining(parts: ServiceParts, name: ItemName): Promise<Accepted> {
  return await stop(parts, name, { action: 'stopRetain', state: 'ProtectionStopped' });
}

/** R54: no more backups; points go by the policy, the last one stays. */
export async function stopByPolicy(parts: ServiceParts, name: ItemName): Promise<Accepted> {
  return await stop(parts, name, { action: 'stopByPolicy', state: 'BackupsSuspended' });
}

async function stop(
  parts: ServiceParts,
  name: ItemName,
  to: {
    readonly action: 'stopRetain' | 'stopByPolicy';
    readonly state: 'ProtectionStopped' | 'BackupsSuspended';
  },
): Promise<Accepted> {
  return await changeItem(parts, await getItem(parts.catalogue.read, name), async (item) => {
    requireAllowed(to.action, item);
    const { state } = to;
    const kept = state === 'ProtectionStopped' ? withoutPolicy(item) : {};
    return {
      item: { state, stateSince: parts.clock.nowMs(), ...kept, nextRunAt: null },
      also: async (change) => await done(parts, change, { item, operation: 'DisableBackup' }),
    };
  });
}

/** R54: its rules cease; resuming finds the policy again. */
function withoutPolicy({ policyId, lastPolicyId }: Item) {
  return { policyId: null, lastPolicyId: policyId ?? lastPolicyId ?? null };
}

/**
 * Stops protection and deletes the data: with soft delete it stays restorable for the vault's days (R58, M33),
 * else a job deletes it at once.
 *
 * @throws {HoldfastError} `ResourceNotFound`, `BMSUserErrorProtectedItemNotFound`, `UserErrorItemSoftDeleted`.
 */
export async function deleteData(parts: ServiceParts, name: ItemName): Promise<Accepted> {
  const reader = parts.catalogue.read;
  return await changeItem(parts, await getItem(reader, name), async (item) => {
    requireAllowed('delete', item);
    const { settings } = await getVault(reader, name.vault);
    const now = parts.clock.nowMs();
    const isSoft = settings.softDelete !== 'Disabled';
    const purgeAt = isSoft ? now + settings.softDeleteDays * DAY_MS : now;
    return {
      item: {
        state: 'SoftDeleted',
        stateSince: now,
        ...withoutPolicy(item),
        nextRunAt: null,
        deletedAt: now,
        purgeAt,
      },
      also: async (change) =>
        isSoft
          ? await done(parts, change, { item, operation: 'DeleteBackupData' })
          : await begun(parts, change, item),
    };
  });
}

/**
 * R59: back to stopped, with all points.
 *
 * @throws {HoldfastError} `UserErrorSoftDeleteEnded` once its time is over, also where there was none; as `deleteData`.
 */
export async function undelete(parts: ServiceParts, name: ItemName): Promise<Accepted> {
  return await changeItem(parts, await getItem(parts.catalogue.read, name), async (item) => {
    requireAllowed('undelete', item);
    const now = parts.clock.nowMs();
    if (isOver(item, now)) {
      const wasSoft = item.purgeAt !== item.deletedAt;
      throw new HoldfastError(
        'UserErrorSoftDeleteEnded',
        `The data of '${item.vmGroup}/${item.vmName}' is being deleted: ${wasSoft ? 'its soft delete has ended' : 'it was deleted while soft delete was off'}.`,
      );
    }
    return {
      item: { state: 'ProtectionStopped', stateSince: now, deletedAt: null, purgeAt: null },
      also: async (change) => await done(parts, change, { item, operation: 'Undelete' }),
    };
  });
}

type Named = Pick<Item, 'id' | 'vaultId' | 'vmName'>;

async function done(
  parts: ServiceParts,
  change: CatalogueChange,
  { item, operation }: { readonly item: Named; readonly operation: JobOperation },
): Promise<Accepted> {
  await noteItemActivity(parts, change, { item: item.id, action: operation });
  return { jobId: await parts.jobs.addDone(change, jobOf(item, operation)) };
}

async function begun(parts: ServiceParts, change: CatalogueChange, item: Named): Promise<Accepted> {
  await noteItemActivity(parts, change, { item: item.id, action: 'DeleteBackupData' });
  const job = { ...jobOf(item, 'DeleteBackupData'), claims: [`item:${item.id}`] };
  return { jobId: await parts.jobs.add(change, job) };
}

function jobOf(item: Named, operation: JobOperation) {
  const { id: itemId, vaultId, vmName: entity } = item;
  const of = { vaultId, itemId, entity, operation };
  return { ...of, isUserTriggered: true, request: {} };
}

function selectionJson(selection: Protection['diskSelection']): string | null {
  return typeof selection === 'object' ? JSON.stringify(selection) : null;
}

/** One vault a VM; a soft-deleted item is in the way only in its own vault (R59). */
async function requireUnprotected(
  { catalogue }: Pick<ServiceParts, 'catalogue'>,
  vault: Pick<Vault, 'id'>,
  { vm }: ItemName,
): Promise<void> {
  const other = await catalogue.read
    .selectFrom('items')
    .innerJoin('vaults', 'vaults.id', 'items.vaultId')
    .innerJoin('resourceGroups', 'resourceGroups.key', 'vaults.groupKey')
    .select(['vaults.name', 'vaults.id', 'resourceGroups.name as group'])
    .where('items.vmGroupKey', '=', nameKey(vm.group))
    .where('items.vmKey', '=', nameKey(vm.name))
    .where('items.state', 'in', ['IRPending', 'Protected'])
    .executeTakeFirst();
  if (other === undefined || other.id === vault.id) return;
  throw new HoldfastError(
    'UserErrorItemAlreadyProtected',
    `'${vm.group}/${vm.name}' is protected by the vault '${other.name}' of '${other.group}': stop its protection there first.`,
  );
}

function requireDisks({ name, facts }: HostVm, wanted: Protection['diskSelection']): void {
  const selection = typeof wanted === 'object' ? wanted : undefined;
  const luns = facts.disks.flatMap(({ lun }) => (lun === undefined ? [] : [lun]));
  const stranger = selection?.luns.find((lun) => !luns.includes(lun));
  if (stranger !== undefined) {
    throw new HoldfastError(
      'UserErrorInvalidDiskSelection',
      `'${name}' has no disk at LUN ${stranger}; it has ${luns.join(', ') || 'only its system disk'}.`,
    );
  }
  for (const { name: disk, lun, refusal } of facts.disks) {
    if (refusal === undefined || !isSelected(selection, lun)) continue;
    const otherwise = lun === undefined ? '' : ', or exclude the disk';
    throw new HoldfastError(
      'DiskUnsupported',
      `The disk ${disk} of '${name}' cannot be backed up: ${refusal}. Mend that and refresh its host${otherwise}.`,
    );
  }
}
