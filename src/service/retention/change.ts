/**
 * What points must remember of a change of their item's policy or state (R22–R24, R54): what the policy that goes had
 * promised, and which points the change loses. Pure.
 */
import type { BackupPolicy } from '../policy/backup-policy.ts';
import { datedTags, datingBy, type Dating } from './expiry-dates.ts';
import { dateOf, planRetention, type RetainedItem, type RetainedPoint } from './plan.ts';
import type { PointRetention } from './point-retention.ts';

export type RetentionChange = {
  readonly before: RetainedItem;
  readonly after: RetainedItem;
  readonly now: number;
  /** Of the vault; undefined: soft delete is off. */
  readonly softDeleteDays: number | undefined;
};

export const DAY_MS = 24 * 60 * 60 * 1000;

/** The points as they are after the change, in their order; one that has nothing new to remember is the same object. */
export function changedPoints(
  points: readonly RetainedPoint[],
  change: RetentionChange,
): readonly RetainedPoint[] {
  const dating = change.before.dating ?? datingBy(change.before.policy);
  const promised = points.map((point) => withPromises(point, { ...change, dating }));
  const isGoing = planRetention(change.after, promised, change.now).map(
    ({ fate, keptBy }) => fate !== 'kept' || keptBy === 'latest',
  );
  return promised.map((point, at) => withLoss(point, { ...change, dating, isGoing: isGoing[at]! }));
}

/** Where a policy goes, each tag remembers until when it would have kept the point. */
function withPromises(
  point: RetainedPoint,
  { before, after, dating }: RetentionChange & { readonly dating: Dating },
): RetainedPoint {
  const { retention, takenAt, origin } = point;
  if (origin === 'on-demand' || before.policy === undefined) return point;
  if (after.policy !== undefined && !dropsWeekly(before.policy, after.policy)) return point;
  const tags = datedTags(dating, retention, takenAt).map(({ class: of, until }) =>
    until === undefined ? { class: of } : { class: of, until },
  );
  return remembering(point, { ...retention, tags });
}

/** Of the rules that a policy drops only this one leaves a promise behind (R22). */
function dropsWeekly(before: BackupPolicy, after: BackupPolicy): boolean {
  const isDropped = before.retention.weekly !== undefined && after.retention.weekly === undefined;
  return isDropped && after.schedule.frequency !== 'weekly';
}

/** R24: what the old rules would keep and the new ones do not is soft-deleted; what these keep is back. */
function withLoss(
  point: RetainedPoint,
  of: RetentionChange & { readonly dating: Dating; readonly isGoing: boolean },
): RetainedPoint {
  const { dating, after, now, softDeleteDays, isGoing } = of;
  const { lost, ...rest } = point.retention;
  if (lost?.by === 'hand' || isResting(after)) return point;
  if (!isGoing) return lost === undefined ? point : remembering(point, rest);
  if (lost !== undefined || softDeleteDays === undefined) return point;
  const { until } = dateOf(dating, point);
  const isLoss = until !== undefined && until > now;
  if (!isLoss) return point;
  const at = now + softDeleteDays * DAY_MS;
  return remembering(point, { ...rest, lost: { until: at, by: 'policy' } });
}

function isResting({ state }: RetainedItem): boolean {
  return state === 'ProtectionStopped' || state === 'SoftDeleted';
}

function remembering(point: RetainedPoint, retention: PointRetention): RetainedPoint {
  const isSame = JSON.stringify(retention) === JSON.stringify(point.retention);
  return isSame ? point : { ...point, retention };
}
