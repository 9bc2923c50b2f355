/**
 * The log and the state it gives, kept together: opening reads the newest usable checkpoint and what
 * follows it; appending applies what others appended first. Every entry, whoever wrote it, is handed
 * to the listener once and in order, so that the index follows the log (invariant 9).
 *
 * Appends of one process go one after another. Of two processes that want the same number one gets
 * it; the other reads what was written, stops if the owner changed, and asks its caller whether its
 * event still makes sense (`event` is a function of the state).
 */
import { HoldfastError } from '#base';
import type { ObjectStore } from '#storage';
import type { Keyring } from '../keys/keyring.ts';
import type { RandomBytes } from '../keys/random-bytes.ts';
import { type PassedOver, readNewestCheckpoint, writeCheckpoint } from '../log/checkpoint.ts';
import type { LogEntry, LogEvent } from '../log/log-entry.ts';
import type { Log } from '../log/log.ts';
import { type Effect, fold } from './fold.ts';
import { emptyState, type RepositoryState, stateFromJson, stateToJson } from './state.ts';

const CHECKPOINT_EVERY = 128;

export type HistoryAccess = {
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly random: RandomBytes;
  readonly log: Log;
};

export type FoldedEntry = {
  readonly number: number;
  readonly hash: string;
  readonly type: LogEntry['type'];
};

export type EntryListener = (entry: FoldedEntry, effects: readonly Effect[]) => Promise<void>;

/** Makes an event of the newest state; undefined: there is nothing to write any more. */
export type EventMaker = (state: RepositoryState) => LogEvent | undefined;

export class History {
  readonly #access: HistoryAccess;
  readonly state: RepositoryState;
  #listener: EntryListener | undefined;
  #tail: Promise<unknown> = Promise.resolve();
  /** Number of the newest checkpoint known. */
  #checkpointed: number;

  private constructor(access: HistoryAccess, state: RepositoryState) {
    this.#access = access;
    this.state = state;
    this.#checkpointed = state.number;
  }

  /**
   * Opens at the newest checkpoint that is not above `options.upTo`, or before the first entry.
   * Nothing newer is read: `catchUp` does that.
   */
  static async open(
    access: HistoryAccess,
    options: {
      readonly upTo?: number;
      readonly passedOver?: (checkpoint: PassedOver) => void;
    } = {},
  ): Promise<History> {
    const checkpoint = await readNewestCheckpoint({
      ...access,
      parse: stateFromJson,
      passedOver: options.passedOver ?? (() => undefined),
      ...(options.upTo === undefined ? {} : { upTo: options.upTo }),
    });
    if (checkpoint === undefined) return new History(access, emptyState());
    checkpoint.state.hash = checkpoint.next.previousHash;
    return new History(access, checkpoint.state);
  }

  /** From now on every entry that is read or appended goes there, one after another. */
  listen(listener: EntryListener): void {
    this.#listener = listener;
  }

  /** Reads and applies the entries up to the end of the log, or up to number `options.upTo`. */
  catchUp(options: { readonly upTo?: number } = {}): Promise<void> {
    return this.exclusively(() => this.#readOn(options.upTo));
  }

  async #readOn(upTo = Infinity): Promise<void> {
    const { number, hash } = this.state;
    if (number >= upTo) return;
    for await (const verified of this.#access.log.readFrom({
      number: number + 1,
      previousHash: hash,
    })) {
      await this.#take(verified.entry, verified.hash);
      if (this.state.number >= upTo) return;
    }
  }

  async #take(entry: LogEntry, hash: string): Promise<void> {
    const effects = fold(this.state, entry, hash);
    await this.#listener?.({ number: entry.number, hash, type: entry.type }, effects);
  }

  /**
   * Appends the event that `event` makes of the newest state, and applies it.
   *
   * @param event called with the state that the entry will follow. May be called again, when another
   *   process was faster. What it throws is thrown.
   * @param options.epoch the writer's epoch; a reader passes undefined and follows the owner's.
   * @returns the number of the entry, or undefined if there was nothing to write.
   * @throws {HoldfastError} `OwnerChanged` if another process has become owner since.
   */
  append(
    event: EventMaker,
    options: { readonly epoch: number | undefined },
  ): Promise<number | undefined> {
    return this.exclusively(() => this.#append(event, options.epoch));
  }

  async #append(event: EventMaker, epoch: number | undefined): Promise<number | undefined> {
    for (;;) {
      const { state } = this;
      if (epoch !== undefined && state.epoch > epoch) throw ownerChanged(state);
      const made = event(state);
      if (made === undefined) return undefined;
      const at = { number: state.number + 1, previousHash: state.hash };
      const writerEpoch = made.type === 'owner' ? state.epoch + 1 : (epoch ?? state.epoch);
      const appended = await this.#access.log.append(made, { ...at, epoch: writerEpoch });
      if (appended.outcome === 'appended') {
        await this.#take(appended.entry, appended.hash);
        return appended.entry.number;
      }
      await this.#readOn();
    }
  }

  /** Entry `number` as written, without its place in the chain. @throws {HoldfastError} `LogDamaged`. */
  async entry(number: number): Promise<LogEntry> {
    return await this.#access.log.entry(number);
  }

  /**
   * Writes a checkpoint if enough has happened since the last.
   *
   * @param options.always also if not.
   */
  checkpoint(options: { readonly always?: boolean } = {}): Promise<void> {
    return this.exclusively(async () => {
      const { number, hash } = this.state;
      const due = options.always === true ? 1 : CHECKPOINT_EVERY;
      if (number - this.#checkpointed < due) return;
      await writeCheckpoint(this.#access, { number, hash, state: stateToJson(this.state) });
      this.#checkpointed = number;
    });
  }

  /** Runs `work` when everything before it has ended; what it throws does not stop what follows. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#tail.then(work);
    this.#tail = run.catch(() => undefined);
    return run;
  }
}

/** @throws {HoldfastError} `OwnerChanged` if the log knows a newer owner than that of `epoch`. */
export function assertOwner({ state }: Pick<History, 'state'>, epoch: number): void {
  if (state.epoch !== epoch) throw ownerChanged(state);
}

function ownerChanged({ owner }: RepositoryState): HoldfastError {
  return new HoldfastError(
    'OwnerChanged',
    `${owner?.command ?? 'another process'} on ${owner?.host ?? 'another host'} (process ` +
      `${owner?.pid ?? 0}) took the repository over; nothing more was written: run again`,
  );
}
