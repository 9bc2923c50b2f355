/** What opening a repository needs, and its keys. */
import { join } from 'node:path';
import type { Clock } from '#base';
import type { ObjectStore } from '#storage';
import { openKeyring } from '../keys/key-slots.ts';
import type { Keyring } from '../keys/keyring.ts';
import type { RandomBytes } from '../keys/random-bytes.ts';
import { identityFromSlots, isIdentityLost } from '../keys/identity-from-slots.ts';
import {
  readRepositoryFile,
  REPOSITORY_FILE,
  type RepositoryIdentity,
  writeRepositoryFile,
} from '../keys/repository-file.ts';

/** What lies beside a repository's objects: a cache, locks and a reserve, no part of the format. */
export type LocalPlace = {
  readonly indexDir: string;
  /** Private copies of the index, one folder a reader. */
  readonly readersDir: string;
  /** Lock files: nothing but the lock opens them. */
  readonly locksDir: string;
  /** Room that is kept (`reserve.ts`). */
  readonly reserveFile: string;
};

/** For a repository in a folder: beside its objects. */
export function placeInFolder(folder: string): LocalPlace {
  return {
    indexDir: join(folder, 'index'),
    readersDir: join(folder, 'readers'),
    locksDir: join(folder, 'locks'),
    reserveFile: join(folder, 'reserve'),
  };
}

export type OpenOptions = {
  readonly store: ObjectStore;
  readonly place: LocalPlace;
  /** A password or a recovery key; undefined for a repository without encryption. */
  readonly password?: string | undefined;
  /** `own`: may change everything; `read`: restores, lists, verifies beside an owner. */
  readonly access: 'own' | 'read';
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** Of Holdfast, for manifests. */
  readonly version: string;
  /** Who we are, for messages to others. */
  readonly process: { readonly host: string; readonly pid: number; readonly command: string };
  /** How long to wait for another owner. */
  readonly waitMs: number;
  readonly signal?: AbortSignal;
  /** Told of what is wrong and does not prevent opening, in one line. */
  readonly warn: (message: string) => void;
  /** Makes the index anew even if it can be used: a reader its own, and the next owner the shared one. */
  readonly rebuildsIndex?: boolean;
  /** Owns a repository that was put back to an older state, and gives up what came after it. */
  readonly acceptsOlderState?: boolean;
  /** Size of the index's table in memory; for tests. */
  readonly memtableRecords?: number;
};

/** @throws {HoldfastError} `RepositoryNotFound`, `PasswordWrong`, `PasswordMissing`, `FormatUnsupported`. */
export async function openKeys(
  options: Pick<OpenOptions, 'store' | 'password' | 'warn' | 'access'>,
): Promise<Keyring> {
  const { store, password, warn } = options;
  const { repository, isLost } = await readIdentity(store);
  const opened = await openKeyring({ store, repository, password });
  if (isLost) await restoreIdentity(options, repository);
  for (const { name, reason } of opened.damaged) warn(`key slot ${name} cannot be used: ${reason}`);
  return opened.keyring;
}

/** Which repository it is, as `repository.json` says, or where that is lost its key slots. */
export async function readIdentity(
  store: ObjectStore,
): Promise<{ readonly repository: RepositoryIdentity; readonly isLost: boolean }> {
  try {
    return { repository: await readRepositoryFile(store), isLost: false };
  } catch (error) {
    if (!isIdentityLost(error)) throw error;
    const repository = await identityFromSlots(store);
    if (repository === undefined) throw error;
    return { repository, isLost: true };
  }
}

/** The keys have opened, so what the slots say is true: an owner writes the file again. */
async function restoreIdentity(
  { store, warn, access }: Pick<OpenOptions, 'store' | 'warn' | 'access'>,
  repository: RepositoryIdentity,
): Promise<void> {
  warn(`${REPOSITORY_FILE} is lost or damaged; its content was taken from a key slot`);
  if (access !== 'own') return;
  await store.delete(REPOSITORY_FILE);
  await writeRepositoryFile(store, repository);
}
