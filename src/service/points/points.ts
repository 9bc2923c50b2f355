/** The recovery points of items, as they are read. */
import { HoldfastError } from '#base';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import type { RetainedPoint } from '../retention/plan.ts';
import { retentionFromJson } from '../retention/point-retention.ts';
import { pointFactsFromJson, type PointFacts, type PointOrigin } from './point-facts.ts';

/** When it expires is planned-points.ts's to say. */
export type Point = RetainedPoint & {
  readonly itemId: string;
  readonly consistency: string;
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

function pointOf({ facts, ...row }: Row<'points'>): Point {
  const { itemId, consistency } = row;
  return { ...retainedOf(row), itemId, consistency, facts: pointFactsFromJson(facts) };
}

/** What of a row decides how long its point is kept. */
export function retainedOf(
  row: Pick<Row<'points'>, 'id' | 'takenAt' | 'origin' | 'expiresAt' | 'retention'>,
): RetainedPoint {
  const { id, takenAt, origin, expiresAt } = row;
  return {
    id,
    takenAt,
    origin: origin as PointOrigin,
    askedUntil: origin === 'on-demand' ? (expiresAt ?? undefined) : undefined,
    retention: retentionFromJson(row.retention),
  };
}
