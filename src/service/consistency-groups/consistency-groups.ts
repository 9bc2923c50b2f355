/** Consistency groups: items of one vault that are backed up at one instant, by one job (decision 0013). */
import { randomUUID } from 'node:crypto';
import { HoldfastError, shellQuoted } from '#base';
import { noteActivity } from '../activities/activities.ts';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import { getHost } from '../hosts/hosts.ts';
import { findVm } from '../hosts/vms.ts';
import { requireAllowed } from '../items/item-states.ts';
import { findItemById, getItem, type Item, type VmName } from '../items/items.ts';
import { nameKey, parseName } from '../names.ts';
import { getPolicy } from '../policies/policies.ts';
import { changeVault } from '../repositories/change-vault.ts';
import type { ServiceParts } from '../service-parts.ts';
import { getVault, requireRevision, type Vault, type VaultName } from '../vaults/vaults.ts';
import { groupDocument, groupGone, membersOf, type GroupRow } from './group-records.ts';
import { groupRows } from './group-rows.ts';

export type GroupName = { readonly vault: VaultName; readonly name: string };

export type ConsistencyGroup = {
  readonly id: string;
  readonly vaultId: string;
  readonly name: string;
  readonly members: readonly Item[];
  /** Whose schedule runs it; undefined: it is backed up on demand only. */
  readonly policy: { readonly id: string; readonly name: string } | undefined;
  readonly lastRunAt: number | undefined;
  readonly nextRunAt: number | undefined;
  readonly revision: number;
};

export type WantedGroup = {
  /** Protected VMs of the vault, two or more. */
  readonly members: readonly VmName[];
  /** A policy of the vault. */
  readonly policy?: string | undefined;
  readonly revision?: number | undefined;
};

/** @throws {HoldfastError} `ResourceNotFound` for the vault and for the group. */
export async function getGroup(
  reader: CatalogueReader,
  name: GroupName,
): Promise<ConsistencyGroup> {
  const vault = await getVault(reader, name.vault);
  return await groupOf(reader, await rowNamed(reader, vault, name.name));
}

/** By name. */
export async function listGroups(
  reader: CatalogueReader,
  vault: VaultName,
): Promise<readonly ConsistencyGroup[]> {
  const { id } = await getVault(reader, vault);
  const rows = await groupRows(reader, id);
  return await Promise.all(rows.map(async (row) => await groupOf(reader, row)));
}

/**
 * Makes the group, or changes it.
 *
 * @throws {HoldfastError} `InvalidResourceName`, `PreconditionFailed`; `ResourceNotFound`,
 *   `BMSUserErrorProtectedItemNotFound`, `BMSUserErrorPolicyNotFound`; `UserErrorProtectionStopped` and what else keeps
 *   an item from backups; `ConsistencyGroupInvalid`.
 */
export async function putGroup(
  parts: ServiceParts,
  at: GroupName,
  wanted: WantedGroup,
): Promise<ConsistencyGroup> {
  const name = parseName(at.name, 'consistency group');
  const { read } = parts.catalogue;
  const vault = await getVault(read, at.vault);
  return await changeVault(parts, vault.id, async () => {
    const before = (await groupRows(read, vault.id)).find(({ key }) => key === nameKey(name));
    if (before !== undefined) requireRevision(before, wanted.revision);
    const members: Item[] = [];
    for (const vm of wanted.members) members.push(await getItem(read, { vault: at.vault, vm }));
    await requireFit(parts, { vault, group: before, members });
    const policy =
      wanted.policy === undefined
        ? undefined
        : await getPolicy(read, { vault: at.vault, name: wanted.policy });
    const row = rowFor({
      vault,
      name,
      before,
      members,
      policyId: policy?.id,
      now: parts.clock.nowMs(),
    });
    return {
      documents: [groupDocument(row)],
      apply: async (change) => {
        await change
          .insertInto('consistencyGroups')
          .values(row)
          .onConflict((known) => known.column('id').doUpdateSet(row))
          .execute();
        await noteActivity(parts, change, {
          action: 'put consistency group',
          target: name,
          detail: {
            vault: `${vault.group}/${vault.name}`,
            vms: members.map((one) => `${one.vmGroup}/${one.vmName}`),
          },
        });
        return await groupOf(change, row);
      },
    };
  });
}

function rowFor(of: {
  readonly vault: Vault;
  readonly name: string;
  readonly before: GroupRow | undefined;
  readonly members: readonly Item[];
  readonly policyId: string | undefined;
  readonly now: number;
}): GroupRow {
  const { vault, name, before, members, policyId, now } = of;
  return {
    id: before?.id ?? randomUUID(),
    vaultId: vault.id,
    key: nameKey(name),
    name: before?.name ?? name,
    members: JSON.stringify(members.map(({ id }) => id)),
    policyId: policyId ?? null,
    lastRunAt: before?.lastRunAt ?? null,
    nextRunAt: null, // The scheduler finds it anew.
    revision: (before?.revision ?? 0) + 1,
    createdAt: before?.createdAt ?? now,
    changedAt: now,
  };
}

/**
 * Its items and points stay; points that were taken together go on naming each other.
 *
 * @returns whether it was there.
 * @throws {HoldfastError} `ResourceNotFound` for the vault.
 */
