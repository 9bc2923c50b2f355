/** The recovery points of items, as they are read. */
import { HoldfastError } from '#base';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import { pointFactsFromJson, type PointFacts, type PointOrigin } from './point-facts.ts';

export type Point = {
  /** Decimal digits. */
  readonly id: string;
  readonly itemId: string;
  readonly takenAt: number;
  readonly consistency: string;
  readonly origin: PointOrigin;
  /** Undefined: no date. */
  readonly expiresAt: number | undefined;
  readonly facts: PointFacts;
};

/** @throws {HoldfastError} `BMSUserErrorRecoveryPointNotFound`. */
export async function getPoint(
  reader: CatalogueReader,
  itemId: string,
  id: string,
): Promise<Point> {
  const query = reader.selectFrom('points').selectAll().where('itemId', '=', itemId);
  const row = await query.where('id', '=', id).executeTakeFirst();
  if (row !== undefined) return pointOf(row);
  throw new HoldfastError(
    'BMSUserErrorRecoveryPointNotFound',
    `The item has no recovery point '${id}': list its recovery points.`,
  );
}

/** Newest first; of those taken from `from` to `to`, both included, where given. */
export async function listPoints(
  reader: CatalogueReader,
  itemId: string,
  taken: { readonly from?: number; readonly to?: number } = {},
): Promise<readonly Point[]> {
  let query = reader.selectFrom('points').selectAll().where('itemId', '=', itemId);
  if (taken.from !== undefined) query = query.where('takenAt', '>=', taken.from);
  if (taken.to !== undefined) query = query.where('takenAt', '<=', taken.to);
  const rows = await query.orderBy('takenAt', 'desc').orderBy('id', 'desc').execute();
  return rows.map(pointOf);
}

function pointOf({ expiresAt, origin, facts, ...row }: Row<'points'>): Point {
  const { id, itemId, takenAt, consistency } = row;
  return {
    id,
    itemId,
    takenAt,
    consistency,
    origin: origin as PointOrigin,
    expiresAt: expiresAt ?? undefined,
    facts: pointFactsFromJson(facts),
  };
}
