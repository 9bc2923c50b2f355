/** What the catalogue holds of a vault. */
import type { CatalogueChange, CatalogueReader } from '../catalogue/catalogue.ts';
import { deleteChargeRows } from '../charges/charge-rows.ts';
import { deleteGroupRows } from '../consistency-groups/group-rows.ts';

/** All of it but its jobs. */
export async function deleteVaultRows(change: CatalogueChange, vaultId: string): Promise<void> {
  const items = change.selectFrom('items').select('id').where('vaultId', '=', vaultId);
  await change.deleteFrom('points').where('itemId', 'in', items).execute();
  await deleteChargeRows(change, vaultId);
  await deleteGroupRows(change, vaultId);
  for (const table of ['items', 'policies', 'documents'] as const) {
    await change.deleteFrom(table).where('vaultId', '=', vaultId).execute();
  }
  for (const table of ['vaults', 'deletedVaults'] as const) {
    await change.deleteFrom(table).where('id', '=', vaultId).execute();
  }
}

/** Of its repository, hex; undefined: there is no such vault. */
export async function repositoryIdOf(
  reader: CatalogueReader,
  vaultId: string,
): Promise<string | undefined> {
  const query = reader.selectFrom('vaults').select('repositoryId').where('id', '=', vaultId);
  return (await query.executeTakeFirst())?.repositoryId;
}
