/** A vault's end: only without items, and its repository's folder only where nothing else is in it. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '#base';
import { noteActivity } from '../activities/activities.ts';
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import { nameKey } from '../names.ts';
import { policyGone } from '../policies/policy-records.ts';
import { changeVault } from '../repositories/change-vault.ts';
import type { ServiceParts } from '../service-parts.ts';
import { VAULT_DOCUMENT } from './vault-document.ts';
import { getVault, type VaultName } from './vaults.ts';

/**
 * Deletes the vault with its policies. A repository in the data folder goes with it unless it has points (of
 * `holdfast repo`); one that the owner placed elsewhere stays, without the vault's documents.
 *
 * @throws {HoldfastError} `ResourceNotFound`; `ServiceResourceNotEmptyWithBackendMessage` while it has items,
 *   soft-deleted ones too.
 */
export async function deleteVault(parts: ServiceParts, name: VaultName): Promise<void> {
  const { catalogue, repositories, dataFolder } = parts;
  const vault = await getVault(catalogue.read, name);
  await changeVault(parts, vault.id, async () => {
    await requireEmpty(parts, vault);
    const policies = await catalogue.read
      .selectFrom('policies')
      .select('id')
      .where('vaultId', '=', vault.id)
      .execute();
    const gone = { id: VAULT_DOCUMENT, value: undefined };
    return {
      // The vault's own first: without it the next start deletes the rest.
      documents: [gone, ...policies.map(({ id }) => policyGone(id))],
      apply: async (change) => {
        await deleteVaultRows(change, vault.id);
        await noteActivity(parts, change, { action: 'delete vault', target: vault.name });
      },
    };
  });
  const folder = join(dataFolder.vaults, vault.id);
  const isOurs = vault.repository.startsWith(`${folder}/`);
  const points = isOurs
    ? await repositories.use(vault.id, async ({ state }) => state.points.size)
    : 0;
  await repositories.release(vault.id);
  if (points === 0) await rm(folder, { recursive: true, force: true });
}

/** All that the catalogue holds of the vault but its jobs. */
export async function deleteVaultRows(change: CatalogueChange, vaultId: string): Promise<void> {
  const items = change.selectFrom('items').select('id').where('vaultId', '=', vaultId);
  await change.deleteFrom('points').where('itemId', 'in', items).execute();
  for (const table of ['items', 'policies', 'documents'] as const) {
    await change.deleteFrom(table).where('vaultId', '=', vaultId).execute();
  }
  await change.deleteFrom('vaults').where('id', '=', vaultId).execute();
}

async function requireEmpty(
  { catalogue }: ServiceParts,
  { id, name }: { readonly id: string; readonly name: string },
): Promise<void> {
  const items = await catalogue.read
    .selectFrom('items')
    .select('vmName')
    .where('vaultId', '=', id)
    .orderBy('vmKey')
    .execute();
  if (items.length === 0) return;
  const names = items.map(({ vmName }) => vmName).join(', ');
  throw new HoldfastError(
    'ServiceResourceNotEmptyWithBackendMessage',
    `Vault '${nameKey(name)}' cannot be deleted as there are existing resources within the vault: the backup ` +
      `items ${names}. Stop their protection with delete data; soft-deleted ones go when their time is over.`,
  );
}
