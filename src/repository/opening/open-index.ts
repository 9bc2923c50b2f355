/**
 * Brings log state and index together (invariant 9): opens the index, reads the log up to its position,
 * compares hashes, replays the rest; or rebuilds, where there is no index that can be used.
 *
 * ```
 *   index opens, its hash is in the log ──► replay what follows ──► ready
 *   absent, damaged, of another history, too old to replay ──► rebuild from state, packs and maps ──► ready
 *   it has seen more than the log has ──► owner: RepositoryRolledBack; reader: rebuild, and a warning
 * ```
 */
import { access as lookAt, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError } from '#base';
import { BlockIndex } from '../block-index/index.ts';
import { IndexKeeper, type KeeperOptions } from '../counting/index-keeper.ts';
import type { Effect } from '../history/fold.ts';
import { History, type HistoryAccess } from '../history/history.ts';
import type { RepositoryState } from '../history/state.ts';

/** Why an index was rebuilt; `reason` is for people. */
export type Rebuilt = {
  /** `damaged`: it could not be used; `older state`: it has seen more than the log has. */
  readonly kind: 'absent' | 'incomplete' | 'on request' | 'damaged' | 'older state';
  readonly reason: string;
};

const REBUILT_AS_ABSENT: Rebuilt = { kind: 'absent', reason: 'there was none' };
const REBUILT_TO_COMPLETE: Rebuilt = {
  kind: 'incomplete',
  reason: 'pages that it lacked are back',
};
export const REBUILT_ON_REQUEST: Rebuilt = { kind: 'on request', reason: 'it was asked for' };

/** Whether an index was rebuilt because something was wrong with it. */
export function wasIndexDamaged(rebuilt: Rebuilt | undefined): boolean {
  return rebuilt?.kind === 'damaged' || rebuilt?.kind === 'older state';
}

/** In the index's folder: a reader has met damage in it. */
const SUSPECT = 'suspect';

export type IndexAccess = HistoryAccess & {
  readonly onDamage: KeeperOptions['onDamage'];
  readonly followsMarks: boolean;
  readonly memtableRecords?: number | undefined;
  /** Refuses a log that is shorter than the index remembers it. */
  readonly refusesOlderState: boolean;
};

export type OpenedIndex = {
  readonly history: History;
  readonly keeper: IndexKeeper;
  /** Why the index was rebuilt; undefined: it was not. */
  readonly rebuilt: Rebuilt | undefined;
};

/** Opens the index in `dir`, or rebuilds it there. Both follow the log from then on. */
export async function openIndex(dir: string, access: IndexAccess): Promise<OpenedIndex> {
  try {
    const opened = await openExisting(dir, access);
    if (!('keeper' in opened)) {
      return { ...(await rebuildIndex(dir, access)), rebuilt: opened };
    }
    if (!mayBeCompleted(opened)) return { ...opened, rebuilt: undefined };
    await opened.keeper.close();
    return { ...(await rebuildIndex(dir, access)), rebuilt: REBUILT_TO_COMPLETE };
  } catch (error) {
    if (!isHoldfastError(error, 'IndexDamaged')) throw error;
    const reason =
      error.details['reason'] === 'absent' ? REBUILT_AS_ABSENT : damaged(error.message);
    return { ...(await rebuildIndex(dir, access)), rebuilt: reason };
  }
}

type Opened = { readonly history: History; readonly keeper: IndexKeeper };

/** @returns why it cannot be used, if it can be read but is not of this log. */
async function openExisting(dir: string, access: IndexAccess): Promise<Opened | Rebuilt> {
  // Before anything else: opening removes what the manifest does not name.
  const isSuspect = await isThere(join(dir, SUSPECT));
  const position = await positionOf(dir);
  if (position.number < 0) return damaged('it was never finished');
  const history = await History.open(access, { upTo: position.number });
  await history.catchUp({ upTo: position.number });
  const { state } = history;
  if (state.number < position.number) {
    if (access.refusesOlderState) throw rolledBack(state.number, position.number);
    const reason = `${shortLog(state.number, position.number)}, and what came after it is lost`;
    return { kind: 'older state', reason };
  }
  if (isSuspect) return damaged('a reader has met damage in it');
  if (state.hash !== position.hash)
    return damaged('it belongs to another history of the repository');
  const keeper = await IndexKeeper.open(dir, keeperOptions(access, history));
  try {
    history.listen((entry, effects) => keeper.apply(entry, effects, { isStrict: true }));
    await history.catchUp();
    await keeper.loadMarks();
  } catch (error) {
    await keeper.close();
    throw error;
  }
  follow(history, keeper);
  return { history, keeper };
}

