/**
 * An open repository: one handle for everything that can be done with it. It opens and closes; the work
 * is in the folders beside (docs/ARCHITECTURE.md).
 *
 * ```
 *   init ──► (nothing open)
 *   open own  ──► lock ──► state and index ──► owner entry ──► duties ──► ready ──close──► index durable
 *   open read ──► state and a private copy of the index ──► ready (pins its points) ──close──► unpinned
 * ```
 *
 * One owner at a time on one machine by a kernel lock, between machines by the log's epochs (promise 4).
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError } from '#base';
import type { IndexKeeper } from './counting/index-keeper.ts';
import { damageEvent } from './history/damage-event.ts';
import { assertOwner } from './history/history.ts';
import type { RepositoryState } from './history/state.ts';
import type { Keyring } from './keys/keyring.ts';
import { Log } from './log/log.ts';
import { lockWithin, type OwnerLock } from './log/owner-lock.ts';
import { adoptSession, deleteDoomed, endDeadPins } from './opening/duties.ts';
import {
  type IndexAccess,
  openIndex,
  type OpenedIndex,
  type Rebuilt,
  REBUILT_ON_REQUEST,
  rebuildIndex,
  refuseOlderState,
  suspectIndex,
} from './opening/open-index.ts';
import { openKeys, type OpenOptions } from './opening/open-options.ts';
import { isReaderAlive, ReaderSeat, removeDeadReaders } from './opening/reader-seat.ts';
import type { DamagedCopy } from './reading/block-reader.ts';
import type { RepositoryParts } from './repository-parts.ts';

type OpeningParts = Pick<OpenedIndex, 'history' | 'keeper'>;

type Opening = {
  readonly parts: RepositoryParts;
  readonly keyring: Keyring;
  readonly options: OpenOptions;
  readonly lock: OwnerLock | undefined;
  readonly seat: ReaderSeat | undefined;
  readonly damage: DamageNotes;
  readonly opened: OpenedIndex;
};

const LOST_PACK = new HoldfastError('ObjectDamaged', 'the footer of the pack cannot be read');

/** Damaged copies met since they were last logged. */
type DamageNotes = Map<string, DamagedCopy>;

/**
 * Makes the local index anew from the log, packs and maps; the old one serves until the new one is whole.
 *
 * @returns the records in it.
 * @throws {HoldfastError} as `Repository.open`.
 */
export async function rebuildRepositoryIndex(
  options: OpenOptions,
): Promise<{ readonly records: number }> {
  const repository = await Repository.open({ ...options, access: 'own', rebuildsIndex: true });
  try {
    return { records: repository.parts.keeper.index.stats.recordCount };
  } finally {
    await repository.close();
  }
}

export class Repository {
  readonly parts: RepositoryParts;
  /** Why the index was rebuilt at opening; undefined: it was not. */
  readonly rebuilt: Rebuilt | undefined;
  readonly #lock: OwnerLock | undefined;
  /** Ours, as owner. */
  readonly #epoch: number;
  readonly #seat: ReaderSeat | undefined;
  readonly #damage: DamageNotes;
  readonly #keyring: Keyring;
  readonly #options: OpenOptions;
  /** Indexes that were renewed, and may still be in use. */
  readonly #retired: IndexKeeper[] = [];
  #renewing: Promise<void> | undefined;
  #isClosed = false;

  private constructor(opening: Opening) {
    this.parts = opening.parts;
    this.#keyring = opening.keyring;
    this.#options = opening.options;
    this.rebuilt = opening.opened.rebuilt;
    this.#lock = opening.lock;
    this.#epoch = opening.opened.history.state.epoch;
    this.#seat = opening.seat;
    this.#damage = opening.damage;
  }

  /**
   * Opens a repository. The caller closes it.
   *
   * @throws {HoldfastError} `RepositoryNotFound`, `PasswordWrong`, `PasswordMissing`,
   *   `FormatUnsupported`; `RepositoryHeld` if `access` is `own` and another owner does not end within
   *   `waitMs`; `LogDamaged`.
   */
  static async open(options: OpenOptions): Promise<Repository> {
    const keyring = await openKeys(options);
    return options.access === 'own' ? openOwn(keyring, options) : openRead(keyring, options);
  }

