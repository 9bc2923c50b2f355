/** The one way to change an item: by its table of states, with its document, in one change of its vault. */
import { noteActivity } from '../activities/activities.ts';
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import { compactSoon } from '../compaction/compact-vaults.ts';
import { changeVault } from '../repositories/change-vault.ts';
import type { ServiceParts } from '../service-parts.ts';
import { itemDocument, itemGone } from './item-documents.ts';
import { itemById, type Item } from './items.ts';

export type ItemChange<Result> = {
  /** Columns that change. */
  readonly item: Partial<Row<'items'>>;
  /** Points that come; those that are there already are left as they are. */
  readonly newPoints?: readonly Row<'points'>[];
  readonly deletedPoints?: readonly string[];
  /** In the same change: jobs, operations. */
  readonly also: (change: CatalogueChange) => Promise<Result>;
};

/**
 * @param plan is told the item as it is when its turn has come; checks, and says what changes.
 * @throws {HoldfastError} what `plan` throws, and the store's.
 */
export async function changeItem<Result>(
  parts: ServiceParts,
  item: { readonly id: string; readonly vaultId: string },
  plan: (item: Item) => Promise<ItemChange<Result>>,
): Promise<Result> {
  const { catalogue } = parts;
  return await changeVault(parts, item.vaultId, async () => {
    const change = await plan(await itemById(catalogue.read, item.id));
    const before = await rowOf(parts, item.id);
    // Only what changes: the scheduler notes runs beside this, without a turn of the vault.
    const columns = { ...change.item, revision: before.revision + 1 };
    const row = { ...before, ...columns };
    const known = await pointsOf(parts, item.id);
    const kept = known.filter(({ id }) => change.deletedPoints?.includes(id) !== true);
    const added = (change.newPoints ?? []).filter(({ id }) => !kept.some((one) => one.id === id));
    return {
      documents: [itemDocument(row, [...kept, ...added])],
      apply: async (into) => {
        await into.updateTable('items').set(columns).where('id', '=', item.id).execute();
        for (const point of added) await into.insertInto('points').values(point).execute();
        for (const id of change.deletedPoints ?? []) {
          const query = into.deleteFrom('points').where('itemId', '=', item.id);
          await query.where('id', '=', id).execute();
        }
        return await change.also(into);
      },
    };
  });
}

/** The item and its points are no more in catalogue and documents; what the repository holds is not touched. */
export async function removeItem(
  parts: ServiceParts,
  { id, vaultId, vmName }: Pick<Item, 'id' | 'vaultId' | 'vmName'>,
): Promise<void> {
  await changeVault(parts, vaultId, async () => ({
    documents: [itemGone(id)],
    apply: async (change) => {
      await change.deleteFrom('points').where('itemId', '=', id).execute();
      await change.deleteFrom('items').where('id', '=', id).execute();
      await compactSoon(change, vaultId);
      await noteActivity(parts, change, { action: 'remove item', target: vmName });
    },
  }));
}

async function rowOf({ catalogue }: ServiceParts, id: string): Promise<Row<'items'>> {
  const query = catalogue.read.selectFrom('items').selectAll();
  return await query.where('id', '=', id).executeTakeFirstOrThrow();
}

async function pointsOf(
  { catalogue }: ServiceParts,
  itemId: string,
): Promise<readonly Pick<Row<'points'>, 'id' | 'origin' | 'expiresAt'>[]> {
  const query = catalogue.read.selectFrom('points').select(['id', 'origin', 'expiresAt']);
  return await query.where('itemId', '=', itemId).orderBy('takenAt').orderBy('id').execute();
}
