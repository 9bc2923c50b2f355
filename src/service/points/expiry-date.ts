/** When a scheduled point expires by the policy's shortest rule; tags and longer rules build on it (R17). */
import { DateTime, type DurationLike } from 'luxon';
import type { BackupPolicy, Duration } from '../policy/backup-policy.ts';
import { zoneOf } from '../policy/time-zones.ts';

/** The same wall-clock time, so many days, weeks, months or years later in the policy's time zone; ms. */
export function expiryDate(policy: BackupPolicy, takenAt: number): number {
  const rule = policy.retention.daily ?? policy.retention.weekly;
  if (rule === undefined) throw new TypeError('a policy keeps daily or weekly points (R15)');
  const taken = DateTime.fromMillis(takenAt, { zone: zoneOf(policy.timeZone) });
  return taken.plus(asLuxon(rule.duration)).toMillis();
}

function asLuxon({ count, unit }: Duration): DurationLike {
  return { [unit]: count };
}
