/** The one way to change an item: by its table of states, with its document, in one change of its vault. */
import { noteItemActivity } from '../activities/activities.ts';
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import { compactSoon } from '../compaction/compact-vaults.ts';
import { withoutItem } from '../consistency-groups/group-rows.ts';
import { immutableVault } from '../immutability/immutable-vault.ts';
import { refusalOfItemChange } from '../immutability/refusals.ts';
import { lastPolicyOf, policyOfItem, softDeleteDays } from '../points/planned-points.ts';
import { retainedOf } from '../points/points.ts';
import { changeVault, type VaultChange } from '../repositories/change-vault.ts';
import { changedPoints } from '../retention/change.ts';
import { retentionToJson, type PointRetention } from '../retention/point-retention.ts';
import type { ServiceParts } from '../service-parts.ts';
import { itemDocument, itemGone } from './item-documents.ts';
import { itemById, itemOf, type Item } from './items.ts';
import { lastBackupWith } from './last-backup.ts';

export type ItemChange<Result> = {
  /** Columns that change. What another policy or state means for the points is remembered with it (R22–R24). */
  readonly item: Partial<Row<'items'>>;
  /** Points that come; those that are there already are left as they are. */
  readonly newPoints?: readonly Row<'points'>[];
  readonly deletedPoints?: readonly string[];
  /** Points of which something else is remembered, by id; those that are not there are passed over. */
  readonly retention?: ReadonlyMap<string, PointRetention>;
  /** In the same change: jobs, operations. */
  readonly also: (change: CatalogueChange) => Promise<Result>;
};

/** A point as its item's change sees it. */
export type KnownPoint = Pick<
  Row<'points'>,
  'id' | 'takenAt' | 'origin' | 'expiresAt' | 'retention'
>;

/**
 * @param plan is told the item as it is when its turn has come; checks, and says what changes.
 * @throws {HoldfastError} what `plan` throws, and the store's; in an immutable vault (R62) for a change by which a point
 *   could go earlier than is promised: `UserErrorOperationDeniedOnImmutableItem`,
 *   `UserErrorRetentionReductionOnImmutableVault`.
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
    const known = await knownPoints(parts, item.id);
    const there = known.filter(({ id }) => change.deletedPoints?.includes(id) !== true);
    const lastBackup = lastBackupWith(before.lastBackup, [...there, ...(change.newPoints ?? [])]);
    const columns = { lastBackup, ...change.item, revision: before.revision + 1 };
    const row = { ...before, ...columns };
    const asked = there.map((point) => remembering(point, change.retention?.get(point.id)));
    const kept = await rememberingChange(parts, { before, after: row, points: there, asked });
    const added = (change.newPoints ?? []).filter(({ id }) => !kept.some((one) => one.id === id));
    const rewritten = kept.filter((point) => !known.includes(point));
    return {
      documents: [itemDocument(row, [...kept, ...added])],
      apply: async (into) => {
        await into.updateTable('items').set(columns).where('id', '=', item.id).execute();
        for (const point of added) await into.insertInto('points').values(point).execute();
        for (const id of change.deletedPoints ?? []) {
          const query = into.deleteFrom('points').where('itemId', '=', item.id);
          await query.where('id', '=', id).execute();
        }
        await writeRetention(into, item.id, rewritten);
        return await change.also(into);
      },
    };
  });
}

type Removable = Pick<Item, 'id' | 'vaultId'>;

/** The item and its points are no more in catalogue and documents; what the repository holds is not touched. */
export async function removeItem(parts: ServiceParts, item: Removable): Promise<void> {
  await changeVault(parts, item.vaultId, async () => await removalOf(parts, item));
}

/** As a change of its vault. */
export async function removalOf(
  parts: ServiceParts,
  { id, vaultId }: Removable,
): Promise<VaultChange<void>> {
  const group = await withoutItem(parts.catalogue.read, { id, vaultId });
  return {
    documents: [...group.documents, itemGone(id)],
    apply: async (change) => {
      await noteItemActivity(parts, change, { item: id, action: 'remove item' });
      await group.apply(change);
      await change.deleteFrom('points').where('itemId', '=', id).execute();
      await change.deleteFrom('items').where('id', '=', id).execute();
      await compactSoon(change, vaultId);
    },
  };
}

/** Points as they are remembered with what `retention` says; undefined: as they were. */
function remembering(point: KnownPoint, retention: PointRetention | undefined): KnownPoint {
  if (retention === undefined) return point;
  return { ...point, retention: retentionToJson(retention) };
}

export async function writeRetention(
  into: CatalogueChange,
  itemId: string,
  points: readonly Pick<Row<'points'>, 'id' | 'retention'>[],
): Promise<void> {
  for (const { id, retention } of points) {
    const query = into.updateTable('points').set({ retention }).where('itemId', '=', itemId);
    await query.where('id', '=', id).execute();
  }
}

/** @throws {HoldfastError} what the vault refuses, where it is immutable. */
async function rememberingChange(
  { catalogue, clock }: ServiceParts,
  of: {
    readonly before: Row<'items'>;
    readonly after: Row<'items'>;
    readonly points: readonly KnownPoint[];
    /** The same, with what the change says of them. */
    readonly asked: readonly KnownPoint[];
  },
): Promise<readonly KnownPoint[]> {
  const { before, after, points, asked } = of;
  const isSamePolicy = before.policyId === after.policyId;
  const isSame = isSamePolicy && before.state === after.state;
  if (isSame && points.every((point, at) => point === asked[at])) return asked;
  const { read } = catalogue;
  const change = {
    before: { state: itemOf(before).state, policy: await policyOfItem(read, before) },
    after: { state: itemOf(after).state, policy: await policyOfItem(read, after) },
    now: clock.nowMs(),
    softDeleteDays: await softDeleteDays(read, before.vaultId),
  };
  const retained = asked.map(retainedOf);
  const changed = isSame ? retained : changedPoints(retained, change);
  const vault = await immutableVault(read, before.vaultId);
  if (vault !== undefined) {
    const was = change.before.policy ?? (await lastPolicyOf(read, before));
    const refusal = refusalOfItemChange(vault, {
      item: before,
      change,
      before: points.map(retainedOf),
      after: changed,
      ...(isSamePolicy ? {} : { policies: { before: was, after: change.after.policy } }),
    });
    if (refusal !== undefined) throw refusal;
  }
  return asked.map((point, at) =>
    changed[at] === retained[at] ? point : remembering(point, changed[at]!.retention),
  );
}

async function rowOf({ catalogue }: ServiceParts, id: string): Promise<Row<'items'>> {
  const query = catalogue.read.selectFrom('items').selectAll();
  return await query.where('id', '=', id).executeTakeFirstOrThrow();
}

/** Oldest first. */
export async function knownPoints(
  { catalogue }: Pick<ServiceParts, 'catalogue'>,
  itemId: string,
): Promise<readonly KnownPoint[]> {
  const query = catalogue.read
    .selectFrom('points')
    .select(['id', 'takenAt', 'origin', 'expiresAt', 'retention']);
  return await query.where('itemId', '=', itemId).orderBy('takenAt').orderBy('id').execute();
}
