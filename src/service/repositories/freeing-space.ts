/** Lends a vault's repository to what frees space in it: also on a disk without a free byte. */
import type { ServiceParts } from '../service-parts.ts';
import { requireReachable } from '../vaults/vault-reach.ts';
import type { OpenRepository } from './repositories.ts';

/**
 * As `repositories.use`; where there is no room to open the repository, its reserve is given up for `work`.
 *
 * @throws {HoldfastError} `VaultUnavailable`; what `use` throws.
 */
export async function freeingSpace<Result>(
  parts: Pick<ServiceParts, 'catalogue' | 'reach'>,
  vaultId: string,
  work: (repository: OpenRepository) => Promise<Result>,
): Promise<Result> {
  await requireReachable(parts, vaultId);
  return await parts.reach.repositories.use(vaultId, work, { freesSpace: true });
}
