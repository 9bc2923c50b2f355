/** The points of items with what becomes of them: rows of the catalogue, looked at by the plan (decision 0011). */
import { HoldfastError } from '#base';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import type { Item } from '../items/items.ts';
import type { BackupPolicy } from '../policy/backup-policy.ts';
import { policyFromJson } from '../policy/policy-json.ts';
import { planRetention, type PlannedPoint, type RetainedPoint } from '../retention/plan.ts';
import type { ServiceParts } from '../service-parts.ts';
import { vaultSettingsFromJson } from '../vaults/vault-settings.ts';
import { listPoints, retainedOf, type Point } from './points.ts';

export type ShownPoint = { readonly point: Point; readonly plan: PlannedPoint };

/** Newest first. @param now ms. */
export async function shownPoints(
  reader: CatalogueReader,
  item: Pick<Item, 'id' | 'state' | 'policyId'>,
  now: number,
): Promise<readonly ShownPoint[]> {
  const points = await listPoints(reader, item.id);
  const policy = await policyOfItem(reader, item);
  const plans = planRetention({ state: item.state, policy }, points, now);
  return points.map((point, at) => ({ point, plan: plans[at]! }));
}

/** @throws {HoldfastError} `BMSUserErrorRecoveryPointNotFound`. */
export async function getShownPoint(
  { catalogue, clock }: Pick<ServiceParts, 'catalogue' | 'clock'>,
  item: Pick<Item, 'id' | 'state' | 'policyId'>,
  id: string,
): Promise<ShownPoint> {
  const all = await shownPoints(catalogue.read, item, clock.nowMs());
  const shown = all.find(({ point }) => point.id === id);
  if (shown !== undefined) return shown;
  throw new HoldfastError(
    'BMSUserErrorRecoveryPointNotFound',
    `The item has no recovery point '${id}': list its recovery points.`,
  );
}

/** Oldest first. */
export async function retainedPoints(
  reader: CatalogueReader,
  itemId: string,
): Promise<readonly RetainedPoint[]> {
  const rows = await reader
    .selectFrom('points')
    .select(['id', 'takenAt', 'origin', 'expiresAt', 'retention'])
    .where('itemId', '=', itemId)
    .orderBy('takenAt')
    .orderBy('id')
    .execute();
  return rows.map(retainedOf);
}

type PointRow = Pick<Row<'points'>, 'id' | 'takenAt' | 'origin' | 'expiresAt' | 'retention'>;

/** Items whose points are read at once: of a hundred points each some 4 MB of rows. */
const ITEMS_AT_ONCE = 50;

/** Each of the items with the rows of its points, oldest first. A few reads of the catalogue, in bounded memory. */
export async function* withPointRows<Of extends { readonly id: string }>(
  reader: CatalogueReader,
  items: readonly Of[],
): AsyncGenerator<{ readonly item: Of; readonly rows: readonly PointRow[] }> {
  for (let from = 0; from < items.length; from += ITEMS_AT_ONCE) {
    const some = items.slice(from, from + ITEMS_AT_ONCE);
    const ids = some.map(({ id }) => id);
    const found = await reader
      .selectFrom('points')
      .select(['itemId', 'id', 'takenAt', 'origin', 'expiresAt', 'retention'])
      .where('itemId', 'in', ids)
      .orderBy('itemId')
      .orderBy('takenAt')
      .orderBy('id')
      .execute();
    const byItem = Map.groupBy(found, ({ itemId }) => itemId);
    for (const item of some) yield { item, rows: byItem.get(item.id) ?? [] };
  }
}

/** Of every policy of the vault, by its id. */
export async function policiesOf(
  reader: CatalogueReader,
  vaultId: string,
): Promise<ReadonlyMap<string, BackupPolicy>> {
  const query = reader.selectFrom('policies').select(['id', 'body']);
  const rows = await query.where('vaultId', '=', vaultId).execute();
  return new Map(rows.map(({ id, body }) => [id, policyFromJson(body)]));
}

export async function policyOfItem(
  reader: CatalogueReader,
  { policyId }: { readonly policyId?: string | null | undefined },
): Promise<BackupPolicy | undefined> {
  if (policyId === undefined || policyId === null) return undefined;
  const query = reader.selectFrom('policies').select('body').where('id', '=', policyId);
  return policyFromJson((await query.executeTakeFirstOrThrow()).body);
}

/** Of an item that has none: the one that it had until it was stopped. Undefined: it had none, or that is deleted. */
export async function lastPolicyOf(
  reader: CatalogueReader,
  { lastPolicyId }: { readonly lastPolicyId?: string | null | undefined },
): Promise<BackupPolicy | undefined> {
  if (lastPolicyId === undefined || lastPolicyId === null) return undefined;
  const query = reader.selectFrom('policies').select('body').where('id', '=', lastPolicyId);
  const row = await query.executeTakeFirst();
  return row === undefined ? undefined : policyFromJson(row.body);
}

/** Undefined: soft delete is off. */
export async function softDeleteDays(
  reader: CatalogueReader,
  vaultId: string,
): Promise<number | undefined> {
  const query = reader.selectFrom('vaults').select('settings').where('id', '=', vaultId);
  const settings = vaultSettingsFromJson(
    JSON.parse((await query.executeTakeFirstOrThrow()).settings),
  );
  return settings.softDelete === 'Disabled' ? undefined : settings.softDeleteDays;
}
