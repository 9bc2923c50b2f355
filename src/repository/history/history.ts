/**
 * The log and the state it gives, kept together: opening reads the newest usable checkpoint and what
 * follows it; appending applies what others appended first. Every entry, whoever wrote it, is handed
 * to `onEntry` once and in order, so that the index follows the log (invariant 9).
 *
 * Appends of one process go one after another. Of two processes that want the same number one gets
 * it; the other reads what was written, stops if the owner changed, and asks its caller whether its
 * event still makes sense (`event` is a function of the state).
 */
import { HoldfastError } from '#base';
import { readNewestCheckpoint, writeCheckpoint } from '../log/checkpoint.ts';
import type { LogEntry, LogEvent } from '../log/log-entry.ts';
import type { Log } from '../log/log.ts';
import { type Effect, fold } from './fold.ts';
import { emptyState, type RepositoryState, stateFromJson, stateToJson } from './state.ts';

const CHECKPOINT_EVERY = 128;

export type EntryListener = (
  entry: { readonly number: number; readonly hash: string; readonly type: LogEntry['type'] },
  effects: readonly Effect[],
) => Promise<void>;

export class History {
  readonly #log: Log;
  readonly state: RepositoryState;
  #listener: EntryListener | undefined;
  #tail: Promise<unknown> = Promise.resolve();
  /** Number of the newest checkpoint known. */
  #checkpointed: number;

  private constructor(log: Log, state: RepositoryState) {
    this.#log = log;
    this.state = state;
    this.#checkpointed = state.number;
  }

  /**
   * Opens at the newest checkpoint that is not above `options.upTo`, or before the first entry.
   * Nothing newer is read: `catchUp` does that.
   */
  static async open(log: Log, options: { readonly upTo?: number } = {}): Promise<History> {
    const checkpoint = await readNewestCheckpoint(log, options);
    const state = checkpoint === undefined ? emptyState() : stateFromJson(checkpoint.state);
    return new History(log, state);
  }

  /** From now on every entry that is read or appended goes there, one after another. */
  listen(listener: EntryListener): void {
    this.#listener = listener;
  }

  /** Reads and applies the entries up to the end of the log, or up to number `options.upTo`. */
  catchUp(options: { readonly upTo?: number } = {}): Promise<void> {
    return this.#exclusively(() => this.#readOn(options.upTo));
  }

  async #readOn(upTo = Infinity): Promise<void> {
    if (this.state.number >= upTo) return;
    for await (const { entry, hash } of this.#log.readFrom(this.state.number + 1, this.state.hash)) {
      await this.#take(entry, hash);
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
   * @param event called with the state that the entry will follow; undefined: nothing to append. May
   *   be called again, when another process was faster. What it throws is thrown.
   * @param options.epoch the writer's epoch; a reader passes undefined and follows the owner's.
   * @returns the number of the entry, or undefined.
   * @throws {HoldfastError} `OwnerChanged` if another process has become owner since.
   */
  append(
    event: (state: RepositoryState) => LogEvent | undefined,
    options: { readonly epoch: number | undefined },
  ): Promise<number | undefined> {
    return this.#exclusively(() => this.#append(event, options.epoch));
  }

  async #append(
    event: (state: RepositoryState) => LogEvent | undefined,
    epoch: number | undefined,
  ): Promise<number | undefined> {
    for (;;) {
      const { state } = this;
      if (epoch !== undefined && state.epoch > epoch) {
        const { owner } = state;
        throw new HoldfastError(
          'OwnerChanged',
          `${owner?.command ?? 'another process'} on ${owner?.host ?? 'another host'} (process ` +
            `${owner?.pid ?? 0}) took the repository over; nothing more was written: run again`,
        );
      }
      const made = event(state);
      if (made === undefined) return undefined;
      const outcome = await this.#log.append(made, {
        number: state.number + 1,
        previous: state.hash,
        epoch: made.type === 'owner' ? state.epoch + 1 : (epoch ?? state.epoch),
      });
      if (outcome === 'lost') {
        await this.#readOn();
        continue;
      }
      await this.#take(outcome.entry, outcome.hash);
      return outcome.entry.number;
    }
  }

  /**
   * Writes a checkpoint if enough has happened since the last.
   *
   * @param options.always also if not.
   */
  async checkpoint(options: { readonly always?: boolean } = {}): Promise<void> {
    await this.#exclusively(async () => {
      const { number, hash } = this.state;
      const due = options.always === true ? 1 : CHECKPOINT_EVERY;
      if (number - this.#checkpointed < due) return;
      await writeCheckpoint(this.#log, { number, hash, state: stateToJson(this.state) });
      this.#checkpointed = number;
    });
  }

  /** Runs `work` when everything before it has ended; what it throws does not stop what follows. */
  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#tail.then(work);
    this.#tail = run.catch(() => undefined);
    return run;
  }
}
