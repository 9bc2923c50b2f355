/**
 * Who the repository is, from its key slots, where `repository.json` is lost or damaged: every slot repeats
 * its content, and binds it into what it wraps, so a wrong one opens nothing.
 */
import { type HoldfastError, isHoldfastError } from '#base';
import type { ObjectStore } from '#storage';
import { isBlockSize } from './block-size.ts';
import { countField, hexField, parseJsonRecord } from './json-fields.ts';
import { REPOSITORY_ID_BYTES } from './keyring.ts';
import type { RepositoryIdentity } from './repository-file.ts';

const MAX_SLOT_BYTES = 64 * 1024;

/** The identity that the slots agree on; undefined if there is none, or they do not agree. */
export async function identityFromSlots(
  store: ObjectStore,
): Promise<RepositoryIdentity | undefined> {
  const found = new Map<string, RepositoryIdentity>();
  for await (const { name } of store.list('keys/')) {
    const identity = await identityIn(store, name);
    if (identity === undefined) continue;
    found.set(`${identity.repositoryId.toString('hex')} ${identity.blockSize}`, identity);
  }
  return found.size === 1 ? [...found.values()][0] : undefined;
}

async function identityIn(
  store: ObjectStore,
  name: string,
): Promise<RepositoryIdentity | undefined> {
  try {
    const record = parseJsonRecord(await store.read(name, { maxBytes: MAX_SLOT_BYTES }));
    const blockSize = countField(record, 'blockSize');
    const repositoryId = hexField(record, 'repository', REPOSITORY_ID_BYTES);
    return isBlockSize(blockSize) ? { repositoryId, blockSize } : undefined;
  } catch (error) {
    if (isHoldfastError(error) && error.kind !== 'unavailable') return undefined;
    throw error;
  }
}

/** Whether `error` says that `repository.json` is lost or damaged, and not that a newer Holdfast made it. */
export function isIdentityLost(error: unknown): error is HoldfastError {
  return isHoldfastError(error, 'RepositoryNotFound') || isHoldfastError(error, 'ObjectDamaged');
}
