/** A vault's end, whether soft-deleted before or not: its folder goes only where no point is left in its repository. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { noteActivity, type Activity } from '../activities/activities.ts';
import type { VaultChange } from '../repositories/change-vault.ts';
import { readDocuments } from '../repositories/repository-pool.ts';
import type { ServiceParts } from '../service-parts.ts';
import { VAULT_DOCUMENT } from './vault-document.ts';
import { deleteVaultRows } from './vault-rows.ts';

/** For `changeVault`: nothing says any more that there is the vault. */
export async function endOfVault(
  parts: ServiceParts,
  vaultId: string,
  activity: Pick<Activity, 'action' | 'target'>,
): Promise<VaultChange<undefined>> {
  const known = await parts.repositories.read(vaultId, readDocuments);
  const others = known.map(({ id }) => id).filter((id) => id !== VAULT_DOCUMENT);
  return {
    // The vault's own first: without it the next start deletes the rest.
    documents: [VAULT_DOCUMENT, ...others].map((id) => ({ id, value: undefined })),
    apply: async (change) => {
      await deleteVaultRows(change, vaultId);
      await noteActivity(parts, change, activity);
      return undefined;
    },
  };
}

/**
 * A repository in the data folder goes with the folder, unless it has points (of `holdfast repo`): the key in the folder
 * opens them, wherever they lie. One that the owner placed elsewhere stays, without the vault's documents.
 */
export async function removeVaultFolder(parts: ServiceParts, vaultId: string): Promise<void> {
  const { repositories, dataFolder } = parts;
  const points = await repositories.use(vaultId, async ({ state }) => state.points.size);
  await repositories.release(vaultId);
  if (points === 0) await rm(join(dataFolder.vaults, vaultId), { recursive: true, force: true });
}
