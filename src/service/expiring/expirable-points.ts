/** Which points of a vault may go now, by the plan of each item (decision 0011). */
import { z } from 'zod';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import { itemOf, type Item } from '../items/items.ts';
import { policiesOf, withPointRows } from '../points/planned-points.ts';
import { retainedOf } from '../points/points.ts';
import { datingBy } from '../retention/expiry-dates.ts';
import { planRetention, type PlannedPoint } from '../retention/plan.ts';

export type ItemPlan = { readonly item: Item; readonly points: readonly PlannedPoint[] };

/** Item by item, by the VM's name: of all, or of that one. Oldest points first. @param now ms. */
export async function* planItems(
  reader: CatalogueReader,
  vaultId: string,
  of: { readonly now: number; readonly itemId?: string | undefined },
): AsyncGenerator<ItemPlan> {
  let query = reader.selectFrom('items').selectAll().where('vaultId', '=', vaultId);
  if (of.itemId !== undefined) query = query.where('id', '=', of.itemId);
  const items = (await query.orderBy('vmKey').orderBy('vmGroupKey').execute()).map(itemOf);
  const policies = await policiesOf(reader, vaultId);
  const datings = new Map(Array.from(policies, ([id, policy]) => [id, datingBy(policy)]));
  for await (const { item, rows } of withPointRows(reader, items)) {
    const dating = datings.get(item.policyId ?? '') ?? datingBy(undefined);
    const retained = { state: item.state, policy: dating.policy, dating };
    yield { item, points: planRetention(retained, rows.map(retainedOf), of.now) };
  }
}

export type ExpirablePoint = { readonly item: string; readonly point: string };

/**
 * Those that the plan removes, item by item, oldest first; without the points that restores and boots which have not
 * ended are of: they go with the next look. @param of with `isByHand`: only deleted ones.
 */
export async function expirablePoints(
  reader: CatalogueReader,
  vaultId: string,
  of: {
    readonly now: number;
    readonly itemId?: string | undefined;
    readonly isByHand?: boolean | undefined;
  },
): Promise<readonly ExpirablePoint[]> {
  const used = await usedPoints(reader, vaultId);
  const expirable: ExpirablePoint[] = [];
  for await (const { item, points } of planItems(reader, vaultId, of)) {
    for (const { id, fate, keptBy } of points) {
      if (fate !== 'removed' || used.has(id)) continue;
      if (of.isByHand === true && keptBy !== 'deletedByHand') continue;
      expirable.push({ item: item.id, point: id });
    }
  }
  return expirable;
}

const OF_POINT = z.object({ point: z.string() });

async function usedPoints(reader: CatalogueReader, vaultId: string): Promise<ReadonlySet<string>> {
  const rows = await reader
    .selectFrom('jobs')
    .select('request')
    .where('vaultId', '=', vaultId)
    .where('endedAt', 'is', null)
    .execute();
  const points = rows.flatMap(({ request }) => {
    const asked = OF_POINT.safeParse(JSON.parse(request));
    return asked.success ? [asked.data.point] : [];
  });
  return new Set(points);
}
