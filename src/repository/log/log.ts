/**
 * The log (docs/format.md §5): numbered, sealed, hash-chained entries; the truth about what happened.
 * Keeps invariant 2 (an entry only after the one before; a hole is an error) and the log's part of 6
 * (absence is believed only of a direct look).
 *
 *     reading entry n:  there ──► seal, number, chain checked ──► yield, n + 1
 *                       absent ─► look for later entries, then at n again:
 *                                 n there ─────────────► it came meanwhile, go on
 *                                 absent, none later ──► end
 *                                 absent, one later ───► LogDamaged: n is missing
 */

import assert from 'node:assert/strict';

import { HoldfastError, isHoldfastError, type Clock, toldElsewhere } from '#base';
import type { ObjectStore } from '#storage';

import type { Keyring } from '../keys/keyring.ts';
import type { RandomBytes } from '../keys/random-bytes.ts';
import { maxSealedBytes, openJson, sealJson } from '../keys/sealed-object.ts';
import { sha256Hex } from '../keys/sha256.ts';
import type { LogEntry, LogEvent } from './log-entry.ts';
import { numberedName, numberInName } from './object-number.ts';
import { parseEntry } from './parse-entry.ts';

/** Where reading goes on, or what an append builds on. */
export type LogPosition = {
  /** Of the next entry. */
  readonly number: number;
  /** Hex SHA-256 of the sealed bytes of the entry before it. */
  readonly previousHash: string;
};

/** `hash`: hex SHA-256 of the entry's sealed bytes, the `previousHash` of the next. */
export type VerifiedEntry = { readonly entry: LogEntry; readonly hash: string };

export type AppendOutcome =
  | ({ readonly outcome: 'appended'; readonly next: LogPosition } & VerifiedEntry)
  /** The number is taken: read on from the same position, then decide anew. */
  | { readonly outcome: 'lost' };

export const LOG_START: LogPosition = { number: 0, previousHash: '0'.repeat(64) };

const FOLDER = 'log/';
/** Reads in flight while following the log: hides the latency of a remote store. */
const MAX_READS_AHEAD = 8;
const CREATE_ATTEMPTS = 2;

export class Log {
  readonly #store: ObjectStore;
  readonly #keyring: Keyring;
  readonly #clock: Clock;
  readonly #random: RandomBytes;

