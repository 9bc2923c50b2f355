/**
 * The end of a vault whose repository is gone for good: its folder deleted, its disk dead. Such a vault could never be
 * deleted, as what it holds can neither be looked at nor taken out of its repository.
 *
 * ```
 *   repository cannot be read ─► nobody begins anything ─► open jobs are cancelled ─► folder marked ─► catalogue ─► answer
 * ```
 * Nothing of the repository, nor the sealed key to it, is deleted. Killed after the mark: the next start goes on. Without
 * the mark (vault-folder.ts), the next start takes the vault over as any other.
 */
import { join } from 'node:path';
import { HoldfastError, isHoldfastError } from '#base';
import { noteActivity } from '../activities/activities.ts';
import { bootRequestFromJson } from '../booting/boot-request.ts';
import type { CatalogueChange, CatalogueReader } from '../catalogue/catalogue.ts';
import { markForgotten } from '../repositories/vault-folder.ts';
import type { ServiceParts } from '../service-parts.ts';
import { deleteVaultRows } from './vault-rows.ts';
import { reasonOf, whyOutOfReach } from './vault-reach.ts';
import { getVault, type Vault, type VaultName } from './vaults.ts';

/** A job that works on a dead disk may hang as long as that does. */
const JOBS_END_MS = 30_000;
const LOOK_MS = 100;

/**
 * The vault is no more, with its policies, items, points and jobs in the catalogue; its repository and the folder with
 * its key stay as they are.
 *
 * @returns where these lie.
 * @throws {HoldfastError} `ResourceNotFound`; `RepositoryPresent` for one whose repository can be read; `VaultInUse`
 *   while VMs run from its points, or where its jobs do not end.
 */
export async function forgetVault(
  parts: ServiceParts,
  name: VaultName,
): Promise<{ readonly repository: string; readonly folder: string }> {
  const { catalogue, reach, dataFolder, repositories, turns } = parts;
  const vault = await getVault(catalogue.read, name);
  const why = await whyUnreadable(parts, vault.id);
  if (why === undefined) throw isPresent(vault);
  await requireNoneBooted(catalogue.read, vault);
  const wasLost = reach.all().has(vault.id);
  reach.lost(vault.id, why);
  try {
    await endJobs(parts, vault);
    const folder = join(dataFolder.vaults, vault.id);
    await repositories.release(vault.id);
    await turns(vault.id, async () => {
      await markForgotten(folder);
      await catalogue.change(async (change) => {
        await forgetRows(parts, change, vault.id);
        await noteActivity(parts, change, {
          action: 'forget vault',
          target: `${vault.group}/${vault.name}`,
        });
      });
    });
    reach.reached(vault.id);
    return { repository: vault.repository, folder };
  } catch (error) {
    if (!wasLost) reach.reached(vault.id);
    throw error;
  }
}

/** All that the catalogue holds of the vault; jobs that came at the last moment have ended, too. */
export async function forgetRows(
  { clock }: Pick<ServiceParts, 'clock'>,
  change: CatalogueChange,
  vaultId: string,
): Promise<void> {
  const ended = { status: 'Cancelled', endedAt: clock.nowMs(), leaseOwner: null, leaseUntil: null };
  const jobs = change.updateTable('jobs').set(ended).where('vaultId', '=', vaultId);
  await jobs.where('endedAt', 'is', null).execute();
  await deleteVaultRows(change, vaultId);
}

/**
 * @throws {HoldfastError} `VaultUnavailable` for a vault whose repository cannot be read; it says how to be rid of it.
 */
export async function requireReadable(parts: ServiceParts, vault: Vault): Promise<void> {
  const why = await whyUnreadable(parts, vault.id);
  if (why === undefined) return;
  throw new HoldfastError(
    'VaultUnavailable',
    `The vault '${vault.name}' cannot be deleted, as its repository cannot be opened: ${whyOutOfReach(reasonOf(why))}. Mend that; if it is gone ` +
      'for good, delete the vault with --forget-repository (holdfast vault delete; Holdfast.Backup: forget), which ' +
      'leaves the repository as it is.',
    { cause: why, details: { vault: vault.name } },
  );
}

/** Undefined: a reader can open it now, whether it could before or not. */
export async function whyUnreadable(
  { reach }: ServiceParts,
  vaultId: string,
): Promise<Error | undefined> {
  try {
    await reach.repositories.read(vaultId, async () => undefined);
    return undefined;
  } catch (error) {
    if (isHoldfastError(error, 'Cancelled')) throw error;
    return error instanceof Error ? error : new Error(String(error));
  }
}

function isPresent({ name, repository }: Vault): HoldfastError {
  return new HoldfastError(
    'RepositoryPresent',
    `The repository of the vault '${name}' can be read (${repository}): only a vault whose repository is gone is ` +
      'forgotten. Delete the data of its VMs, then the vault; holdfast doctor opens a repository that is there again.',
  );
}

/** Their jobs hold what the guests wrote: cancelling discards it (decision 0010), which nobody asked for. */
async function requireNoneBooted(reader: CatalogueReader, vault: Vault): Promise<void> {
  const rows = await reader
    .selectFrom('jobs')
    .select(['id', 'request'])
    .where('vaultId', '=', vault.id)
    .where('operation', '=', 'InstantBoot')
    .where('endedAt', 'is', null)
    .execute();
  if (rows.length === 0) return;
  const vms = rows.map(({ id, request }) => {
    const { hostKey, vmName } = bootRequestFromJson(request);
    return `${hostKey}/${vmName} (job ${id})`;
  });
  throw new HoldfastError(
    'VaultInUse',
    `VMs run from recovery points of the vault '${vault.name}': ${vms.join(', ')}. Cancel these jobs first: that ` +
      'discards what the guests wrote.',
  );
}

async function endJobs({ clock, jobs }: ServiceParts, vault: Vault): Promise<void> {
  const until = clock.monotonicMs() + JOBS_END_MS;
  for (;;) {
    const open = await jobs.cancelAll(vault.id);
    if (open.length === 0) return;
    if (clock.monotonicMs() > until) {
      throw new HoldfastError(
        'VaultInUse',
        `Jobs of the vault '${vault.name}' have not ended within ${JOBS_END_MS / 1000} s (${open.join(', ')}): a disk ` +
          'that does not answer may hold them. Unmount it or restart the service, and repeat this.',
      );
    }
    await clock.sleep(LOOK_MS);
  }
}
