/**
 * `repository.json` (docs/format.md §2): what makes a place a repository. It never changes. It is not
 * sealed, but its id and block size are bound into every key slot, so a wrong one opens nothing.
 */

import { HoldfastError, isHoldfastError, shellQuoted } from '#base';
import type { ObjectStore } from '#storage';

import { isBlockSize } from './block-size.ts';
import { countField, hexField, parseJsonRecord } from './json-fields.ts';
import { REPOSITORY_ID_BYTES } from './keyring.ts';

/** What `repository.json` says; a `Keyring` fits. */
export type RepositoryIdentity = {
  /** 16 bytes. */
  readonly repositoryId: Buffer;
  readonly blockSize: number;
};

export const REPOSITORY_FILE = 'repository.json';
const FORMAT_VERSION = 1;

const MAX_FILE_BYTES = 4096;

/**
 * Makes the place a repository; of several callers one succeeds.
 *
 * @throws {HoldfastError} `RepositoryExists` if it is one already: nothing was changed.
 */
export async function writeRepositoryFile(
  store: ObjectStore,
  identity: RepositoryIdentity,
): Promise<void> {
  const { repositoryId, blockSize } = identity;
  const bytes = Buffer.from(
    JSON.stringify({ format: FORMAT_VERSION, id: repositoryId.toString('hex'), blockSize }),
  );
  const outcome = await store.createIfAbsent(REPOSITORY_FILE, bytes);
  if (outcome === 'created') return;
  const present = await store.read(REPOSITORY_FILE, { maxBytes: MAX_FILE_BYTES });
  if (present.equals(bytes)) return; // written by this call before a retry within the store
  throw new HoldfastError('RepositoryExists', `there is a repository at ${store.location}`);
}

/**
 * @throws {HoldfastError} `RepositoryNotFound`; `FormatUnsupported` if a newer Holdfast made it;
 *   `ObjectDamaged`.
 */
export async function readRepositoryFile(store: ObjectStore): Promise<RepositoryIdentity> {
  let bytes: Buffer;
  try {
    bytes = await store.read(REPOSITORY_FILE, { maxBytes: MAX_FILE_BYTES });
  } catch (error) {
    if (!isHoldfastError(error, 'ObjectNotFound')) throw error;
    throw new HoldfastError(
      'RepositoryNotFound',
      `there is no repository at ${store.location}: is its disk mounted, and is that its folder? To make a new one in an empty folder: holdfast repo init ${shellQuoted(store.location)}`,
      { cause: error },
    );
  }
  try {
    return parseRepositoryFile(bytes);
  } catch (error) {
    if (!isHoldfastError(error, 'ObjectDamaged')) throw error;
    throw new HoldfastError(
      'ObjectDamaged',
      `${REPOSITORY_FILE} at ${store.location} is damaged: ${error.message} (every key slot repeats its content)`,
      { cause: error, details: { object: REPOSITORY_FILE } },
    );
  }
}

function parseRepositoryFile(bytes: Buffer): RepositoryIdentity {
  const record = parseJsonRecord(bytes);
  const format = countField(record, 'format');
  if (format > FORMAT_VERSION) {
    throw new HoldfastError(
      'FormatUnsupported',
      `the repository has format ${format}, this Holdfast reads up to ${FORMAT_VERSION}: use the one that wrote it`,
      { details: { format } },
    );
  }
  if (format !== FORMAT_VERSION) throw new HoldfastError('ObjectDamaged', 'its format is not 1');
  const blockSize = countField(record, 'blockSize');
  if (!isBlockSize(blockSize)) {
    throw new HoldfastError('ObjectDamaged', `its block size ${blockSize} is not a possible one`);
  }
  return { repositoryId: hexField(record, 'id', REPOSITORY_ID_BYTES), blockSize };
}
