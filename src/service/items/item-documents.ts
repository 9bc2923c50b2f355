/** An item and its points as a document of the repository: all that a new server needs of them beside the data. */
import { z } from 'zod';
import type { Row } from '../catalogue/schema.ts';
import { nameKey } from '../names.ts';
import { POINT_ORIGINS } from '../points/point-facts.ts';
import type { VaultDocument } from '../repositories/change-vault.ts';
import {
  POINT_RETENTION,
  retentionFromJson,
  retentionToJson,
} from '../retention/point-retention.ts';

const DOCUMENT = z.strictObject({
  version: z.literal(1),
  vmGroup: z.string(),
  vmName: z.string(),
  repositoryItem: z.string(),
  policyId: z.string().nullable(),
  /** Absent: none is known. */
  lastPolicyId: z.string().optional(),
  state: z.string(),
  stateSince: z.number(),
  diskSelection: z.string().nullable(),
  lastBackup: z.string().nullable(),
  purgeAt: z.number().nullable(),
  deletedAt: z.number().nullable(),
  createdAt: z.number(),
  /** What the points' manifests do not say. */
  points: z.array(
    z.strictObject({
      id: z.string(),
      origin: z.enum(POINT_ORIGINS),
      /** Of an on-demand one, the date that was asked for. */
      expiresAt: z.number().nullable(),
      /** Absent: nothing is remembered. */
      retention: POINT_RETENTION.optional(),
    }),
  ),
});

const PREFIX = 'item-';

export type RememberedPoint = Pick<Row<'points'>, 'id' | 'origin' | 'expiresAt' | 'retention'>;

/** @param points in any order: the document has them in the order of their ids. */
export function itemDocument(
  item: Row<'items'>,
  points: readonly RememberedPoint[],
): VaultDocument {
  const { id, vaultId: _, vmGroupKey: _g, vmKey: _v, lastRunAt: _l, nextRunAt: _n, ...rest } = item;
  const { revision: _r, lastPolicyId, ...always } = rest;
  const remembered = { ...always, ...(lastPolicyId === null ? {} : { lastPolicyId }) };
  const of = byId(points).map(pointToDocument);
  return { id: PREFIX + id, value: { version: 1, ...remembered, points: of } };
}

/** An item's document, of whichever version of this service, with its points in the order of `itemDocument`. */
export function inOneOrder(value: unknown): unknown {
  const { success, data } = DOCUMENT.safeParse(value);
  return success ? { ...(value as object), points: byId(data.points) } : value;
}

function byId<Point extends { readonly id: string }>(points: readonly Point[]): readonly Point[] {
  return points.toSorted((one, other) => (one.id < other.id ? -1 : 1));
}

function pointToDocument({ id, origin, expiresAt, retention }: RememberedPoint) {
  const told = { id, origin, expiresAt };
  return retention === null ? told : { ...told, retention: retentionFromJson(retention) };
}

export function itemGone(id: string): VaultDocument {
  return { id: PREFIX + id, value: undefined };
}

/** @returns undefined if the document is no item. */
export function itemIdOf(documentId: string): string | undefined {
  return documentId.startsWith(PREFIX) ? documentId.slice(PREFIX.length) : undefined;
}

export function itemFromDocument(of: {
  readonly vaultId: string;
  readonly id: string;
  readonly value: unknown;
}): { readonly item: Row<'items'>; readonly points: readonly RememberedPoint[] } {
  const { vaultId, id, value } = of;
  const { version: _, points, lastPolicyId = null, ...item } = DOCUMENT.parse(value);
  const keys = { vmGroupKey: nameKey(item.vmGroup), vmKey: nameKey(item.vmName) };
  const schedule = { lastRunAt: null, nextRunAt: null, revision: 1 };
  return {
    item: { id, vaultId, ...keys, ...item, lastPolicyId, ...schedule },
    points: points.map(pointFromDocument),
  };
}

function pointFromDocument({
  retention,
  ...point
}: z.infer<typeof DOCUMENT>['points'][number]): RememberedPoint {
  return { ...point, retention: retention === undefined ? null : retentionToJson(retention) };
}
