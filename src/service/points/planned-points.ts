/** The points of items with what becomes of them: rows of the catalogue, looked at by the plan (decision 0011). */
import { HoldfastError } from '#base';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
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

export async function policyOfItem(
  reader: CatalogueReader,
  { policyId }: { readonly policyId?: string | null | undefined },
): Promise<BackupPolicy | undefined> {
  if (policyId === undefined || policyId === null) return undefined;
  const query = reader.selectFrom('policies').select('body').where('id', '=', policyId);
  return policyFromJson((await query.executeTakeFirstOrThrow()).body);
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
