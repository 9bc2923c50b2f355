/** From a location a user wrote to a store that was found to keep the contract. */
import { open, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HoldfastError, makeFolders, shellQuoted } from '#base';
import { errnoOf, fileError } from './file-errors.ts';
import { LocalFolder } from './local-folder.ts';
import type { ObjectStore } from './object-store.ts';
import { ReadOnlyStore } from './read-only-store.ts';
import { probeFolder, probeStore } from './store-probe.ts';

type OpenStoreOptions = {
  /** Make the folder (and its parents) if it is not there, and try the whole contract on it. */
  readonly create?: boolean;
  /** The store refuses every change, nothing is written, and nothing is probed. */
  readonly readOnly?: boolean;
};

/**
 * Opens the store at `location`: the path or `file://` URL of a folder. The caller closes it.
 *
 * @throws {HoldfastError} `RepositoryNotFound` if there is no such folder; `StoreUnsupported` if
 *   there is no store of that kind yet, or its file system cannot keep the contract;
 *   `StoreReadOnly` or `StoreFull` if it is to be written and cannot be.
 */
export async function openStore(
  location: string,
  options: OpenStoreOptions = {},
): Promise<ObjectStore> {
  const path = folderPathOf(location);
  if (options.create === true) await makeFolder(path);
  await checkFolder(path);
  const store = await LocalFolder.open(path);
  if (options.readOnly === true) return new ReadOnlyStore(store);
  try {
    await (options.create === true ? probeStore(store) : probeFolder(path));
  } catch (error) {
    await store.close();
    throw error;
  }
  return store;
}

function folderPathOf(location: string): string {
  if (location === '') throw new HoldfastError('ArgumentInvalid', 'the location is empty');
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(location)?.[1]?.toLowerCase();
  if (scheme === undefined) return resolve(location);
  if (scheme !== 'file') {
    const later = scheme === 's3' || scheme === 'azblob' ? 'comes later' : 'is unknown';
    throw new HoldfastError(
      'StoreUnsupported',
      `storage at ${scheme}:// ${later}; use a folder: ${location}`,
    );
  }
  try {
    return fileURLToPath(location);
  } catch (error) {
    throw new HoldfastError('ArgumentInvalid', `not the URL of a folder: ${location}`, {
      cause: error,
    });
  }
}

async function checkFolder(path: string): Promise<void> {
  try {
    if ((await stat(path)).isDirectory()) return;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== 'ENOENT' && errno !== 'ENOTDIR') {
      throw fileError(error, { doing: 'opening the store', path, access: 'read' });
    }
    throw new HoldfastError(
      'RepositoryNotFound',
      `no folder ${path}: is its disk mounted? To make a new repository there: holdfast repo init ${shellQuoted(path)}`,
      { cause: error, details: { path } },
    );
  }
  throw new HoldfastError('StoreUnsupported', `${path} is not a folder; use a folder`);
}

/** Makes the folder and, upwards from it, every folder that was missing, all durable on return. */
async function makeFolder(path: string): Promise<void> {
  try {
    const first = await makeFolders(path, { mode: 0o700 });
    if (first === undefined) return;
    for (let made = path; made !== dirname(first); made = dirname(made)) {
      await syncFolder(dirname(made));
    }
  } catch (error) {
    if (errnoOf(error) === 'EEXIST' || errnoOf(error) === 'ENOTDIR') {
      throw new HoldfastError('StoreUnsupported', `${path} is not a folder; use a folder`, {
        cause: error,
      });
    }
    throw fileError(error, { doing: 'making the folder', path, access: 'write' });
  }
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
