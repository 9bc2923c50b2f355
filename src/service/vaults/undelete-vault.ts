/**
 * A soft-deleted vault comes back as it was (R60): its document says so, and the catalogue takes the rest over from its
 * repository, as that of a lost server. Its soft-deleted items are soft-deleted still.
 */
import { HoldfastError } from '#base';
import { noteActivity } from '../activities/activities.ts';
import { getResourceGroup } from '../groups/resource-groups.ts';
import { nameKey } from '../names.ts';
import { readDocuments } from '../repositories/repository-pool.ts';
import type { ServiceParts } from '../service-parts.ts';
import { getDeletedVault, type DeletedVault } from './deleted-vaults.ts';
import { whyUnreadable } from './forget-vault.ts';
import { takeOver } from './reach-again.ts';
import { inTurnOfVaults } from './vault-quota.ts';
import { VAULT_DOCUMENT, vaultDocument, vaultFromDocument } from './vault-document.ts';
import { reasonOf, requireReachable, whyOutOfReach } from './vault-reach.ts';
import { getVault, listVaults, type Vault } from './vaults.ts';

/**
 * @param wanted `id` of the soft-deleted vault; `group` it comes back into, absent: its own.
 * @throws {HoldfastError} `ResourceNotFound`; `ResourceGroupNotFound`; `ResourceExists` where the group has another vault
 *   of its name; `UserErrorQuotaExceeded` (R1); `VaultUnavailable` where its repository cannot be read.
 */
export async function undeleteVault(
  parts: ServiceParts,
  wanted: { readonly id: string; readonly group?: string | undefined },
): Promise<Vault> {
  const { catalogue, turns } = parts;
  const deleted = await getDeletedVault(catalogue.read, wanted.id);
  const { name: group } = await getResourceGroup(catalogue.read, wanted.group ?? deleted.group);
  const back = { group, name: deleted.name };
  return await inTurnOfVaults(parts, back, async () => {
    await requireNameFree(parts, back);
    await requireReadable(parts, deleted);
    await turns(deleted.id, async () => await rememberBack(parts, deleted, group));
    await takeOver(parts, [deleted.id]);
    await requireReachable(parts, deleted.id);
    await catalogue.change(async (change) => {
      const target = `${group}/${back.name}`;
      await noteActivity(parts, change, { action: 'undelete vault', target });
    });
    return await getVault(catalogue.read, back);
  });
}

async function requireNameFree(
  { catalogue }: ServiceParts,
  { group, name }: { readonly group: string; readonly name: string },
): Promise<void> {
  const known = await listVaults(catalogue.read, group);
  if (!known.some((vault) => nameKey(vault.name) === nameKey(name))) return;
  throw new HoldfastError(
    'ResourceExists',
    `The resource group '${group}' has another vault '${name}': undelete this one into another group.`,
  );
}

async function requireReadable(parts: ServiceParts, { id, name }: DeletedVault): Promise<void> {
  const why = await whyUnreadable(parts, id);
  if (why === undefined) return;
  throw new HoldfastError(
    'VaultUnavailable',
    `The vault '${name}' cannot be undeleted, as its repository cannot be opened: ${whyOutOfReach(reasonOf(why))}. Mend ` +
      'that, and undelete it then.',
    { cause: why, details: { vault: name } },
  );
}

/** From here on it is back, whatever happens: a start would find it so. */
async function rememberBack(
  { catalogue, repositories }: ServiceParts,
  { id }: DeletedVault,
  group: string,
): Promise<void> {
  // It may have gone meanwhile.
  await getDeletedVault(catalogue.read, id);
  const documents = await repositories.read(id, readDocuments);
  const { value } = documents.find((one) => one.id === VAULT_DOCUMENT)!;
  const { deleted: _, ...vault } = vaultFromDocument(value);
  const document = vaultDocument({ ...vault, group });
  await repositories.remember(id, document.id, document.value);
}
