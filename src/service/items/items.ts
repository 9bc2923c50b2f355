/** Protected items as they are read. How they change: item-states.ts, and the files named after each action. */
import { HoldfastError } from '#base';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import { nameKey } from '../names.ts';
import { getVault, type VaultName } from '../vaults/vaults.ts';
import { diskSelectionFromJson, type DiskSelection } from './disk-selection.ts';
import { isItemState, type ItemState } from './item-states.ts';
import { lastBackupFromJson, type LastBackup } from './last-backup.ts';

/** A VM, there or gone. */
export type VmName = { readonly group: string; readonly name: string };

export type ItemName = { readonly vault: VaultName; readonly vm: VmName };

export type Item = {
  readonly id: string;
  readonly vaultId: string;
  readonly vmGroup: string;
  readonly vmName: string;
  /** In the repository. */
  readonly repositoryItem: string;
  readonly policyId: string | undefined;
  /** The one that it had when its protection was stopped; it may be gone. */
  readonly lastPolicyId: string | undefined;
  readonly state: ItemState;
  /** Since when it is protected, stopped or deleted; its first backup changes nothing. */
  readonly stateSince: number;
  /** Undefined: all disks. */
  readonly diskSelection: DiskSelection | undefined;
  readonly lastBackup: LastBackup | undefined;
  /** Of a soft-deleted one. */
  readonly deletedAt: number | undefined;
  readonly purgeAt: number | undefined;
  readonly lastRunAt: number | undefined;
  readonly nextRunAt: number | undefined;
  readonly revision: number;
  readonly createdAt: number;
};

/** @throws {HoldfastError} `ResourceNotFound` for the vault; `BMSUserErrorProtectedItemNotFound`. */
export async function getItem(reader: CatalogueReader, name: ItemName): Promise<Item> {
  const { id } = await getVault(reader, name.vault);
  const found = await findItem(reader, id, name.vm);
  if (found !== undefined) return found;
  throw new HoldfastError(
    'BMSUserErrorProtectedItemNotFound',
    `The vault '${name.vault.name}' protects no VM '${name.vm.name}' of the resource group '${name.vm.group}'.`,
  );
}

export async function findItem(
  reader: CatalogueReader,
  vaultId: string,
  vm: VmName,
): Promise<Item | undefined> {
  const found = await reader
    .selectFrom('items')
    .selectAll()
    .where('vaultId', '=', vaultId)
    .where('vmGroupKey', '=', nameKey(vm.group))
    .where('vmKey', '=', nameKey(vm.name))
    .executeTakeFirst();
  return found === undefined ? undefined : itemOf(found);
}

/** Of one vault; by the VM's name. */
export async function listItems(
  reader: CatalogueReader,
  vault: VaultName,
): Promise<readonly Item[]> {
  const { id } = await getVault(reader, vault);
  const query = reader.selectFrom('items').selectAll().where('vaultId', '=', id);
  return (await query.orderBy('vmKey').orderBy('vmGroupKey').execute()).map(itemOf);
}

/** All items of one VM, each of another vault. */
export async function listItemsOfVm(reader: CatalogueReader, vm: VmName): Promise<readonly Item[]> {
  const query = reader.selectFrom('items').selectAll().where('vmGroupKey', '=', nameKey(vm.group));
  return (await query.where('vmKey', '=', nameKey(vm.name)).execute()).map(itemOf);
}

export async function findItemById(reader: CatalogueReader, id: string): Promise<Item | undefined> {
  const query = reader.selectFrom('items').selectAll().where('id', '=', id);
  const row = await query.executeTakeFirst();
  return row === undefined ? undefined : itemOf(row);
}

/** @throws {HoldfastError} `BMSUserErrorProtectedItemNotFound` if it was deleted meanwhile. */
export async function itemById(reader: CatalogueReader, id: string): Promise<Item> {
  const item = await findItemById(reader, id);
  if (item !== undefined) return item;
  throw new HoldfastError('BMSUserErrorProtectedItemNotFound', 'The item was deleted meanwhile.');
}

export function itemOf(row: Row<'items'>): Item {
  const { state, diskSelection, lastBackup, ...rest } = row;
  if (!isItemState(state)) throw new TypeError(`item ${row.id} is in an unknown state: ${state}`);
  return {
    ...rest,
    state,
    policyId: row.policyId ?? undefined,
    lastPolicyId: row.lastPolicyId ?? undefined,
    diskSelection: diskSelection === null ? undefined : diskSelectionFromJson(diskSelection),
    lastBackup: lastBackup === null ? undefined : lastBackupFromJson(lastBackup),
    deletedAt: row.deletedAt ?? undefined,
    purgeAt: row.purgeAt ?? undefined,
    lastRunAt: row.lastRunAt ?? undefined,
    nextRunAt: row.nextRunAt ?? undefined,
  };
}
