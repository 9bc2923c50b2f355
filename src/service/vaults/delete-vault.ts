/** A vault's end: only without items, and its repository's folder only where nothing else is in it. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '#base';
import { noteActivity } from '../activities/activities.ts';
import type { Row } from '../catalogue/schema.ts';
import { chargeDocumentsGone } from '../charges/charge-rows.ts';
import { groupDocumentsGone } from '../consistency-groups/group-rows.ts';
import { policyGone } from '../policies/policy-records.ts';
import { changeVault } from '../repositories/change-vault.ts';
import type { ServiceParts } from '../service-parts.ts';
import { requireReadable } from './forget-vault.ts';
import { VAULT_DOCUMENT } from './vault-document.ts';
import { deleteVaultRows } from './vault-rows.ts';
import { getVault, type Vault, type VaultName } from './vaults.ts';

/**
 * Deletes the vault with its policies. A repository in the data folder goes with it unless it has points (of
 * `holdfast repo`); one that the owner placed elsewhere stays, without the vault's documents.
 *
 * @throws {HoldfastError} `ResourceNotFound`; `ServiceResourceNotEmptyWithBackendMessage` while it has items,
 *   soft-deleted ones too; `VaultUnavailable` where its repository cannot be read (forget-vault.ts).
 */
export async function deleteVault(parts: ServiceParts, name: VaultName): Promise<void> {
  const { catalogue, repositories, dataFolder } = parts;
  const vault = await getVault(catalogue.read, name);
  await requireReadable(parts, vault);
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
      documents: [
        gone,
        ...policies.map(({ id }) => policyGone(id)),
        ...(await chargeDocumentsGone(catalogue.read, vault.id)),
        ...(await groupDocumentsGone(catalogue.read, vault.id)),
      ],
      apply: async (change) => {
        await deleteVaultRows(change, vault.id);
        await noteActivity(parts, change, {
          action: 'delete vault',
          target: `${vault.group}/${vault.name}`,
        });
      },
    };
  });
  const folder = join(dataFolder.vaults, vault.id);
  // Points that no item has, of `holdfast repo`: the key in the folder opens them, wherever they lie.
  const points = await repositories.use(vault.id, async ({ state }) => state.points.size);
  await repositories.release(vault.id);
  if (points === 0) await rm(folder, { recursive: true, force: true });
}

const MOST_NAMED = 5;

async function requireEmpty({ catalogue }: ServiceParts, vault: Vault): Promise<void> {
  const items = await catalogue.read
    .selectFrom('items')
    .select(['vmGroup', 'vmName', 'state', 'purgeAt'])
    .where('vaultId', '=', vault.id)
    .orderBy('vmKey')
    .orderBy('vmGroupKey')
    .execute();
  if (items.length === 0) return;
  const named = items.slice(0, MOST_NAMED).map(stillThere);
  const more = items.length - named.length;
  const which = more > 0 ? `${named.join(', ')} and ${more} more` : named.join(', ');
  const deleted = items.filter(({ state }) => state === 'SoftDeleted');
  const advice = [
    ...(deleted.length < items.length ? ['Stop their protection and delete their data.'] : []),
    ...(deleted.length > 0 ? [softDeletedAdvice(vault)] : []),
  ];
  throw new HoldfastError(
    'ServiceResourceNotEmptyWithBackendMessage',
    `Vault '${vault.name}' cannot be deleted as there are existing resources within the vault: ` +
      `${items.length === 1 ? 'the backup item' : 'the backup items'} ${which}. ${advice.join(' ')}`,
  );
}

function stillThere(item: Pick<Row<'items'>, 'vmGroup' | 'vmName' | 'state' | 'purgeAt'>): string {
  const name = `${item.vmGroup}/${item.vmName}`;
  if (item.state !== 'SoftDeleted' || item.purgeAt === null) return name;
  return `${name} (soft-deleted until ${new Date(item.purgeAt).toISOString()})`;
}

/** Azure's own way to be rid of them sooner. */
function softDeletedAdvice({ settings }: Vault): string {
  const wait = 'What is soft-deleted goes by itself at its time';
  if (settings.softDelete === 'AlwaysON') return `${wait}: soft delete of this vault is always on.`;
  const turnOff = settings.softDelete === 'Enabled' ? 'turn soft delete of the vault off, ' : '';
  return `${wait}; to have it gone now, ${turnOff}undelete it and delete its data again.`;
}
