/**
 * The fold of the log: state + entry → state, and the effects on the index (docs/format.md §5).
 *
 * ```
 *  session-begun ──► open ──packs-sealed──► open ──point(s)-committed | session-ended──► gone
 *  point(s)-committed ──► visible ──point-expired──► kept (while a base or pinned) ──► gone
 *  mark ──► waiting (sessions of its time) ──► ready ──doomed──► gone; pack: known ► doomed ► deleted
 * ```
 *
 * Pure but for the state it changes; deterministic: replaying the same entries gives the same state
 * and the same effects in the same order.
 */
import { HoldfastError } from '#base';
import type { LogEntry, LoggedPoint } from '../log/log-entry.ts';
import type { KnownPoint, RepositoryState } from './state.ts';

/** What an entry does to the index, in order. Roots are hex; packs are pack ids. */
export type Effect =
  | { readonly type: 'packs-added'; readonly packs: readonly string[] }
  | { readonly type: 'packs-doomed'; readonly packs: readonly string[] }
  | {
      readonly type: 'frames-damaged';
      readonly frames: readonly { readonly pack: string; readonly frame: number }[];
    }
  | {
      readonly type: 'frames-repaired';
      readonly frames: readonly { readonly pack: string; readonly frame: number }[];
    }
  | {
      readonly type: 'point-added';
      readonly chain: string;
      readonly point: string;
      readonly previous: string | undefined;
      readonly root: string;
    }
  | {
      readonly type: 'point-removed';
      readonly chain: string;
      readonly point: string;
      readonly previous: string | undefined;
      readonly root: string;
      readonly next: string | undefined;
      readonly nextPoint: string | undefined;
    };

type Entry<T extends LogEntry['type']> = Extract<LogEntry, { type: T }>;

function damaged(entry: LogEntry, why: string): HoldfastError {
  return new HoldfastError('LogDamaged', `log entry ${entry.number} (${entry.type}): ${why}`, {
    details: { number: entry.number },
  });
}

/**
 * Applies `entry`, whose object's hash is `hash`, to `state` (changed in place).
 *
 * @returns the effects on the index, in order.
 * @throws {HoldfastError} `LogDamaged` if the entry cannot follow the state.
 */
export function fold(state: RepositoryState, entry: LogEntry, hash: string): Effect[] {
  if (entry.number !== state.number + 1) throw damaged(entry, `follows ${state.number}`);
  const epoch = entry.type === 'owner' ? state.epoch + 1 : state.epoch;
  if (entry.epoch !== epoch) throw damaged(entry, `has epoch ${entry.epoch}, not ${epoch}`);
  const apply = APPLY[entry.type] as (state: RepositoryState, entry: LogEntry) => Effect[];
  const effects = apply(state, entry);
  state.number = entry.number;
  state.hash = hash;
  state.timeMs = entry.timeMs;
  return effects;
}

type Apply<T extends LogEntry['type']> = (state: RepositoryState, entry: Entry<T>) => Effect[];

const APPLY: { readonly [T in LogEntry['type']]: Apply<T> } = {
  'repository-created': noteFacts,
  owner: noteFacts,
  'key-slot': noteFacts,
  document: noteFacts,
  'session-begun': sessionEffects,
  'packs-sealed': sessionEffects,
  'point-committed': sessionEffects,
  'points-committed': commitTogether,
  'session-ended': sessionEffects,
  'point-expired': expire,
  pinned: pinEffects,
  unpinned: pinEffects,
  mark: reclaimEffects,
  doomed: reclaimEffects,
  deleted: reclaimEffects,
  damage,
  repaired,
};

/** Entries without an effect on the index. */
function noteFacts(
  state: RepositoryState,
  entry: Entry<'repository-created' | 'owner' | 'key-slot' | 'document'>,
): Effect[] {
  if (entry.type === 'repository-created') {
    state.repository = entry.repository;
    state.blockSize = entry.blockSize;
  } else if (entry.type === 'owner') {
    const { host, pid, command, timeMs } = entry;
    state.epoch = entry.epoch;
    state.owner = { host, pid, command, timeMs };
  } else if (entry.type === 'document') {
    state.documents.set(entry.document, { revision: entry.revision, hash: entry.hash });
  } else if (entry.action === 'added') {
    state.keySlots.set(entry.slot, entry.label);
  } else {
    state.keySlots.delete(entry.slot);
  }
  return [];
}

