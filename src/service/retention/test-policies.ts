/** Policies for the tests of retention, from the few things that matter to it. */
import type { BackupPolicy, Retention, Schedule, Weekday } from '../policy/backup-policy.ts';

const RUN_TIME = '02:00';
const times = [RUN_TIME];

export const DAILY: Schedule = { frequency: 'daily', runTimes: times };
/** R10's: 16 20 | 0 4 8 12. */
export const HOURLY: Schedule = {
  frequency: 'hourly',
  intervalHours: 4,
  windowStart: '16:00',
  windowHours: 24,
};

export function weeklyOn(...weekdays: readonly Weekday[]): Schedule {
  return { frequency: 'weekly', weekdays, runTimes: times };
}

type Rules = {
  readonly days?: number;
  readonly weeks?: number;
  readonly weekdays?: readonly Weekday[];
  readonly months?: number;
  readonly monthly?: NonNullable<Retention['monthly']>['days'];
  readonly years?: number;
  readonly yearly?: Pick<NonNullable<Retention['yearly']>, 'days' | 'months'>;
};

/** Rules without days of their own are for the days of a weekly schedule, else Sundays, the first date, and the first of January. */
export function policyOf(schedule: Schedule, rules: Rules, timeZone = 'UTC'): BackupPolicy {
  const { days, weeks, months, years } = rules;
  const isWeekly = schedule.frequency === 'weekly';
  const { weekdays = isWeekly ? schedule.weekdays : ['sunday'], monthly = FIRST } = rules;
  const { yearly = { days: FIRST, months: ['january'] as const } } = rules;
  return {
    kind: schedule.frequency === 'hourly' ? 'enhanced' : 'standard',
    timeZone,
    schedule,
    instantRestoreDays: isWeekly ? 5 : 2,
    retention: {
      ...(days && { daily: { times, duration: { count: days, unit: 'days' } } }),
      ...(weeks && { weekly: { times, weekdays, duration: { count: weeks, unit: 'weeks' } } }),
      ...(months && {
        monthly: { times, days: monthly, duration: { count: months, unit: 'months' } },
      }),
      ...(years && { yearly: { times, ...yearly, duration: { count: years, unit: 'years' } } }),
    },
  };
}

const FIRST = { format: 'daily', dates: [1] } as const;
