/**
 * Checkpoints (docs/format.md §6): the folded state after a log entry, so that opening reads few
 * objects. Any may be lost or damaged: a reader passes over it, and reads more of the log. What a
 * checkpoint does prove is that its log entry was durable, so a log that lacks it is damaged.
 */

import { HoldfastError, isHoldfastError } from '#base';
import type { ObjectStore } from '#storage';

import { asRecord } from '../keys/json-fields.ts';
import type { Keyring } from '../keys/keyring.ts';
import type { RandomBytes } from '../keys/random-bytes.ts';
import { maxSealedBytes, openJson, sealJson } from '../keys/sealed-object.ts';
import type { Log, LogPosition } from './log.ts';
import { numberedName, numberInName } from './object-number.ts';

/** A checkpoint that was found but cannot serve. */
export type PassedOver = { readonly name: string; readonly reason: string };

export type ReadCheckpoint<State> = {
  /** Of the log entry that the state includes. */
  readonly number: number;
  readonly state: State;
  /** Where the log is read on. */
  readonly next: LogPosition;
};

const FOLDER = 'checkpoint/';

/**
 * Writes the state after entry `number`, whose hash is `hash`. That entry is durable, as `append` or
 * `readFrom` has shown. If there is a checkpoint of that number already, it stays.
 *
 * @param checkpoint.state plain JSON.
 */
export async function writeCheckpoint(
  access: {
    readonly store: ObjectStore;
    readonly keyring: Keyring;
    readonly random: RandomBytes;
  },
  checkpoint: { readonly number: number; readonly hash: string; readonly state: unknown },
): Promise<void> {
  const { store, keyring, random } = access;
  const { number, hash, state } = checkpoint;
  const name = numberedName(FOLDER, number);
  const value = { number, hash, state };
  await store.createIfAbsent(name, sealJson({ keyring, kind: 'checkpoint', name, value, random }));
}

/**
 * The newest checkpoint that can be read and that agrees with the log; undefined: read the log from
 * its start. Those that are damaged, of a newer format, or of another history go to `passedOver`.
 *
 * @param options.parse from JSON to the state; throws `ObjectDamaged` or `FormatUnsupported` for what it
 *   does not take, and the next older checkpoint is tried.
 * @throws {HoldfastError} `LogDamaged` if there is a checkpoint of an entry that the log does not have;
 *   `StoreFailed`.
 */
export async function readNewestCheckpoint<State>(options: {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly log: Log;
  readonly parse: (state: unknown) => State;
  readonly passedOver: (checkpoint: PassedOver) => void;
  /** Only checkpoints of entries up to this number. */
  readonly upTo?: number;
}): Promise<ReadCheckpoint<State> | undefined> {
  const { store, log, passedOver } = options;
  for (const number of await listedNumbers(store)) {
    if (options.upTo !== undefined && number > options.upTo) continue;
    const name = numberedName(FOLDER, number);
    const bytes = await readIfPresent(store, name);
    if (bytes === undefined) continue; // A stale listing.
    if (typeof bytes === 'string') {
      passedOver({ name, reason: bytes });
      continue;
    }
    const logHash = await log.hashOf(number);
    if (logHash === undefined) throw entryLost(number);
    try {
      const { hash, state } = openCheckpoint(bytes, { ...options, number });
      if (hash !== logHash) throw new HoldfastError('ObjectDamaged', 'it is of another log');
      const next = { number: number + 1, previousHash: hash };
      return { number, state: options.parse(state), next };
    } catch (error) {
      if (!isUnusable(error)) throw error;
      passedOver({ name, reason: error.message });
    }
  }
  return undefined;
}

/** Newest first; a listing may miss some, which only costs reading more of the log. */
async function listedNumbers(store: ObjectStore): Promise<number[]> {
  const numbers: number[] = [];
  for await (const { name } of store.list(FOLDER)) {
    const number = numberInName(FOLDER, name);
    if (number !== undefined && Number.isSafeInteger(number)) numbers.push(number);
  }
  return numbers.toSorted((a, b) => b - a);
}

/** The bytes, or why they cannot be had. */
async function readIfPresent(
  store: ObjectStore,
  name: string,
): Promise<Buffer | string | undefined> {
  try {
    return await store.read(name, { maxBytes: maxSealedBytes('checkpoint') });
  } catch (error) {
    if (isHoldfastError(error, 'ObjectNotFound')) return undefined;
    if (isHoldfastError(error, 'ObjectDamaged')) return error.message;
    throw error;
  }
}

function openCheckpoint(
  bytes: Buffer,
  expected: { readonly keyring: Keyring; readonly number: number },
): { readonly hash: string; readonly state: unknown } {
  const { keyring, number } = expected;
  const name = numberedName(FOLDER, number);
  const record = asRecord(openJson({ keyring, kind: 'checkpoint', name, bytes }));
  const hash = record['hash'];
  if (record['number'] !== number || typeof hash !== 'string') {
    throw new HoldfastError('ObjectDamaged', 'it is the checkpoint of another entry');
  }
  return { hash, state: record['state'] };
}

function isUnusable(error: unknown): error is HoldfastError {
  return isHoldfastError(error, 'ObjectDamaged') || isHoldfastError(error, 'FormatUnsupported');
}

function entryLost(number: number): HoldfastError {
  return new HoldfastError(
    'LogDamaged',
    `log entry ${number} is missing: there is a checkpoint of it`,
    { details: { entry: number, object: numberedName('log/', number) } },
  );
}