function pinEffects(state: RepositoryState, entry: Entry<'pinned' | 'unpinned'>): Effect[] {
  if (entry.type === 'unpinned') {
    state.pins.delete(entry.pin);
    return releaseKept(state);
  }
  const { pin, points, reader, timeMs } = entry;
  state.pins.set(pin, { pin, points, reader, timeMs });
  return [];
}

function sessionEffects(
  state: RepositoryState,
  entry: Entry<'session-begun' | 'packs-sealed' | 'point-committed' | 'session-ended'>,
): Effect[] {
  if (entry.type === 'session-begun') {
    state.sessions.set(entry.session, {
      session: entry.session,
      begun: entry.number,
      kind: entry.kind,
      point: entry.point,
      item: entry.item,
      bases: entry.bases,
      writers: entry.writers,
      nextCounter: 0,
    });
    return [];
  }
  const session = state.sessions.get(entry.session);
  if (session === undefined) throw damaged(entry, `session ${entry.session} is not open`);
  const effects = addPacks(state, entry);
  for (const pack of entry.packs) {
    session.nextCounter = Math.max(session.nextCounter, pack.counter + 1);
  }
  if (entry.type === 'packs-sealed') return effects;
  if (entry.type === 'point-committed') effects.push(...addPoint(state, entry, entry));
  endSession(state, entry.session);
  effects.push(...releaseKept(state));
  return effects;
}

function commitTogether(state: RepositoryState, entry: Entry<'points-committed'>): Effect[] {
  const effects: Effect[] = [];
  for (const logged of entry.points) {
    if (!state.sessions.has(logged.session)) {
      throw damaged(entry, `session ${logged.session} is not open`);
    }
    effects.push(...addPoint(state, entry, logged));
    endSession(state, logged.session);
  }
  effects.push(...releaseKept(state));
  return effects;
}

function addPacks(
  state: RepositoryState,
  entry: Entry<'packs-sealed' | 'point-committed' | 'session-ended'>,
): Effect[] {
  if (entry.packs.length === 0) return [];
  const ids = entry.packs.map((pack) => packIdOf(entry.session, pack.counter));
  for (const [at, pack] of entry.packs.entries()) {
    const id = ids[at]!;
    if (state.packs.has(id) || state.doomed.has(id)) throw damaged(entry, `pack ${id} is known`);
    state.packs.set(id, { kind: pack.kind, sizeBytes: pack.sizeBytes, number: entry.number });
  }
  return [{ type: 'packs-added', packs: ids }];
}

/** The id of pack `counter` of a session, in hex (docs/format.md §2). */
function packIdOf(session: string, counter: number): string {
  return session + counter.toString(16).padStart(8, '0');
}

function addPoint(
  state: RepositoryState,
  entry: Entry<'point-committed' | 'points-committed'>,
  { point, item, disks, manifestHash }: Omit<LoggedPoint, 'session'>,
): Effect[] {
  if (state.points.has(point)) throw damaged(entry, `point ${point} is there already`);
  const { number, timeMs } = entry;
  state.points.set(point, { point, item, number, timeMs, disks, manifestHash, visible: true });
  return disks.map((disk) => {
    const chain = state.chains.get(disk.chain) ?? [];
    const previous = chain.at(-1);
    chain.push(point);
    state.chains.set(disk.chain, chain);
    return {
      type: 'point-added',
      chain: disk.chain,
      point,
      previous: previous === undefined ? undefined : rootOf(state, previous, disk.chain),
      root: disk.root,
    };
  });
}

function rootOf(state: RepositoryState, point: string, chain: string): string {
  return state.points.get(point)!.disks.find((disk) => disk.chain === chain)!.root;
}

