/**
 * The folder that holds everything of one service; locked by the kernel while the service lives.
 *
 * ```
 *   lock             held by the service                 master.key   600, wraps every vault's key
 *   catalogue.db     the catalogue                        token.key    600, signs tokens
 *   ca.pem, tls/     the certificate authority, 600       admin.json   600, the first account
 *   vaults/<id>/     repositories                         scratch/     of snapshots
 *   exports/<job>/   sockets of exported disks            state.json   where the running service listens
 *   settings.json    the owner's, if he has any (settings-file.ts)
 * ```
 */
import { access, chmod, constants, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { asWhomToRun, HoldfastError, isHoldfastError, makeFolders, whyNoFolder } from '#base';
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
  readonly settings: string;
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
    settings: join(path, 'settings.json'),
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
    throw await notMade(path, error);
  }
  const lock = await lockOf(path, holder);
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

async function lockOf(path: string, holder: Parameters<typeof tryLock>[1]) {
  try {
    return tryLock(join(path, 'lock'), holder);
  } catch (error) {
    if (!isHoldfastError(error, 'StoreReadOnly')) throw error;
    throw new HoldfastError(
      'StoreReadOnly',
      `this user cannot write into the data folder ${path}: ${await remedyOf(path)}`,
      { cause: error, details: { path } },
    );
  }
}

async function remedyOf(path: string): Promise<string> {
  const { code } = await access(path, constants.W_OK).then(
    () => ({ code: undefined }),
    (error: NodeJS.ErrnoException) => error,
  );
  if (code === 'EROFS') return 'its file system is mounted read-only; give --data another folder';
  return await asWhomToRun(path);
}

async function notMade(path: string, error: unknown): Promise<HoldfastError> {
  const { code } = error as NodeJS.ErrnoException;
  return new HoldfastError(
    'StoreReadOnly',
    `${path} cannot be the data folder: ${await reasonOf(path, error)}`,
    { cause: error, details: { path, ...(code === undefined ? {} : { errno: code }) } },
  );
}

async function reasonOf(path: string, error: unknown): Promise<string> {
  const another = `${whyNoFolder(error)}; give --data another folder`;
  if (!['EACCES', 'EPERM'].includes(String((error as NodeJS.ErrnoException).code))) return another;
  const above = await nearest(dirname(path));
  return `this user cannot make it in ${above}: ${await asWhomToRun(above)}`;
}

/** The first that is there, from the folder upwards. */
async function nearest(folder: string): Promise<string> {
  const isThere = await access(folder).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );
  return isThere || dirname(folder) === folder ? folder : await nearest(dirname(folder));
}
