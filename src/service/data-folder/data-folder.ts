/**
 * The folder that holds everything of one service; locked by the kernel while the service lives.
 *
 * ```
 *   lock             held by the service                 master.key   600, wraps every vault's key
 *   catalogue.db     the catalogue                        token.key    600, signs tokens
 *   ca.pem, tls/     the certificate authority, 600       admin.json   600, the first account
 *   vaults/<id>/     repositories                         scratch/     of snapshots
 *   exports/<job>/   sockets of exported disks            state.json   where the running service listens
 * ```
 */
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, makeFolders } from '#base';
import { tryLock } from '#backup';

export type DataFolder = {
  readonly path: string;
  readonly catalogue: string;
  readonly masterKey: string;
  readonly tokenKey: string;
  readonly tls: string;
  readonly authority: string;
  readonly admin: string;
  readonly vaults: string;
  readonly scratch: string;
  readonly exports: string;
  readonly state: string;
};

export type LockedDataFolder = DataFolder & { readonly release: () => void };

function dataFolder(path: string): DataFolder {
  return {
    path,
    catalogue: join(path, 'catalogue.db'),
    masterKey: join(path, 'master.key'),
    tokenKey: join(path, 'token.key'),
    tls: join(path, 'tls'),
    authority: join(path, 'ca.pem'),
    admin: join(path, 'admin.json'),
    vaults: join(path, 'vaults'),
    scratch: join(path, 'scratch'),
    exports: join(path, 'exports'),
    state: join(path, 'state.json'),
  };
}

/**
 * Makes the folder where it is not there, for its owner alone, and locks it.
 *
 * @throws {HoldfastError} `DataFolderHeld` if another service runs on it; `StoreReadOnly`, `StoreUnsupported`.
 */
export async function lockDataFolder(
  path: string,
  holder: Parameters<typeof tryLock>[1],
): Promise<LockedDataFolder> {
  const folder = dataFolder(path);
  try {
    await makeFolders(path, { mode: 0o700 });
  } catch (error) {
    throw new HoldfastError(
      'StoreReadOnly',
      `${path} cannot be made, and so not be the data folder: ${(error as Error).message}`,
      { cause: error, details: { path } },
    );
  }
  const lock = tryLock(join(path, 'lock'), holder);
  if (lock === undefined) {
    throw new HoldfastError(
      'DataFolderHeld',
      `another service runs on ${path}: stop it, or give --data another folder`,
      { details: { path } },
    );
  }
  try {
    for (const inner of [folder.tls, folder.vaults, folder.scratch, folder.exports]) {
      await mkdir(inner, { recursive: true, mode: 0o700 });
    }
    await chmod(folder.tls, 0o700);
  } catch (error) {
    lock.release();
    throw error;
  }
  return { ...folder, release: () => lock.release() };
}
