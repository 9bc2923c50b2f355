/** Until when the tags of a point keep it, by a policy. Pure; times are ms. */
import type { BackupPolicy, Duration } from '../policy/backup-policy.ts';
import { laterDates, type LaterDate } from './later-dates.ts';
import type { PointRetention, Tag, TagClass } from './point-retention.ts';

/** A tag, and until when its class keeps the point; undefined: no rule does. */
export type DatedTag = { readonly class: TagClass; readonly until: number | undefined };

/** A policy ready to date many points; its `policy` undefined: there is none. */
export type Dating = { readonly policy: BackupPolicy | undefined; readonly later: LaterDate };

export function datingBy(policy: BackupPolicy | undefined): Dating {
  return { policy, later: laterDates(policy?.timeZone ?? 'UTC') };
}

/**
 * Each tag of a point by the policy in force (R22, R23); a point without tags by the schedule's own class. Without a
 * policy, by what each had promised when that went.
 */
export function datedTags(
  { policy, later }: Dating,
  { tags }: PointRetention,
  takenAt: number,
): readonly DatedTag[] {
  if (policy === undefined) return tags.map(({ class: of, until }) => ({ class: of, until }));
  const own: readonly Tag[] = tags.length > 0 ? tags : [{ class: ownClass(policy) }];
  return own.map((tag) => ({
    class: tag.class,
    until: untilBy({ policy, later }, { tag, tags: own, takenAt }),
  }));
}

/** Of points that are kept by no day: of the time before tags, of a group's other days, before a VM is replaced (R68). */
export function ownClass({ retention }: BackupPolicy): TagClass {
  return retention.daily === undefined ? 'weekly' : 'daily';
}

function untilBy(
  { policy, later }: { readonly policy: BackupPolicy; readonly later: LaterDate },
  of: { readonly tag: Tag; readonly tags: readonly Tag[]; readonly takenAt: number },
): number | undefined {
  const { tag, tags, takenAt } = of;
  const duration = durationOf(policy, tag.class);
  if (duration !== undefined) return later(takenAt, duration);
  // R22, weekly → daily: points of the weekly schedule keep the date they had.
  const isOfWeeklySchedule =
    tag.class === 'weekly' &&
    !tags.some((other) => other.class === 'daily' || other.class === 'instant');
  return isOfWeeklySchedule && policy.schedule.frequency !== 'weekly' ? tag.until : undefined;
}

function durationOf(
  { retention, instantRestoreDays }: BackupPolicy,
  tagClass: TagClass,
): Duration | undefined {
  if (tagClass === 'instant') return { count: instantRestoreDays, unit: 'days' };
  return retention[tagClass]?.duration;
}
