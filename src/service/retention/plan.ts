/**
 * What becomes of each recovery point of an item, and why (decision 0011, invariant 3). Pure: the list of points, the
 * preview and the job that expires them all show or do what this says.
 *
 * ```
 *            its date comes                            look
 *   kept ───────────────────► (removed: may go) ───────────────► gone
 *    │ ▲                          ▲
 *    │ │ retention raised,        │ the vault's days are over
 *    │ │ undeleted                │
 *    ▼ │                          │
 *   soft-deleted ─────────────────┘         while the newest, pinned, or its item stopped or deleted: kept
 * ```
 */
import type { ItemState } from '../items/item-states.ts';
import type { PointOrigin } from '../points/point-facts.ts';
import type { BackupPolicy } from '../policy/backup-policy.ts';
import { datedTags, datingBy, type DatedTag, type Dating } from './expiry-dates.ts';
import type { PointRetention, TagClass } from './point-retention.ts';

/** What decides: a class of its tags, or else. */
export type KeptBy =
  | TagClass
  /** The date that was asked for when it was taken (R20). */
  | 'asked'
  | 'extended'
  | 'pinned'
  /** The item's newest (R32). */
  | 'latest'
  /** Clean-up rests (R31): protection is stopped for ever, the item is soft-deleted. */
  | 'stopped'
  | 'itemSoftDeleted'
  /** Soft-deleted: lost by a change of policy (R24), deleted by hand. */
  | 'lostByPolicy'
  | 'deletedByHand'
  /** No rule of the policy keeps a point of its tags. */
  | 'nothing';

export type RetainedItem = {
  readonly state: ItemState;
  /** Undefined: it has none. */
  readonly policy: BackupPolicy | undefined;
  /** By that policy, for whoever plans many items of it; absent: made here. */
  readonly dating?: Dating;
};

export type RetainedPoint = {
  readonly id: string;
  readonly takenAt: number;
  readonly origin: PointOrigin;
  /** Of an on-demand one (R20); undefined of others. */
  readonly askedUntil: number | undefined;
  readonly retention: PointRetention;
};

export type PlannedPoint = {
  readonly id: string;
  readonly takenAt: number;
  readonly tags: readonly DatedTag[];
  readonly fate: 'kept' | 'softDeleted' | 'removed';
  /** Of a removed one: what had kept it. */
  readonly keptBy: KeptBy;
  /** When it goes by itself; in the past: it may go now, or is only kept as the newest. Undefined: no date. */
  readonly expiresAt: number | undefined;
  /** Of a soft-deleted one: when it goes. */
  readonly softDeletedUntil: number | undefined;
};

/** In the order of `points`. @param now ms. */
export function planRetention(
  item: RetainedItem,
  points: readonly RetainedPoint[],
  now: number,
): readonly PlannedPoint[] {
  const newest = newestOf(points, now);
  const dating = item.dating ?? datingBy(item.policy);
  return points.map((point) => planPoint(item, { point, isNewest: point === newest, now, dating }));
}

type Question = {
  readonly point: RetainedPoint;
  readonly isNewest: boolean;
  readonly now: number;
  readonly dating: Dating;
};

function planPoint(item: RetainedItem, question: Question): PlannedPoint {
  const { point, isNewest, now, dating } = question;
  const { id, takenAt, retention } = point;
  const { tags, until, by } = dateOf(dating, point);
  const of = { id, takenAt, tags, softDeletedUntil: undefined };
  const always = keptAlways(item, question);
  if (always !== undefined) return { ...of, fate: 'kept', keptBy: always, expiresAt: undefined };
  const isOver = until === undefined || until <= now;
  const { lost } = retention;
  const isLost = lost !== undefined && (lost.by === 'hand' || isOver);
  if (isNewest) {
    return { ...of, fate: 'kept', keptBy: isLost || isOver ? 'latest' : by, expiresAt: until };
  }
  if (isLost) {
    const kept = lost.by === 'hand' ? ('deletedByHand' as const) : ('lostByPolicy' as const);
    const lostUntil = { ...of, keptBy: kept, expiresAt: lost.until };
    if (lost.until <= now) return { ...lostUntil, fate: 'removed' };
    return { ...lostUntil, fate: 'softDeleted', softDeletedUntil: lost.until };
  }
  return { ...of, fate: isOver ? 'removed' : 'kept', keptBy: by, expiresAt: until };
}

/** What keeps it without a date. */
function keptAlways(
  { state }: RetainedItem,
  { point: { retention }, isNewest }: Question,
): KeptBy | undefined {
  const rests = restOf(state);
  // R54: points that are kept for ever go when somebody deletes them.
  const isDeleted = rests === 'stopped' && retention.lost?.by === 'hand' && !isNewest;
  if (rests !== undefined && !isDeleted) return rests;
  return retention.isPinned === true ? 'pinned' : undefined;
}

/** Until when rules and wishes keep a point, whatever its item's state; undefined: nothing does. */
export function dateOf(
  dating: Dating,
  { takenAt, origin, askedUntil, retention }: RetainedPoint,
): { readonly tags: readonly DatedTag[]; readonly until: number | undefined; readonly by: KeptBy } {
  const tags = origin === 'on-demand' ? [] : datedTags(dating, retention, takenAt);
  const dates: readonly { readonly until: number | undefined; readonly by: KeptBy }[] = [
    ...tags.map(({ class: by, until }) => ({ until, by })),
    ...(origin === 'on-demand' ? [{ until: askedUntil, by: 'asked' as const }] : []),
    ...(retention.extendedTo === undefined
      ? []
      : [{ until: retention.extendedTo, by: 'extended' as const }]),
  ];
  let longest: { readonly until: number | undefined; readonly by: KeptBy } = {
    until: undefined,
    by: 'nothing',
  };
  // R17: of several the longest; of equal ones the higher class, which comes later.
  for (const one of dates) {
    if (one.until !== undefined && one.until >= (longest.until ?? -Infinity)) longest = one;
  }
  return { tags, ...longest };
}

/** R31, R54, R59. */
function restOf(state: ItemState): 'stopped' | 'itemSoftDeleted' | undefined {
  if (state === 'ProtectionStopped') return 'stopped';
  return state === 'SoftDeleted' ? 'itemSoftDeleted' : undefined;
}

/** One that was taken while the clock was ahead is not the newest before that time comes. */
export function newestOf(points: readonly RetainedPoint[], now: number): RetainedPoint | undefined {
  const past = points.filter(({ takenAt }) => takenAt <= now);
  let newest: RetainedPoint | undefined;
  for (const point of past.length > 0 ? past : points) {
    if (newest === undefined || isNewer(point, newest)) newest = point;
  }
  return newest;
}

function isNewer(a: RetainedPoint, b: RetainedPoint): boolean {
  if (a.takenAt !== b.takenAt) return a.takenAt > b.takenAt;
  return a.id.length === b.id.length ? a.id > b.id : a.id.length > b.id.length;
}
