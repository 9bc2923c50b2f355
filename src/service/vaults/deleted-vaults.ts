/**
 * Soft-deleted vaults (R60, decision 0015): as they are listed and found. Their repositories remember all of them; the
 * catalogue holds that they are, and until when.
 */
import { HoldfastError } from '#base';
import type { CatalogueChange, CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import type { VaultDeletion } from './vault-document.ts';
import { deleteVaultRows } from './vault-rows.ts';

export type DeletedVault = {
  /** The vault's own, which it will have again. */
  readonly id: string;
  /** Its resource group when it was deleted; it may be gone. */
  readonly group: string;
  readonly name: string;
  readonly repository: string;
  readonly deletedAt: number;
  /** When it goes for good. */
  readonly purgeAt: number;
};

/** The newest first: there may be several of one name. */
export async function listDeletedVaults(reader: CatalogueReader): Promise<readonly DeletedVault[]> {
  const query = reader.selectFrom('deletedVaults').selectAll();
  return (await query.orderBy('deletedAt', 'desc').orderBy('id').execute()).map(deletedVaultOf);
}

/** @throws {HoldfastError} `ResourceNotFound`. */
export async function getDeletedVault(reader: CatalogueReader, id: string): Promise<DeletedVault> {
  const query = reader.selectFrom('deletedVaults').selectAll().where('id', '=', id.toLowerCase());
  const row = await query.executeTakeFirst();
  if (row !== undefined) return deletedVaultOf(row);
  throw new HoldfastError('ResourceNotFound', `There is no soft-deleted vault '${id}'.`, {
    details: { type: 'Microsoft.RecoveryServices/locations/deletedVaults', name: id },
  });
}

/** What the catalogue held of the vault makes room for that it is soft-deleted. */
export async function putDeletedVault(
  change: CatalogueChange,
  vault: Pick<DeletedVault, 'id' | 'group' | 'name' | 'repository'>,
  { at, purgeAt }: VaultDeletion,
): Promise<void> {
  const { id, group, name, repository } = vault;
  await deleteVaultRows(change, id);
  const row = { id, groupName: group, name, repository, deletedAt: at, purgeAt };
  await change.insertInto('deletedVaults').values(row).execute();
}

function deletedVaultOf({ groupName, ...row }: Row<'deletedVaults'>): DeletedVault {
  return { ...row, group: groupName };
}
