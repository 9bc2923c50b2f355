/**
 * Soft-deleted vaults whose time is over go for good: the points of their items, what their repositories remember, their
 * folders. Broken off, the next look goes on. One whose repository cannot be read by then is forgotten (forget-vault.ts):
 * nothing of it is deleted.
 */
import { join } from 'node:path';
import { compactRepository, expirePoints } from '#backup';
import { noteActivity } from '../activities/activities.ts';
import { itemFromDocument, itemIdOf } from '../items/item-documents.ts';
import { changeVault } from '../repositories/change-vault.ts';
import { freeingSpace } from '../repositories/freeing-space.ts';
import type { OpenRepository } from '../repositories/repositories.ts';
import { readDocuments } from '../repositories/repository-pool.ts';
import { markForgotten } from '../repositories/vault-folder.ts';
import type { ServiceParts } from '../service-parts.ts';
import { getDeletedVault, listDeletedVaults, type DeletedVault } from './deleted-vaults.ts';
import { forgetRows, whyUnreadable } from './forget-vault.ts';
import { endOfVault, removeVaultFolder } from './vault-end.ts';

/** What goes wrong with one is told, and tried again at the next look. */
export async function purgeVaults(parts: ServiceParts, signal: AbortSignal): Promise<void> {
  const now = parts.clock.nowMs();
  const all = await listDeletedVaults(parts.catalogue.read);
  for (const vault of all.filter(({ purgeAt }) => purgeAt <= now)) {
    if (signal.aborted) return;
    try {
      await purge(parts, vault, signal);
    } catch (error) {
      if (signal.aborted) return;
      const facts = { vault: vault.name, error: String(error) };
      parts.log.error(facts, 'a soft-deleted vault could not be purged; it is tried again');
    }
  }
}

async function purge(parts: ServiceParts, vault: DeletedVault, signal: AbortSignal): Promise<void> {
  const { id, group, name } = vault;
  const activity = { action: 'purge vault', target: `${group}/${name}` };
  if ((await whyUnreadable(parts, id)) !== undefined) {
    await forget(parts, vault, activity);
    return;
  }
  await changeVault(parts, id, async () => {
    // It may have been undeleted meanwhile.
    await getDeletedVault(parts.catalogue.read, id);
    await freeingSpace(parts, id, async (repository) => await removePoints(repository, id, signal));
    return await endOfVault(parts, id, activity);
  });
  await removeVaultFolder(parts, id);
}

/** Points that no item has, of `holdfast repo`, stay. What remains is compacted, as nobody comes back to it. */
async function removePoints(
  repository: OpenRepository,
  vaultId: string,
  signal: AbortSignal,
): Promise<void> {
  const { parts, state } = repository;
  const items = (await readDocuments(repository)).flatMap(({ id: document, value }) => {
    const id = itemIdOf(document);
    if (id === undefined) return [];
    return [parts.keyring.itemId(itemFromDocument({ vaultId, id, value }).item.repositoryItem)];
  });
  const points = [...state.points.values()].filter(
    ({ visible, item }) => visible && items.includes(item),
  );
  await expirePoints(
    parts,
    points.map(({ point }) => point),
  );
  await compactRepository(parts, { signal });
}

async function forget(
  parts: ServiceParts,
  { id, repository }: DeletedVault,
  activity: Parameters<typeof endOfVault>[2],
): Promise<void> {
  await parts.turns(id, async () => {
    await markForgotten(join(parts.dataFolder.vaults, id));
    await parts.catalogue.change(async (change) => {
      await forgetRows(parts, change, id);
      await noteActivity(parts, change, { ...activity, detail: { outOfReach: repository } });
    });
  });
  parts.reach.reached(id);
}
