/**
 * What is promised of points and by policies, and what of it a change would not keep (R25, R62; decision 0016). Pure: of
 * the same change and points as the preview and the change itself. That clean-up rests while protection is stopped
 * (R54) is no promise: the dates go on.
 */
import type { BackupPolicy, Duration } from '../policy/backup-policy.ts';
import type { RetentionChange } from './change.ts';
import { datingBy, type Dating } from './expiry-dates.ts';
import { dateOf, type RetainedPoint } from './plan.ts';
import { TAG_CLASSES, type TagClass } from './point-retention.ts';

/** Until when a point is promised; ms. A pin promises for ever: `Infinity`. */
export type Promised = { readonly id: string; readonly until: number };

/** What a change makes of a promise. */
export type ChangedPromise = Promised & {
  /** Undefined: nothing keeps it then. */
  readonly changedTo: number | undefined;
};

/** Of points that are promised beyond `now`, in their order; of soft-deleted ones their days. */
export function promisesOf(
  points: readonly RetainedPoint[],
  { dating, now }: { readonly dating: Dating; readonly now: number },
): readonly Promised[] {
  return points.flatMap((point) => {
    const rules = untilOf(dating, point);
    const until = Math.max(rules ?? -Infinity, point.retention.lost?.until ?? -Infinity);
    return until > now ? [{ id: point.id, until }] : [];
  });
}

/** The first promise that the change would not keep: its point would go earlier, or be soft-deleted. */
export function brokenPromise(
  points: Changed,
  change: Pick<RetentionChange, 'before' | 'after' | 'now'>,
): ChangedPromise | undefined {
  return changesOf(points, change).find(
    ({ until, changedTo }) => changedTo === undefined || changedTo < until,
  );
}

/** The first point that the change would keep longer. */
export function longerPromise(
  points: Changed,
  change: Pick<RetentionChange, 'before' | 'after' | 'now'>,
): ChangedPromise | undefined {
  return changesOf(points, change).find(
    ({ until, changedTo }) => changedTo !== undefined && changedTo > until,
  );
}

/** A class of points that a policy would keep less long. */
export type ReducedClass = {
  readonly class: TagClass;
  readonly before: Duration;
  /** Undefined: not at all. */
  readonly after: Duration | undefined;
};

/**
 * Class by class, how long: a class less, or a shorter one. When points are taken, and which of them a class is of, is
 * the schedule's, and no reduction.
 */
export function reducedClass(before: BackupPolicy, after: BackupPolicy): ReducedClass | undefined {
  for (const of of TAG_CLASSES) {
    const [had, has] = [durationIn(before, of), durationIn(after, of)];
    // A schedule without points that only the instant-restore days keep has no use for these days.
    if (had === undefined || (of === 'instant' && has === undefined)) continue;
    // Of one class every policy counts in the same unit (R4).
    if (has === undefined || has.count < had.count) return { class: of, before: had, after: has };
  }
  return undefined;
}

type Changed = {
  /** In the same order before and after. */
  readonly before: readonly RetainedPoint[];
  readonly after: readonly RetainedPoint[];
};

function changesOf(
  { before, after }: Changed,
  change: Pick<RetentionChange, 'before' | 'after' | 'now'>,
): readonly ChangedPromise[] {
  const dating = {
    before: change.before.dating ?? datingBy(change.before.policy),
    after: change.after.dating ?? datingBy(change.after.policy),
  };
  return before.flatMap((point, at) => {
    const until = untilOf(dating.before, point);
    if (until === undefined || until <= change.now) return [];
    return [{ id: point.id, until, changedTo: untilOf(dating.after, after[at]!) }];
  });
}

/** Who deletes a point by hand takes its promise back. */
function untilOf(dating: Dating, point: RetainedPoint): number | undefined {
  const { isPinned, lost } = point.retention;
  if (isPinned === true) return Infinity;
  return lost?.by === 'hand' ? undefined : dateOf(dating, point).until;
}

function durationIn(
  { retention, schedule, instantRestoreDays }: BackupPolicy,
  of: TagClass,
): Duration | undefined {
  if (of !== 'instant') return retention[of]?.duration;
  return schedule.frequency === 'hourly' ? { count: instantRestoreDays, unit: 'days' } : undefined;
}