  constructor(options: {
    readonly store: ObjectStore;
    readonly keyring: Keyring;
    readonly clock: Clock;
    readonly random: RandomBytes;
  }) {
    this.#store = options.store;
    this.#keyring = options.keyring;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  /**
   * Yields every entry from `start` to the end of the log as of now, each verified: its seal, its number,
   * its shape, and the hash of the one before. The end is where a direct look finds nothing,
   * after neither a listing nor a look one further showed anything later.
   *
   * @throws {HoldfastError} `LogDamaged` naming the entry that is missing or wrong; `FormatUnsupported`;
   *   `StoreFailed`.
   */
  async *readFrom(start: LogPosition): AsyncGenerator<VerifiedEntry, void> {
    const ahead = new ReadAhead((number) => this.#read(number), start.number);
    try {
      let { number, previousHash } = start;
      for (;;) {
        let bytes = await ahead.take();
        if (bytes === undefined) {
          bytes = await this.#confirmEnd(number);
          if (bytes === undefined) return;
          await ahead.restart(number + 1);
        }
        const verified = this.#verify(bytes, { number, previousHash });
        yield verified;
        number += 1;
        previousHash = verified.hash;
      }
    } finally {
      await ahead.settle();
    }
  }

  /**
   * Writes `event` as entry `at.number`. The caller has read the log up to there: entry
   * `at.number − 1` is durable and its hash is `at.previousHash`.
   *
   * @returns `appended` once the entry is durable; `lost` if another entry has the number.
   * @throws {HoldfastError} `ArgumentInvalid` if the entry is above 16 MiB (nothing was written); the
   *   store's error if the store failed twice. Then the entry may be there, or come to be there
   *   late: the caller reads on from `at` before it appends again, and may meet its own entry.
   */
  async append(
    event: LogEvent,
    at: LogPosition & { readonly epoch: number },
  ): Promise<AppendOutcome> {
    const { number, previousHash, epoch } = at;
    const timeMs = Math.max(0, Math.trunc(this.#clock.nowMs()));
    const value: LogEntry = { number, previous: previousHash, timeMs, epoch, ...event };
    const entry = readableEntry(value);
    const name = numberedName(FOLDER, number);
    const bytes = sealJson({
      keyring: this.#keyring,
      kind: 'log',
      name,
      value: entry,
      random: this.#random,
    });
    if ((await this.#create(number, bytes)) === 'lost') return { outcome: 'lost' };
    const hash = sha256Hex(bytes);
    return { outcome: 'appended', entry, hash, next: { number: number + 1, previousHash: hash } };
  }

  /**
   * Entry `number`, its seal checked but not its place in the chain.
   *
   * @throws {HoldfastError} `LogDamaged` if it is missing or wrong; `FormatUnsupported`; `StoreFailed`.
   */
  async entry(number: number): Promise<LogEntry> {
    const bytes = await this.#read(number);
    if (bytes === undefined) throw missing(number, 'it is wanted');
    return this.#open(bytes, number);
  }

  /** Hex SHA-256 of entry `number` as stored, unverified; undefined: there is none. */
  async hashOf(number: number): Promise<string | undefined> {
    const bytes = await this.#read(number);
    return bytes === undefined ? undefined : sha256Hex(bytes);
  }

  /**
   * A failed call may have had its effect, and a store that retries may call its own object another's.
   * So the same bytes are sent again (only they can appear under the name by that), and `exists` is
   * settled by comparing: the nonce makes an entry's bytes its own.
   */
  async #create(number: number, bytes: Buffer): Promise<'appended' | 'lost'> {
    const name = numberedName(FOLDER, number);
    for (let attempt = 1; ; attempt += 1) {
      try {
        if ((await this.#store.createIfAbsent(name, bytes)) === 'created') return 'appended';
        break;
      } catch (error) {
        if (!isAmbiguous(error) || attempt === CREATE_ATTEMPTS) throw error;
      }
    }
    const present = await this.#read(number);
    if (present === undefined) throw missing(number, 'it was there a moment ago');
    return present.equals(bytes) ? 'appended' : 'lost';
  }

  async #read(number: number): Promise<Buffer | undefined> {
    const name = numberedName(FOLDER, number);
    try {
      return await this.#store.read(name, { maxBytes: maxSealedBytes('log') });
    } catch (error) {
      if (isHoldfastError(error, 'ObjectNotFound')) return undefined;
      if (isHoldfastError(error, 'ObjectDamaged')) throw damaged(number, error);
      throw error;
    }
  }

  /**
   * Entry `number` was not there when it was read, perhaps a while ahead: undefined if the log ends
   * before it, its bytes if it came since.
   */
  async #confirmEnd(number: number): Promise<Buffer | undefined> {
    const later = await this.#laterEntry(number);
    // After that look: whoever wrote a later entry had seen this one, so this look must see it too.
    const bytes = await this.#read(number);
    if (bytes === undefined && later !== undefined) {
      throw missing(number, `entry ${later} is there`);
    }
    return bytes;
  }

  async #laterEntry(number: number): Promise<number | undefined> {
    const next = numberedName(FOLDER, number + 1);
    if ((await this.#store.size(next)) !== undefined) return number + 1;
    for await (const { name } of this.#store.list(FOLDER)) {
      const listed = numberInName(FOLDER, name);
      if (listed !== undefined && listed > number) return listed;
    }
    return undefined;
  }

  #verify(bytes: Buffer, at: LogPosition): VerifiedEntry {
    const { number, previousHash } = at;
    const entry = this.#open(bytes, number);
    if (entry.previous !== previousHash) {
      throw damaged(
        number,
        new HoldfastError('ObjectDamaged', 'it does not follow the entry before it'),
      );
    }
    return { entry, hash: sha256Hex(bytes) };
  }

  #open(bytes: Buffer, number: number): LogEntry {
    let entry: LogEntry;
    try {
      const name = numberedName(FOLDER, number);
      entry = parseEntry(openJson({ keyring: this.#keyring, kind: 'log', name, bytes }));
    } catch (error) {
      if (isHoldfastError(error, 'ObjectDamaged')) throw damaged(number, error);
      throw error;
    }
    if (entry.number === number) return entry;
    throw damaged(number, new HoldfastError('ObjectDamaged', `it has number ${entry.number}`));
  }
}

/** Reads entries in order with more and more reads in flight, so that a short log costs few. */
class ReadAhead {
  readonly #read: (number: number) => Promise<Buffer | undefined>;
  readonly #inFlight: Promise<Buffer | undefined>[] = [];
  #nextNumber: number;
  #width = 1;

  constructor(read: (number: number) => Promise<Buffer | undefined>, nextNumber: number) {
    this.#read = read;
    this.#nextNumber = nextNumber;
  }

  take(): Promise<Buffer | undefined> {
    while (this.#inFlight.length < this.#width) {
      const read = this.#read(this.#nextNumber);
      void toldElsewhere(read); // Reported when it is taken; a reader may stop before.
      this.#inFlight.push(read);
      this.#nextNumber += 1;
    }
    this.#width = Math.min(this.#width + 1, MAX_READS_AHEAD);
    const first = this.#inFlight.shift();
    assert(first !== undefined);
    return first;
  }

  /** Forgets what is in flight: what was absent then may be there now. */
  async restart(nextNumber: number): Promise<void> {
    await this.settle();
    this.#nextNumber = nextNumber;
    this.#width = 1;
  }

  /** Afterwards nothing is in flight, and the store may be closed. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#inFlight);
    this.#inFlight.length = 0;
  }
}

/** The entry as a reader will see it; one that no reader would take is a bug of the caller. */
function readableEntry(value: LogEntry): LogEntry {
  const entry = parseEntry(JSON.parse(JSON.stringify(value)));
  assert(entry.number === value.number && entry.type === value.type);
  return entry;
}

function isAmbiguous(error: unknown): boolean {
  return isHoldfastError(error) && error.code !== 'ArgumentInvalid';
}

function damaged(number: number, cause: HoldfastError): HoldfastError {
  return new HoldfastError('LogDamaged', `log entry ${number} is damaged: ${cause.message}`, {
    cause,
    details: { entry: number, object: numberedName(FOLDER, number) },
  });
}

function missing(number: number, evidence: string): HoldfastError {
  return new HoldfastError('LogDamaged', `log entry ${number} is missing: ${evidence}`, {
    details: { entry: number, object: numberedName(FOLDER, number) },
  });
}