export async function deleteGroup(parts: ServiceParts, at: GroupName): Promise<boolean> {
  const vault = await getVault(parts.catalogue.read, at.vault);
  return await changeVault(parts, vault.id, async () => {
    const rows = await groupRows(parts.catalogue.read, vault.id);
    const row = rows.find(({ key }) => key === nameKey(at.name));
    if (row === undefined) return { documents: [], apply: async () => false };
    return {
      documents: [groupGone(row.id)],
      apply: async (change) => {
        await change.deleteFrom('consistencyGroups').where('id', '=', row.id).execute();
        await noteActivity(parts, change, {
          action: 'delete consistency group',
          target: row.name,
          detail: { vault: `${vault.group}/${vault.name}` },
        });
        return true;
      },
    };
  });
}

export async function findGroupById(
  reader: CatalogueReader,
  id: string,
): Promise<ConsistencyGroup | undefined> {
  const query = reader.selectFrom('consistencyGroups').selectAll().where('id', '=', id);
  const row = await query.executeTakeFirst();
  return row === undefined ? undefined : await groupOf(reader, row);
}

/**
 * How many places the members take at each host.
 *
 * @throws {HoldfastError} `ConsistencyGroupInvalid` where a host has fewer.
 */
export async function placesOf(
  { catalogue, settings }: Pick<ServiceParts, 'catalogue' | 'settings'>,
  members: readonly Item[],
): Promise<ReadonlyMap<string, { readonly places: number; readonly limit: number }>> {
  const places = new Map<string, { readonly places: number; readonly limit: number }>();
  for (const item of members) {
    const vm = await findVm(catalogue.read, { group: item.vmGroup, name: item.vmName });
    if (vm === undefined) continue; // Its backup says that it is gone.
    const host = await getHost(catalogue.read, vm.hostKey);
    const limit = host.snapshotsAtOnce ?? settings.snapshotsPerHost;
    const known = places.get(vm.hostKey)?.places ?? 0;
    places.set(vm.hostKey, { places: known + 1, limit });
    if (known + 1 > limit) {
      throw invalid(
        `the host '${host.name}' takes ${limit} snapshots at once, and more of its VMs are in the group: raise its limit, or take VMs out`,
      );
    }
  }
  return places;
}

/**
 * @param group of one that is there, its name.
 * @throws {HoldfastError} `ConsistencyGroupInvalid`.
 */
export function requireSeveral(members: readonly unknown[], group?: string): void {
  if (members.length >= 2) return;
  const riddance = group === undefined ? '' : `; to be rid of it: ${deletionOf(group)}`;
  throw invalid(`it needs two VMs or more${riddance}`);
}

/** The command. */
export function deletionOf(group: string): string {
  return `holdfast group delete ${shellQuoted(group)}`;
}

/**
 * What is left for a backup: by hand several, as it was asked for; by schedule whoever is left.
 *
 * @throws {HoldfastError} `ConsistencyGroupInvalid`.
 */
export function requireSome(
  members: readonly unknown[],
  { isScheduled }: { readonly isScheduled: boolean },
): void {
  if (!isScheduled) requireSeveral(members);
  else if (members.length === 0) throw invalid('none of its VMs is backed up any more');
}

async function requireFit(
  parts: ServiceParts,
  of: {
    readonly vault: Vault;
    /** Undefined: it is new. */
    readonly group: GroupRow | undefined;
    readonly members: readonly Item[];
  },
): Promise<void> {
  const { vault, group, members } = of;
  requireSeveral(members, group?.name);
  const twice = members.find(
    (item, place) => members.findIndex(({ id }) => id === item.id) !== place,
  );
  if (twice !== undefined) throw invalid(`'${calledOf(twice)}' is in it twice`);
  for (const item of members) requireAllowed('backUp', item);
  for (const other of await groupRows(parts.catalogue.read, vault.id)) {
    if (other.id === group?.id) continue;
    const taken = members.find(({ id }) => membersOf(other).includes(id));
    if (taken === undefined) continue;
    // Of two VMs none can be taken out.
    const way =
      membersOf(other).length > 2
        ? 'take it out there first'
        : `delete that group first: ${deletionOf(other.name)}`;
    throw invalid(`'${calledOf(taken)}' is in the group '${other.name}': ${way}`);
  }
  await placesOf(parts, members);
}

function calledOf({ vmGroup, vmName }: Item): string {
  return `${vmGroup}/${vmName}`;
}

function invalid(why: string): HoldfastError {
  return new HoldfastError(
    'ConsistencyGroupInvalid',
    `The consistency group is not valid: ${why}.`,
  );
}

async function rowNamed(reader: CatalogueReader, vault: Vault, name: string): Promise<GroupRow> {
  const row = (await groupRows(reader, vault.id)).find(({ key }) => key === nameKey(name));
  if (row !== undefined) return row;
  throw new HoldfastError(
    'ResourceNotFound',
    `The vault '${vault.name}' has no consistency group '${name}'.`,
    { details: { type: 'Holdfast.Backup/vaults/consistencyGroups', name } },
  );
}

async function groupOf(reader: CatalogueReader, row: GroupRow): Promise<ConsistencyGroup> {
  const members: Item[] = [];
  for (const id of membersOf(row)) {
    const item = await findItemById(reader, id);
    if (item !== undefined) members.push(item);
  }
  const policy =
    row.policyId === null
      ? undefined
      : await reader
          .selectFrom('policies')
          .select(['id', 'name'])
          .where('id', '=', row.policyId)
          .executeTakeFirst();
  return {
    id: row.id,
    vaultId: row.vaultId,
    name: row.name,
    members,
    policy,
    lastRunAt: row.lastRunAt ?? undefined,
    nextRunAt: row.nextRunAt ?? undefined,
    revision: row.revision,
  };
}