function damaged(reason: string): Rebuilt {
  return { kind: 'damaged', reason };
}

function shortLog(end: number, seen: number): string {
  return (
    `the log ends with entry ${end}, but this index has seen entry ${seen}: ` +
    'the repository was put back to an older state'
  );
}

function rolledBack(end: number, seen: number): HoldfastError {
  const advice =
    `put the entries of log/ from ${end + 1} on back, with their packs and points, from a copy of the ` +
    'repository; or give up what came after entry ' +
    `${end}: rebuild-index --accept-older-state`;
  return new HoldfastError(
    'RepositoryRolledBack',
    `${shortLog(end, seen)}. Nothing was changed: ${advice}`,
    {
      details: { entry: end, seen },
    },
  );
}

/** Has the next owner make the index anew. Where nothing can be written, it finds the damage itself. */
export async function suspectIndex(dir: string): Promise<void> {
  await writeFile(join(dir, SUSPECT), '').catch(() => {});
}

/**
 * Before an index that is in use is made anew on request: what it remembers of the log must not be lost
 * by that. One that cannot be read remembers nothing.
 *
 * @throws {HoldfastError} `RepositoryRolledBack`.
 */
export async function refuseOlderState(dir: string, access: IndexAccess): Promise<void> {
  if (!access.refusesOlderState) return;
  let seen: number;
  try {
    seen = (await positionOf(dir)).number;
  } catch (error) {
    if (isHoldfastError(error, 'IndexDamaged')) return;
    throw error;
  }
  const history = await History.open(access, { upTo: seen });
  await history.catchUp({ upTo: seen });
  const { number } = history.state;
  if (number < seen) throw rolledBack(number, seen);
}

async function isThere(path: string): Promise<boolean> {
  return await lookAt(path).then(
    () => true,
    () => false,
  );
}

/** An index that was made while pages could not be read, and no page is known to be lost any more. */
function mayBeCompleted({ history, keeper }: Opened): boolean {
  const { damage, packs } = history.state;
  return keeper.isIncomplete && ![...damage.keys()].some((id) => packs.get(id)?.kind === 'page');
}

async function positionOf(dir: string): Promise<{ number: number; hash: string }> {
  const index = await BlockIndex.open(dir, { isPackGone: () => false, memtableRecords: 16 });
  try {
    return index.position;
  } finally {
    await index.close();
  }
}

/** From here on entries are new: what cannot be read then is damage, not an old index. */
function follow(history: History, keeper: IndexKeeper): void {
  history.listen((entry, effects) => keeper.apply(entry, effects, { isStrict: false }));
}

function keeperOptions(access: IndexAccess, history: History): KeeperOptions {
  const { store, keyring, onDamage, followsMarks, memtableRecords } = access;
  return {
    store,
    keyring,
    onDamage,
    followsMarks,
    state: history.state,
    refresh: async () => {
      const before = history.state.number;
      await history.catchUp();
      return history.state.number !== before;
    },
    ...(memtableRecords === undefined ? {} : { memtableRecords }),
  };
}

/**
 * Makes the index in `dir` anew from the log's state, the packs' footers and the maps; the old one
 * serves until the new one is whole. The same repository gives the same bytes.
 */
export async function rebuildIndex(dir: string, access: IndexAccess): Promise<Opened> {
  const history = await History.open(access);
  await history.catchUp();
  const keeper = await IndexKeeper.create(`${dir}.new`, keeperOptions(access, history));
  try {
    const { number, hash } = history.state;
    const entry = { number, hash, type: 'owner' } as const;
    await keeper.apply(entry, effectsOfState(history.state), { isStrict: false });
    await keeper.flush();
    await keeper.index.mergeAll();
    await keeper.index.moveTo(dir);
    await keeper.loadMarks();
  } catch (error) {
    await keeper.close();
    throw error;
  }
  follow(history, keeper);
  return { history, keeper };
}

/** What an empty index needs to become the one that belongs to `state`. */
export function effectsOfState(state: RepositoryState): Effect[] {
  const effects: Effect[] = [{ type: 'packs-added', packs: [...state.packs.keys()] }];
  for (const chain of [...state.chains.keys()].sort()) {
    let previous: string | undefined;
    for (const point of state.chains.get(chain)!) {
      const { root } = state.points.get(point)!.disks.find((disk) => disk.chain === chain)!;
      effects.push({ type: 'point-added', chain, point, previous, root });
      previous = root;
    }
  }
  return effects;
}
