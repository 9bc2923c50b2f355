/** Random policies: every schedule, both formats of monthly and yearly rules, time zones with and without DST. */
import type {
  BackupPolicy,
  PolicyKind,
  Retention,
  RetentionDays,
  Schedule,
  Weekday,
} from '../../src/service/policy/backup-policy.ts';
import { MONTHS, WEEKDAYS, WEEKS_OF_MONTH } from '../../src/service/policy/backup-policy.ts';
import { ZONES } from './calendar.ts';

/** @returns a whole number below `limit`. */
export type Draw = (limit: number) => number;

export function pick<Of>(draw: Draw, all: readonly Of[]): Of {
  return all[draw(all.length)]!;
}

/** Some of them, at least one, in their order. */
function some<Of>(draw: Draw, all: readonly Of[]): readonly Of[] {
  const chosen = all.filter(() => draw(3) === 0);
  return chosen.length > 0 ? chosen : [pick(draw, all)];
}

export function randomPolicy(draw: Draw, kind: PolicyKind): BackupPolicy {
  const schedule = randomSchedule(draw, kind);
  return {
    kind,
    timeZone: pick(draw, Object.keys(ZONES)),
    schedule,
    instantRestoreDays: instantDays(draw, kind, schedule),
    retention: randomRetention(draw, schedule),
  };
}

function randomSchedule(draw: Draw, kind: PolicyKind): Schedule {
  const time = pick(draw, ['00:00', '01:30', '02:00', '02:30', '03:00', '12:00', '23:30']);
  const frequency = pick(draw, [
    'daily',
    'daily',
    'weekly',
    kind === 'enhanced' ? 'hourly' : 'daily',
  ]);
  if (frequency === 'weekly')
    return { frequency, weekdays: some(draw, WEEKDAYS), runTimes: [time] };
  if (frequency !== 'hourly') return { frequency: 'daily', runTimes: [time] };
  const intervalHours = pick(draw, [4, 6, 8, 12]);
  const windowHours = Math.max(intervalHours, pick(draw, [4, 8, 12, 23, 24]));
  return {
    frequency,
    intervalHours,
    windowHours,
    windowStart: pick(draw, ['00:00', '08:00', '16:00']),
  };
}

function instantDays(draw: Draw, kind: PolicyKind, schedule: Schedule): number {
  if (schedule.frequency === 'weekly') return kind === 'standard' ? 5 : 5 + draw(20);
  return 1 + draw(5);
}

function randomRetention(draw: Draw, schedule: Schedule): Retention {
  const isWeekly = schedule.frequency === 'weekly';
  const times = schedule.frequency === 'hourly' ? [schedule.windowStart] : schedule.runTimes;
  const weekdays = isWeekly ? schedule.weekdays : some(draw, WEEKDAYS);
  const rule = <Unit extends string>(count: number, unit: Unit) => ({
    times,
    duration: { count, unit },
  });
  const days = (): RetentionDays => randomDays(draw, isWeekly ? weekdays : undefined);
  return {
    ...(isWeekly ? {} : { daily: rule(7 + draw(30), 'days') }),
    ...(isWeekly || draw(2) === 0 ? { weekly: { ...rule(1 + draw(12), 'weeks'), weekdays } } : {}),
    ...(draw(2) === 0 ? { monthly: { ...rule(1 + draw(14), 'months'), days: days() } } : {}),
    ...(draw(3) === 0
      ? { yearly: { ...rule(1 + draw(3), 'years'), days: days(), months: some(draw, MONTHS) } }
      : {}),
  };
}

/** @param weekdays of a weekly schedule, which has no other format. */
function randomDays(draw: Draw, weekdays: readonly Weekday[] | undefined): RetentionDays {
  if (weekdays === undefined && draw(2) === 0) {
    const dates = some(draw, [1, 2, 14, 28, 'last'] as const);
    return { format: 'daily', dates };
  }
  const weeks = some(draw, WEEKS_OF_MONTH);
  return { format: 'weekly', weeks, weekdays: some(draw, weekdays ?? WEEKDAYS) };
}
