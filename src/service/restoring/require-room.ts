/** Whether a storage account's folder has room for what a restore will write: asked before it is accepted. */
import { statfs } from 'node:fs/promises';
import { HoldfastError } from '#base';
import { bytesToRestore } from '#backup';
import type { Item } from '../items/items.ts';
import type { Point } from '../points/points.ts';
import type { ServiceParts } from '../service-parts.ts';
import { getStorageAccount, type StorageAccount } from '../storage-accounts/storage-accounts.ts';
import type { RestoreRequest } from './restore-request.ts';

/**
 * The repository is read only where the folder would not hold the disks written full. What other jobs write
 * meanwhile is not foreseen.
 *
 * @throws {HoldfastError} `UserErrorStorageAccountFull` with both figures; `StorageAccountUnusable` where its folder
 *   is not there; `ResourceNotFound`; what reading the repository throws.
 */
export async function requireRoom(
  { catalogue, repositories }: ServiceParts,
  { item, point }: { readonly item: Item; readonly point: Point },
  { account: name, luns }: Pick<RestoreRequest, 'account' | 'luns'>,
): Promise<void> {
  const account = await getStorageAccount(catalogue.read, name);
  const freeBytes = await freeOf(account);
  const disks = point.facts.disks.filter(
    ({ lun }) => lun === undefined || luns === undefined || luns.includes(lun),
  );
  if (disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) <= freeBytes) return;
  const chosen = { point: point.id, names: disks.map((disk) => disk.name) };
  const neededBytes = await repositories.read(
    item.vaultId,
    async (repository) => await bytesToRestore(repository, chosen),
  );
  if (neededBytes <= freeBytes) return;
  throw new HoldfastError(
    'UserErrorStorageAccountFull',
    `The storage account '${account.name}' (${account.path}) has ${mib(freeBytes)} MiB free, and the disks of the ` +
      `recovery point need ${mib(neededBytes)} MiB: free space there, or restore to another account or fewer disks.`,
    { details: { path: account.path, freeBytes, neededBytes } },
  );
}

async function freeOf({ name, path }: StorageAccount): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new HoldfastError(
      'StorageAccountUnusable',
      `The folder ${path} of the storage account '${name}' cannot be used: is its disk mounted? (${why})`,
      { cause: error },
    );
  }
}

function mib(bytes: number): number {
  return Math.ceil(bytes / 1024 ** 2);
}
