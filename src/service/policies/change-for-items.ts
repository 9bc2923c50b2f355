/**
 * What a change of a policy means for the points of its items (R7, R22–R24): decided here once, shown by the preview
 * and remembered by the change itself.
 */
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import { writeRetention } from '../items/change-item.ts';
import { itemDocument } from '../items/item-documents.ts';
import { itemOf } from '../items/items.ts';
import type { Row } from '../catalogue/schema.ts';
import { softDeleteDays, withPointRows } from '../points/planned-points.ts';
import { retainedOf } from '../points/points.ts';
import type { BackupPolicy } from '../policy/backup-policy.ts';
import type { VaultChange, VaultDocument } from '../repositories/change-vault.ts';
import { changedPoints, type RetentionChange } from '../retention/change.ts';
import { datingBy } from '../retention/expiry-dates.ts';
import type { RetainedPoint } from '../retention/plan.ts';
import { retentionToJson } from '../retention/point-retention.ts';

export type PolicyChange = {
  readonly vaultId: string;
  readonly policyId: string;
  readonly before: BackupPolicy;
  readonly after: BackupPolicy;
  readonly now: number;
};

export type ChangedItem = {
  readonly row: Row<'items'>;
  readonly change: RetentionChange;
  /** Oldest first, as they are before and after. */
  readonly before: readonly RetainedPoint[];
  readonly after: readonly RetainedPoint[];
  readonly rows: readonly PointRow[];
};

type PointRow = Pick<Row<'points'>, 'id' | 'takenAt' | 'origin' | 'expiresAt' | 'retention'>;

/** Every item of the policy, by the VM's name. */
export async function itemsAfterChange(
  reader: CatalogueReader,
  { vaultId, policyId, before, after, now }: PolicyChange,
): Promise<readonly ChangedItem[]> {
  const days = await softDeleteDays(reader, vaultId);
  const items = await reader
    .selectFrom('items')
    .selectAll()
    .where('policyId', '=', policyId)
    .orderBy('vmKey')
    .orderBy('vmGroupKey')
    .execute();
  const dating = { before: datingBy(before), after: datingBy(after) };
  const changed: ChangedItem[] = [];
  for await (const { item: row, rows } of withPointRows(reader, items)) {
    const { state } = itemOf(row);
    const points = rows.map(retainedOf);
    const change = {
      before: { state, policy: before, dating: dating.before },
      after: { state, policy: after, dating: dating.after },
      now,
      softDeleteDays: days,
    };
    changed.push({ row, change, rows, before: points, after: changedPoints(points, change) });
  }
  return changed;
}

/** Items of which nothing else is to be remembered need no document: their dates follow the policy's. */
export function rememberingItems(items: readonly ChangedItem[]): VaultChange<void> {
  const documents: VaultDocument[] = [];
  const written: { readonly itemId: string; readonly points: readonly PointRow[] }[] = [];
  for (const { row, rows, before, after } of items) {
    const points = rows.map((point, at) =>
      after[at] === before[at]
        ? point
        : { ...point, retention: retentionToJson(after[at]!.retention) },
    );
    const rewritten = points.filter((point, at) => point !== rows[at]);
    if (rewritten.length === 0) continue;
    documents.push(itemDocument(row, points));
    written.push({ itemId: row.id, points: rewritten });
  }
  return {
    documents,
    apply: async (change) => {
      for (const { itemId, points } of written) await writeRetention(change, itemId, points);
    },
  };
}
