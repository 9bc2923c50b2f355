/** How many vaults there may be (R1), where the settings say so. */
import { nameKey } from '../names.ts';
import { checkQuota } from '../policy/quotas.ts';
import type { ServiceParts } from '../service-parts.ts';
import { listVaults, type VaultName } from './vaults.ts';

/**
 * Makes one more vault, one of a name at a time; where their number counts, one at a time. Soft-deleted ones do not count.
 *
 * @throws {HoldfastError} `UserErrorQuotaExceeded`; what `make` throws.
 */
export async function inTurnOfVaults<Result>(
  { catalogue, settings, turns }: Pick<ServiceParts, 'catalogue' | 'settings' | 'turns'>,
  { group, name }: VaultName,
  make: () => Promise<Result>,
): Promise<Result> {
  const ofItsName = async (): Promise<Result> =>
    await turns(`vault ${nameKey(group)}/${nameKey(name)}`, make);
  if (settings.quotas.vaultsPerSubscription === undefined) return await ofItsName();
  return await turns('number of vaults', async () => {
    const vaults = await listVaults(catalogue.read);
    const isThere = vaults.some(
      (vault) => nameKey(vault.group) === nameKey(group) && nameKey(vault.name) === nameKey(name),
    );
    // One that is there already is refused as such.
    if (!isThere) checkQuota(settings.quotas, 'vaultsPerSubscription', vaults.length);
    return await ofItsName();
  });
}
