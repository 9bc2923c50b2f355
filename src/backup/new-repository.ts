/** Makes repositories, and finishes what an interrupted making left. */
import { rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HoldfastError, isHoldfastError } from '#base';
import {
  completeInit,
  initRepository,
  keepReserve,
  placeInFolder,
  type NewSlotAccess,
} from '#repository';
import { openStore, type ObjectStore } from '#storage';
import { folderContent } from './folder-content.ts';
import type { Caller } from './open-repository.ts';

export type NewRepository = {
  readonly id: string;
  /** Absolute. */
  readonly location: string;
  readonly blockSize: number;
  readonly isEncrypted: boolean;
};

type CreateOptions = {
  readonly location: string;
  readonly blockSize: number;
  readonly access: NewSlotAccess;
  /** Of the first key slot. */
  readonly label: string;
  readonly caller: Caller;
};

/**
 * Makes a repository in a folder that is empty or not there yet. Where an earlier call was interrupted before
 * anything could be opened, it starts again; where only `repository.json` was missing, it writes that, and the
 * repository is the one of then. A folder that it made is removed again if it fails. Where there is room, the
 * repository has its reserve from the start.
 *
 * @throws {HoldfastError} `RepositoryExists` if there is one or the folder holds anything else;
 *   `StoreUnsupported`, `StoreReadOnly`, `StoreFull`; `PasswordMissing`.
 */
export async function createRepository(options: CreateOptions): Promise<NewRepository> {
  const { location, access } = options;
  const path = pathOf(location);
  const content = await folderContent(path);
  if (content.kind === 'other') throw taken(location, content.what);
  try {
    const store = await openStore(location, { create: true });
    try {
      const { id, blockSize } = await (content.kind === 'begun'
        ? finish(store, options)
        : initRepository({ ...options, store, ...options.caller }));
      await keepReserve(placeInFolder(store.location), options.caller.random);
      return { id, location: store.location, blockSize, isEncrypted: access.kdf !== 'none' };
    } finally {
      await store.close();
    }
  } catch (error) {
    if (content.kind === 'absent') await removeEmpty(path);
    throw fullHere(error, location);
  }
}

/** What is no path, `openStore` refuses. */
function pathOf(location: string): string {
  try {
    return location.startsWith('file://') ? fileURLToPath(location) : location;
  } catch {
    return location;
  }
}

async function finish(
  store: ObjectStore,
  { location, blockSize, access, caller }: CreateOptions,
): Promise<{ readonly id: string; readonly blockSize: number }> {
  const password = access.kdf === 'scrypt' ? access.password : undefined;
  let completed: Awaited<ReturnType<typeof completeInit>>;
  try {
    completed = await completeInit({ store, blockSize, password });
  } catch (error) {
    const { kind } = isHoldfastError(error) ? error : { kind: undefined };
    if (kind === 'unavailable' || kind === undefined) throw error;
    throw taken(
      location,
      `an interrupted "init" has left a repository, which does not open as it is asked for now (${(error as Error).message})`,
    );
  }
  caller.warn(
    `an interrupted "init" had begun this repository: it was completed, its password is that of then`,
  );
  return completed;
}

/** A folder that was made for nothing; what anybody has put into it keeps it. */
async function removeEmpty(path: string): Promise<void> {
  const inside = ['.unfinished', 'keys', 'log'].map((name) => join(path, name));
  for (const folder of [...inside, path]) await removeIfEmpty(folder);
}

async function removeIfEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (!['ENOENT', 'ENOTEMPTY', 'ENOTDIR', 'EBUSY'].includes(code ?? '')) throw error;
  }
}

/** Nothing can be expired or compacted where there is no repository yet. */
function fullHere(error: unknown, location: string): unknown {
  if (!isHoldfastError(error, 'StoreFull')) return error;
  return new HoldfastError('StoreFull', `there is no room for a repository in ${location}`, {
    cause: error,
    details: { ...error.details, purpose: 'new repository' },
  });
}

function taken(location: string, what: string): HoldfastError {
  return new HoldfastError(
    'RepositoryExists',
    `${what} in ${location}: choose an empty or a new folder`,
    { details: { location } },
  );
}
