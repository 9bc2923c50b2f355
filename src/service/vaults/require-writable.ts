/** Whether points can be made in a vault: one whose storage is mounted read-only is only read. */
import { access, constants } from 'node:fs/promises';
import { HoldfastError } from '#base';
import type { ServiceParts } from '../service-parts.ts';
import { requireReachable } from './vault-reach.ts';

/**
 * For what is asked by somebody: what the schedule starts fails, and says so. A disk that is full is looked at by the
 * job itself, as it may have room until then.
 *
 * @throws {HoldfastError} `VaultUnavailable`; `StoreReadOnly`.
 */
export async function requireWritable(
  parts: Pick<ServiceParts, 'catalogue' | 'reach'>,
  vaultId: string,
): Promise<void> {
  await requireReachable(parts, vaultId);
  const query = parts.catalogue.read.selectFrom('vaults').select(['name', 'repository']);
  const vault = await query.where('id', '=', vaultId).executeTakeFirst();
  if (vault === undefined || (await isWritable(vault.repository))) return;
  throw new HoldfastError(
    'StoreReadOnly',
    `Nothing can be written to the repository of the vault '${vault.name}' (${vault.repository}), as its file system is ` +
      'mounted read-only or its permissions do not allow it: its points can be restored; to back up, mend that.',
    { details: { path: vault.repository } },
  );
}

/** What is not there is another matter. */
async function isWritable(path: string): Promise<boolean> {
  try {
    await access(path, constants.W_OK);
    return true;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    return code !== 'EROFS' && code !== 'EACCES' && code !== 'EPERM';
  }
}
