/** An item's rows as its document and its points in the repository say. */
import type { VmPointDescription } from '#backup';
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import { pointFactsOf, pointFactsToJson } from '../points/point-facts.ts';
import { retentionFromJson } from '../retention/point-retention.ts';
import { itemFromDocument } from './item-documents.ts';

export type ItemToTakeOver = {
  readonly vaultId: string;
  readonly id: string;
  /** Its document. */
  readonly value: unknown;
  /** All visible points of the vault's repository. */
  readonly points: ReadonlyMap<string, VmPointDescription>;
};

/**
 * Points that the document does not name are left to their jobs and `agreePoints`, which know what was asked for.
 *
 * @returns whether the document names points that have gone: its rows are without them.
 */
export async function takeOverItem(
  change: CatalogueChange,
  of: ItemToTakeOver,
): Promise<{ readonly isStale: boolean }> {
  const { item, points: remembered } = itemFromDocument(of);
  const { lastRunAt: _l, nextRunAt: _n, revision: _r, ...columns } = item;
  // A lost catalogue knew which runs were done: those that have a point are not done again.
  const runs = remembered.flatMap(({ retention }) => retentionFromJson(retention).runAt ?? []);
  const lastRunAt = runs.length === 0 ? null : Math.max(...runs);
  await change
    .insertInto('items')
    .values({ ...item, lastRunAt })
    .onConflict((known) => known.column('id').doUpdateSet(columns))
    .execute();
  const there: string[] = [];
  for (const { id, origin, expiresAt, retention } of remembered) {
    const description = of.points.get(id);
    if (description?.item !== item.repositoryItem) continue;
    there.push(id);
    const { timeMs, consistency } = description;
    const facts = pointFactsToJson(pointFactsOf(description));
    const row: Row<'points'> = {
      id,
      itemId: item.id,
      takenAt: timeMs,
      consistency,
      origin,
      jobId: null,
      expiresAt,
      retention,
      facts,
    };
    await change
      .insertInto('points')
      .values(row)
      .onConflict((known) =>
        known.columns(['itemId', 'id']).doUpdateSet({ origin, expiresAt, retention, facts }),
      )
      .execute();
  }
  let gone = change.deleteFrom('points').where('itemId', '=', item.id);
  if (there.length > 0) gone = gone.where('id', 'not in', there);
  await gone.execute();
  return { isStale: there.length < remembered.length };
}
