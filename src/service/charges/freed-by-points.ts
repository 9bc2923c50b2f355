/** What each point of an item owns now, what its end would free, and what that would save. Asks the repository. */
import { planExpiry } from '#backup';
import { getItem, type ItemName } from '../items/items.ts';
import type { ServiceParts } from '../service-parts.ts';
import { priceIn, readPrices } from './charge-rows.ts';
import { storageCost } from './price-sheet.ts';
import { dayOf, daysIn, monthOf } from './utc-days.ts';

type FreedByPoint = {
  readonly id: string;
  readonly takenAt: number;
  /** At the newest reading; undefined: it came later. */
  readonly ownedBytes: number | undefined;
  /** By how much what is stored shrinks if this point alone expires, to the byte. */
  readonly freedIfExpired: number;
  /** Of a whole month at this month's prices, in millionths; undefined without prices. */
  readonly savedByMonth: number | undefined;
};

export type FreedByPoints = {
  readonly currency: string | undefined;
  /** Oldest first. */
  readonly points: readonly FreedByPoint[];
};

/**
 * @throws {HoldfastError} `ResourceNotFound`, `BMSUserErrorProtectedItemNotFound`; what opening the repository throws;
 *   `PointNotFound` for one that goes meanwhile.
 */
export async function freedByPoints(
  { catalogue, repositories, clock }: Pick<ServiceParts, 'catalogue' | 'repositories' | 'clock'>,
  name: ItemName,
): Promise<FreedByPoints> {
  const { read } = catalogue;
  const item = await getItem(read, name);
  const month = monthOf(dayOf(clock.nowMs()));
  const sheet = priceIn(await readPrices(read, item.vaultId), month);
  const points = await read
    .selectFrom('points')
    .leftJoin('chargedPoints', (join) =>
      join.onRef('chargedPoints.itemId', '=', 'points.itemId').onRef('pointId', '=', 'points.id'),
    )
    .select(['points.id', 'points.takenAt', 'ownedBytes'])
    .where('points.itemId', '=', item.id)
    .orderBy('points.takenAt')
    .orderBy('points.id')
    .execute();
  const days = daysIn(month);
  const freed = await repositories.use(item.vaultId, async ({ parts }) => {
    const bytes = new Map<string, number>();
    for (const { id } of points) bytes.set(id, (await planExpiry(parts, [id])).freedBytes);
    return bytes;
  });
  return {
    currency: sheet?.currency,
    points: points.map(({ id, takenAt, ownedBytes }) => {
      const freedIfExpired = freed.get(id)!;
      const savedByMonth = sheet && storageCost(sheet, freedIfExpired * days, days);
      return { id, takenAt, ownedBytes: ownedBytes ?? undefined, freedIfExpired, savedByMonth };
    }),
  };
}