  static make(opening: Opening): Repository {
    return new Repository(opening);
  }

  get state(): RepositoryState {
    return this.parts.history.state;
  }

  get isOwner(): boolean {
    return this.#lock !== undefined;
  }

  /**
   * Keeps the points' blocks until the repository is closed. A reader that may not write does without.
   *
   * @returns whether they are pinned.
   * @throws {HoldfastError} `PointNotFound`.
   */
  async pin(points: readonly string[]): Promise<boolean> {
    return (await this.#seat?.pin(this.parts, points)) ?? false;
  }

  /** Writes what was found damaged into the log, so that it heals. @returns how many copies. */
  async logDamage(copies: Iterable<DamagedCopy> = []): Promise<number> {
    for (const copy of copies) this.#damage.set(`${copy.pack}/${copy.frame}`, copy);
    const frames = Array.from(this.#damage.values(), ({ pack, frame }) => ({ pack, frame }));
    if (frames.length === 0) return 0;
    let logged = 0;
    await this.parts.append((state) => {
      const event = damageEvent(state, frames);
      logged = event?.frames.length ?? 0;
      return event;
    });
    this.#damage.clear();
    return logged;
  }

  /**
   * After `IndexDamaged`, for a reader that lives on: makes its private index anew, in place.
   *
   * @param damaged what was met damaged; if it was renewed since, nothing is done.
   */
  async renewIndex(damaged: IndexKeeper): Promise<void> {
    assert(this.#seat !== undefined, 'an owner opens the repository again');
    if (damaged !== this.parts.keeper) return;
    this.#renewing ??= this.#renew(this.#seat).finally(() => (this.#renewing = undefined));
    await this.#renewing;
  }

  async #renew(seat: ReaderSeat): Promise<void> {
    const { place } = this.#options;
    await suspectIndex(place.indexDir);
    const access = indexAccess(this.#keyring, this.#options, this.#damage);
    const opened = await rebuildIndex(seat.indexDir, access);
    this.#retired.push(this.parts.keeper);
    const renewed = { keyring: this.#keyring, options: this.#options, epoch: undefined };
    Object.assign(this.parts, makeParts(opened, renewed));
  }

  /** A reader's lock may be writable where the store is not: then the next owner finds the damage anew. */
  async #logDamageIfWritable(): Promise<void> {
    try {
      await this.logDamage();
    } catch (error) {
      if (!isHoldfastError(error, 'StoreReadOnly') && !isHoldfastError(error, 'StoreFull'))
        throw error;
    }
  }

  /**
   * Releases what is local and writes nothing, as the process's death would: for a store that has
   * failed. What is not durable is done again by the next owner. Idempotent.
   */
  async abandon(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#release();
  }

  async #release(): Promise<void> {
    for (const keeper of [...this.#retired, this.parts.keeper]) await keeper.close();
    await this.#seat?.leave();
    this.#lock?.release();
  }

  /** Whether another owner is known to have taken over: then nothing of ours may be written. */
  get #isDeposed(): boolean {
    return this.#lock !== undefined && this.state.epoch !== this.#epoch;
  }

  /** Releases everything; what is open of sessions is left to the next owner. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      if (this.#isDeposed) return;
      if (this.#lock !== undefined) await this.logDamage();
      else if (this.#seat?.mayWrite === true) await this.#logDamageIfWritable();
      await this.#seat?.unpin(this.parts);
      if (this.#lock !== undefined) {
        await this.parts.flushIndex();
        await this.parts.history.checkpoint();
      }
    } finally {
      await this.#release();
    }
  }
}

async function openOwn(keyring: Keyring, options: OpenOptions): Promise<Repository> {
  const { clock, place, process, signal, waitMs } = options;
  const lock = await lockWithin(join(place.locksDir, 'owner'), {
    holder: { ...process, sinceMs: clock.nowMs() },
    clock,
    waitMs,
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    const damage: DamageNotes = new Map();
    const access = indexAccess(keyring, options, damage);
    const opened = await openOwnIndex(access, options);
    return await closingIndex(opened, async () => {
      const epoch = await becomeOwner(opened, options);
      const parts = makeParts(opened, { keyring, options, epoch });
      const made = { parts, keyring, options, lock, seat: undefined, damage, opened };
      const repository = Repository.make(made);
      await doDuties(repository, options);
      return repository;
    });
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function openOwnIndex(access: IndexAccess, options: OpenOptions): Promise<OpenedIndex> {
  const { indexDir } = options.place;
  if (options.rebuildsIndex !== true) return await openIndex(indexDir, access);
  await refuseOlderState(indexDir, access);
  return { ...(await rebuildIndex(indexDir, access)), rebuilt: REBUILT_ON_REQUEST };
}

/** Runs `work`; if it fails, closes the index that it was to use. */
async function closingIndex(
  { keeper }: OpenedIndex,
  work: () => Promise<Repository>,
): Promise<Repository> {
  try {
    return await work();
  } catch (error) {
    await keeper.close();
    throw error;
  }
}

/**
 * Takes the repository over. From here on, another owner's entry ends it: nothing of what follows is
 * applied, so that nothing of it can reach the index, which is the other's now.
 */
async function becomeOwner(
  { history, keeper }: OpenedIndex,
  options: OpenOptions,
): Promise<number> {
  await history.append(() => ({ type: 'owner', ...options.process }), { epoch: undefined });
  const { epoch } = history.state;
  history.listen((entry, effects) => {
    assertOwner(history, epoch);
    return keeper.apply(entry, effects, { isStrict: false });
  });
  return epoch;
}

async function doDuties(repository: Repository, options: OpenOptions): Promise<void> {
  const { parts, state } = repository;
  for (const session of Array.from(state.sessions.values())) await adoptSession(parts, session);
  // No session is open now, so nobody who owns the repository is writing.
  await parts.store.discardUnfinished('');
  await endDeadPins(parts, (pin) => isReaderAlive(options.place, pin));
  await removeDeadReaders(options.place);
  await deleteDoomed(parts);
  await repository.logDamage(
    Array.from(parts.keeper.unreadablePacks, (pack) => ({ pack, frame: -1, error: LOST_PACK })),
  );
}

async function openRead(keyring: Keyring, options: OpenOptions): Promise<Repository> {
  const seat = await ReaderSeat.take(options);
  try {
    const { indexDir } = options.place;
    const damage: DamageNotes = new Map();
    const access = indexAccess(keyring, options, damage);
    if (options.rebuildsIndex === true) await suspectIndex(indexDir);
    else await seat.copyIndex(indexDir);
    const opened = await openIndex(seat.indexDir, access);
    const parts = makeParts(opened, { keyring, options, epoch: undefined });
    return Repository.make({ parts, keyring, options, lock: undefined, seat, damage, opened });
  } catch (error) {
    await seat.leave();
    throw error;
  }
}

function indexAccess(keyring: Keyring, options: OpenOptions, damage: DamageNotes): IndexAccess {
  const { store, random, clock } = options;
  return {
    store,
    keyring,
    random,
    log: new Log({ store, keyring, clock, random }),
    onDamage: (copy) => damage.set(`${copy.pack}/${copy.frame}`, copy),
    followsMarks: options.access === 'own',
    memtableRecords: options.memtableRecords,
    refusesOlderState: options.access === 'own' && options.acceptsOlderState !== true,
  };
}

function makeParts(
  opened: OpeningParts,
  from: {
    readonly keyring: Keyring;
    readonly options: OpenOptions;
    readonly epoch: number | undefined;
  },
): RepositoryParts {
  const { history, keeper } = opened;
  const { keyring, options, epoch } = from;
  const { store, clock, random, version } = options;
  return {
    store,
    keyring,
    clock,
    random,
    version,
    history,
    keeper,
    append: (event) => history.append(event, { epoch }),
    flushIndex: () =>
      history.exclusively(() => {
        if (epoch !== undefined) assertOwner(history, epoch);
        return keeper.flush();
      }),
  };
}
