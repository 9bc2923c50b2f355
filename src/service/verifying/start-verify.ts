/** How Verify jobs come to be. */
import { HoldfastError } from '#base';
import { noteActivity } from '../activities/activities.ts';
import type { Accepted } from '../items/protect.ts';
import type { ServiceParts } from '../service-parts.ts';
import { requireReachable } from '../vaults/vault-reach.ts';
import { getVault, type VaultName } from '../vaults/vaults.ts';
import type { VerifyRequest } from './verify-work.ts';

/**
 * Verifies the repository of the vault: all metadata, and that share of the data, least recently read first.
 *
 * @param readDataPercent above 0, to 100; undefined: metadata only.
 * @throws {HoldfastError} `ResourceNotFound`; `VaultUnavailable`; `ArgumentInvalid` for another share.
 */
export async function startVerify(
  parts: ServiceParts,
  name: VaultName,
  readDataPercent: number | undefined,
): Promise<Accepted> {
  const { catalogue, jobs } = parts;
  const vault = await getVault(catalogue.read, name);
  await requireReachable(parts, vault.id);
  if (readDataPercent !== undefined && !(readDataPercent > 0 && readDataPercent <= 100)) {
    throw new HoldfastError('ArgumentInvalid', 'readDataPercent must be above 0 and at most 100.');
  }
  const request: VerifyRequest = readDataPercent === undefined ? {} : { readDataPercent };
  const jobId = await catalogue.change(async (change) => {
    await noteActivity(parts, change, {
      action: 'Verify',
      target: `${vault.group}/${vault.name}`,
      detail: request,
    });
    return await jobs.add(change, {
      vaultId: vault.id,
      entity: vault.name,
      operation: 'Verify',
      isUserTriggered: true,
      request,
      claims: [`verify:${vault.id}`],
    });
  });
  return { jobId };
}
