/** Makes a new repository: key slot, log entry 0, and `repository.json` last, which makes it one. */
import { HoldfastError, type Clock } from '#base';
import type { ObjectStore } from '#storage';
import { assertBlockSize } from '../keys/block-size.ts';
import { identityFromSlots } from '../keys/identity-from-slots.ts';
import {
  addKeySlot,
  openKeyring,
  type KeySlotSummary,
  type NewSlotAccess,
} from '../keys/key-slots.ts';
import { Keyring } from '../keys/keyring.ts';
import type { RandomBytes } from '../keys/random-bytes.ts';
import { REPOSITORY_FILE, writeRepositoryFile } from '../keys/repository-file.ts';
import { Log, LOG_START } from '../log/log.ts';

export type InitOptions = {
  readonly store: ObjectStore;
  /** A power of two from 4 KiB to 4 MiB. */
  readonly blockSize: number;
  readonly access: NewSlotAccess;
  readonly label: string;
  readonly clock: Clock;
  readonly random: RandomBytes;
};

/**
 * @throws {HoldfastError} `RepositoryExists` if there is one, or what an interrupted `initRepository`
 *   left; `ArgumentInvalid`; `PasswordMissing`.
 */
export async function initRepository(
  options: InitOptions,
): Promise<{ readonly id: string; readonly blockSize: number; readonly slot: KeySlotSummary }> {
  const { store, blockSize, clock, random } = options;
  assertBlockSize(blockSize);
  if ((await store.size(REPOSITORY_FILE)) !== undefined) throw exists(store);
  const keyring = Keyring.create({ blockSize, random });
  const id = keyring.repositoryId.toString('hex');
  const log = new Log({ store, keyring, clock, random });
  const slot = await addKeySlot({ ...options, keyring });
  const event = { type: 'repository-created', repository: id, blockSize } as const;
  const appended = await log.append(event, { ...LOG_START, epoch: 0 });
  if (appended.outcome === 'lost') {
    await store.delete(`keys/${slot.slot}`);
    throw exists(store);
  }
  await deleteOtherSlots(store, slot.slot);
  await writeRepositoryFile(store, keyring);
  return { id, blockSize, slot };
}

/**
 * Ends an `initRepository` that died before it wrote `repository.json`. Nothing is written before a slot opens.
 *
 * @throws {HoldfastError} `RepositoryNotFound` if the slots do not say which repository it is; `ArgumentInvalid`
 *   if it has another block size; `PasswordWrong`, `PasswordMissing`, `KeySlotInvalid`.
 */
export async function completeInit(options: {
  readonly store: ObjectStore;
  readonly blockSize: number;
  readonly password: string | undefined;
}): Promise<{ readonly id: string; readonly blockSize: number }> {
  const { store, blockSize, password } = options;
  const repository = await identityFromSlots(store);
  if (repository === undefined) {
    throw new HoldfastError('RepositoryNotFound', 'its key slots do not agree on what it is');
  }
  if (repository.blockSize !== blockSize) {
    throw new HoldfastError('ArgumentInvalid', `its blocks have ${repository.blockSize} bytes`);
  }
  const { keyring } = await openKeyring({ store, repository, password });
  await writeRepositoryFile(store, keyring);
  return { id: keyring.repositoryId.toString('hex'), blockSize };
}

/** An `initRepository` that died before its log entry left a slot of a repository that never was. */
async function deleteOtherSlots(store: ObjectStore, own: string): Promise<void> {
  const names: string[] = [];
  for await (const { name } of store.list('keys/')) if (name !== `keys/${own}`) names.push(name);
  for (const name of names) await store.delete(name);
}

function exists(store: ObjectStore): HoldfastError {
  return new HoldfastError(
    'RepositoryExists',
    `there is a repository, or the beginning of one, in ${store.location}: choose an empty place`,
    { details: { location: store.location } },
  );
}
