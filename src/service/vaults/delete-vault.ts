/**
 * A vault's deletion (R60, decision 0015): with soft delete it stays a while, and can be undeleted; without, it ends.
 *
 * ```
 *   no VM with points that are not soft-deleted, no jobs ─► soft delete? ─ yes ─► soft-deleted ── its time ──┐
 *                                                                  └──── no ─────────────────────────────────┴─► gone
 * ```
 */
import { HoldfastError } from '#base';
import { noteActivity } from '../activities/activities.ts';
import type { Row } from '../catalogue/schema.ts';
import { changeVault, type VaultChange } from '../repositories/change-vault.ts';
import type { ServiceParts } from '../service-parts.ts';
import { putDeletedVault } from './deleted-vaults.ts';
import { requireReadable } from './forget-vault.ts';
import { endOfVault, removeVaultFolder } from './vault-end.ts';
import { vaultDocument, type VaultDeletion } from './vault-document.ts';
import { getVault, type Vault, type VaultName } from './vaults.ts';

const DAY_MS = 86_400_000;

/**
 * Deletes the vault with its policies and its soft-deleted items.
 *
 * @returns until when it is soft-deleted; undefined: it is gone (vault-end.ts).
 * @throws {HoldfastError} `ResourceNotFound`; `ServiceResourceNotEmptyWithBackendMessage` while it has items that are not
 *   soft-deleted; `VaultInUse` while it has jobs; `VaultUnavailable` where its repository cannot be read (forget-vault.ts).
 */
export async function deleteVault(
  parts: ServiceParts,
  name: VaultName,
): Promise<VaultDeletion | undefined> {
  const vault = await getVault(parts.catalogue.read, name);
  await requireReadable(parts, vault);
  const deletion = await changeVault(parts, vault.id, async () => {
    const items = await deletedItems(parts, vault);
    await requireIdle(parts, vault);
    const planned = deletionOf(vault, items, parts.clock.nowMs());
    if (planned !== undefined) return softDeletion(parts, vault, planned);
    const activity = { action: 'delete vault', target: `${vault.group}/${vault.name}` };
    return await endOfVault(parts, vault.id, activity);
  });
  if (deletion === undefined) await removeVaultFolder(parts, vault.id);
  return deletion;
}

/** Its soft-deleted items stay as long as they were promised to. */
function deletionOf(
  { settings }: Vault,
  items: readonly Pick<Row<'items'>, 'purgeAt'>[],
  nowMs: number,
): VaultDeletion | undefined {
  const days = settings.softDelete === 'Disabled' ? 0 : settings.softDeleteDays;
  const purgeAt = Math.max(nowMs + days * DAY_MS, ...items.map((item) => item.purgeAt ?? 0));
  return purgeAt > nowMs ? { at: nowMs, purgeAt } : undefined;
}

function softDeletion(
  parts: ServiceParts,
  vault: Vault,
  deletion: VaultDeletion,
): VaultChange<VaultDeletion> {
  return {
    documents: [vaultDocument(vault, deletion)],
    apply: async (change) => {
      await putDeletedVault(change, vault, deletion);
      await noteActivity(parts, change, {
        action: 'delete vault',
        target: `${vault.group}/${vault.name}`,
        detail: { id: vault.id, until: new Date(deletion.purgeAt).toISOString() },
      });
      return deletion;
    },
  };
}

const MOST_NAMED = 5;

type ItemLeft = Pick<Row<'items'>, 'vmGroup' | 'vmName' | 'state' | 'purgeAt'>;

/** @throws {HoldfastError} `ServiceResourceNotEmptyWithBackendMessage` where there are others. */
async function deletedItems(
  { catalogue }: ServiceParts,
  vault: Vault,
): Promise<readonly ItemLeft[]> {
  const items = await catalogue.read
    .selectFrom('items')
    .select(['vmGroup', 'vmName', 'state', 'purgeAt'])
    .where('vaultId', '=', vault.id)
    .orderBy('vmKey')
    .orderBy('vmGroupKey')
    .execute();
  const kept = items.filter(({ state }) => state !== 'SoftDeleted');
  if (kept.length === 0) return items;
  const named = kept.slice(0, MOST_NAMED).map(({ vmGroup, vmName }) => `${vmGroup}/${vmName}`);
  const more = kept.length - named.length;
  const which = more > 0 ? `${named.join(', ')} and ${more} more` : named.join(', ');
  throw new HoldfastError(
    'ServiceResourceNotEmptyWithBackendMessage',
    `Vault '${vault.name}' cannot be deleted as there are existing resources within the vault: ` +
      `${kept.length === 1 ? 'the backup item' : 'the backup items'} ${which}. ` +
      'Stop their protection and delete their data.',
  );
}

/** A job would find its item gone. */
async function requireIdle({ catalogue }: ServiceParts, vault: Vault): Promise<void> {
  const jobs = await catalogue.read
    .selectFrom('jobs')
    .select(['id', 'operation', 'entity'])
    .where('vaultId', '=', vault.id)
    .where('endedAt', 'is', null)
    .orderBy('place')
    .execute();
  if (jobs.length === 0) return;
  const named = jobs.map(({ id, operation, entity }) => `${operation} of ${entity} (${id})`);
  throw new HoldfastError(
    'VaultInUse',
    `The vault '${vault.name}' has jobs: ${named.slice(0, MOST_NAMED).join(', ')}${named.length > MOST_NAMED ? ', …' : ''}. ` +
      'Wait until they have ended, or cancel them, and delete it then.',
  );
}