function endSession(state: RepositoryState, session: string): void {
  state.sessions.delete(session);
  for (const mark of state.marks.values()) {
    if (mark.waitsFor.includes(session)) {
      mark.waitsFor = mark.waitsFor.filter((other) => other !== session);
    }
  }
}

function expire(state: RepositoryState, entry: Entry<'point-expired'>): Effect[] {
  for (const id of entry.points) {
    const point = state.points.get(id);
    if (point === undefined || !point.visible) throw damaged(entry, `point ${id} is not visible`);
    point.visible = false;
  }
  return releaseKept(state);
}

/** Removes every point that has expired and that no session and no pin keeps any more. */
function releaseKept(state: RepositoryState): Effect[] {
  const expired = [...state.points.values()].filter((point) => !point.visible);
  if (expired.length === 0) return [];
  const kept = new Set([
    ...[...state.sessions.values()].flatMap((session) => session.bases),
    ...[...state.pins.values()].flatMap((pin) => pin.points),
  ]);
  return expired
    .filter((point) => !kept.has(point.point))
    .flatMap((point) => removePoint(state, point));
}

function removePoint(state: RepositoryState, point: KnownPoint): Effect[] {
  const effects = point.disks.map((disk): Effect => {
    const chain = state.chains.get(disk.chain)!;
    const at = chain.indexOf(point.point);
    const [before, after] = [chain[at - 1], chain[at + 1]];
    chain.splice(at, 1);
    if (chain.length === 0) state.chains.delete(disk.chain);
    return {
      type: 'point-removed',
      chain: disk.chain,
      point: point.point,
      previous: before === undefined ? undefined : rootOf(state, before, disk.chain),
      root: disk.root,
      next: after === undefined ? undefined : rootOf(state, after, disk.chain),
      nextPoint: after,
    };
  });
  state.points.delete(point.point);
  return effects;
}

function reclaimEffects(
  state: RepositoryState,
  entry: Entry<'mark' | 'doomed' | 'deleted'>,
): Effect[] {
  if (entry.type === 'mark') {
    state.marks.set(entry.number, { packs: entry.packs, waitsFor: [...state.sessions.keys()] });
    return [];
  }
  if (entry.type === 'deleted') {
    for (const pack of entry.packs) state.doomed.delete(pack);
    state.reclaimedBytes += entry.sizeBytes;
    return [];
  }
  const mark = state.marks.get(entry.mark);
  if (mark === undefined) throw damaged(entry, `mark ${entry.mark} is not open`);
  if (mark.waitsFor.length > 0) throw damaged(entry, `mark ${entry.mark} still waits`);
  state.marks.delete(entry.mark);
  for (const id of entry.packs) {
    const pack = state.packs.get(id);
    if (pack === undefined) throw damaged(entry, `pack ${id} is not known`);
    state.packs.delete(id);
    state.doomed.set(id, pack);
    state.damage.delete(id);
  }
  return entry.packs.length === 0 ? [] : [{ type: 'packs-doomed', packs: entry.packs }];
}

function damage(state: RepositoryState, entry: Entry<'damage'>): Effect[] {
  const fresh = entry.frames.filter(({ pack, frame }) => {
    const known = state.damage.get(pack);
    return state.packs.has(pack) && known?.has(frame) !== true && known?.has(-1) !== true;
  });
  for (const { pack, frame } of fresh) {
    const frames = state.damage.get(pack) ?? new Set();
    frames.add(frame);
    state.damage.set(pack, frames);
  }
  return fresh.length === 0 ? [] : [{ type: 'frames-damaged', frames: fresh }];
}

/** Takes damage back that turned out to be none, or is gone: an object was put back from a copy. */
function repaired(state: RepositoryState, entry: Entry<'repaired'>): Effect[] {
  const known = entry.frames.filter(({ pack, frame }) => state.damage.get(pack)?.has(frame));
  for (const { pack, frame } of known) {
    const frames = state.damage.get(pack)!;
    frames.delete(frame);
    if (frames.size === 0) state.damage.delete(pack);
  }
  return known.length === 0 ? [] : [{ type: 'frames-repaired', frames: known }];
}
