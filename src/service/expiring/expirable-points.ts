/** Which points of a vault may go now, by the plan of each item (decision 0011). */
import { z } from 'zod';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import { itemOf, type Item } from '../items/items.ts';
import { policyOfItem, retainedPoints } from '../points/planned-points.ts';
import { planRetention, type PlannedPoint } from '../retention/plan.ts';

export type ItemPlan = { readonly item: Item; readonly points: readonly PlannedPoint[] };

/** Of every item, or of those with these ids. Oldest points first. @param now ms. */
export async function planItems(
  reader: CatalogueReader,
  vaultId: string,
  of: { readonly now: number; readonly itemId?: string | undefined },
): Promise<readonly ItemPlan[]> {
  let query = reader.selectFrom('items').selectAll().where('vaultId', '=', vaultId);
  if (of.itemId !== undefined) query = query.where('id', '=', of.itemId);
  const plans: ItemPlan[] = [];
  for (const item of (await query.orderBy('vmKey').orderBy('vmGroupKey').execute()).map(itemOf)) {
    const points = await retainedPoints(reader, item.id);
    const policy = await policyOfItem(reader, item);
    plans.push({ item, points: planRetention({ state: item.state, policy }, points, of.now) });
  }
  return plans;
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
  return (await planItems(reader, vaultId, of)).flatMap(({ item, points }) =>
    points
      .filter(({ id, fate }) => fate === 'removed' && !used.has(id))
      .filter(({ keptBy }) => of.isByHand !== true || keptBy === 'deletedByHand')
      .map(({ id }) => ({ item: item.id, point: id })),
  );
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
