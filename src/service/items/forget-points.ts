/** Points that the repository has no more go from their items' documents and from the catalogue. */
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import type { VaultChange, VaultDocument } from '../repositories/change-vault.ts';
import type { ServiceParts } from '../service-parts.ts';
import { knownPoints } from './change-item.ts';
import { itemDocument } from './item-documents.ts';
import { lastBackupWith } from './last-backup.ts';

/** For a change of their vault. Points and items that are not there any more are passed over. */
export async function forgettingPoints(
  parts: Pick<ServiceParts, 'catalogue'>,
  points: readonly { readonly item: string; readonly point: string }[],
): Promise<VaultChange<void>> {
  const { read } = parts.catalogue;
  const byItem = Map.groupBy(points, ({ item }) => item);
  const documents: VaultDocument[] = [];
  const changed: Row<'items'>[] = [];
  for (const [id, gone] of byItem) {
    const query = read.selectFrom('items').selectAll().where('id', '=', id);
    const row = await query.executeTakeFirst();
    if (row === undefined) continue;
    const ids = new Set(gone.map(({ point }) => point));
    const kept = (await knownPoints(parts, id)).filter((point) => !ids.has(point.id));
    const lastBackup = lastBackupWith(row.lastBackup, kept);
    documents.push(itemDocument({ ...row, lastBackup }, kept));
    if (lastBackup !== row.lastBackup) changed.push({ ...row, lastBackup });
  }
  return {
    documents,
    apply: async (change) => {
      await forget(change, points);
      for (const { id, lastBackup, revision } of changed) {
        const row = { lastBackup, revision: revision + 1 };
        await change.updateTable('items').set(row).where('id', '=', id).execute();
      }
    },
  };
}

async function forget(
  change: CatalogueChange,
  points: readonly { readonly item: string; readonly point: string }[],
): Promise<void> {
  for (const { item, point } of points) {
    const query = change.deleteFrom('points').where('itemId', '=', item);
    await query.where('id', '=', point).execute();
  }
}
