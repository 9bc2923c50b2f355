/**
 * What retention may be: R4 (how long), R15 (which rules go with which schedule), R16 (dates, weeks,
 * weekdays, months).
 *
 *     schedule   daily rule   weekly rule             monthly, yearly rule
 *     daily      required     any weekdays            either format
 *     hourly     required     any weekdays            either format
 *     weekly     forbidden    required, its weekdays  weekly format, some of its weekdays
 */
import {
  secondsOfDay,
  type DurationUnit,
  type MonthlyRetention,
  type Retention,
  type RetentionDays,
  type RetentionRule,
  type Schedule,
  type Weekday,
} from './backup-policy.ts';
import { shown, words, type PolicyFault } from './faults.ts';
import { listFaults, rangeFault } from './schedule-rules.ts';

type RuleName = keyof Retention;

/** R4 */
const LIMITS: Readonly<Record<RuleName, { unit: DurationUnit; min: number; max: number }>> = {
  daily: { unit: 'days', min: 7, max: 9999 },
  weekly: { unit: 'weeks', min: 1, max: 5163 },
  monthly: { unit: 'months', min: 1, max: 1188 },
  yearly: { unit: 'years', min: 1, max: 99 },
};
const RULE_NAMES = Object.keys(LIMITS) as RuleName[];
/** R16: every month has them. */
const LAST_DATE = 28;

const fault = (field: string, found: unknown, allowed: string): PolicyFault => ({
  code: 'BMSUserErrorInvalidPolicyInput',
  field: `retention.${field}`,
  found: shown(found),
  allowed,
});

/** Durations and lists, whatever the schedule: R4, R16. */
export function retentionFaults(retention: Retention): PolicyFault[] {
  const { weekly, monthly, yearly } = retention;
  return [
    ...RULE_NAMES.flatMap((name) => durationFaults(name, retention[name])),
    ...(weekly ? listFaults('retention.weekly.weekdays', weekly.weekdays, 'weekday') : []),
    ...(monthly ? dayFaults('monthly', monthly.days) : []),
    ...(yearly ? dayFaults('yearly', yearly.days) : []),
    ...(yearly ? listFaults('retention.yearly.months', yearly.months, 'month') : []),
  ];
}

/** R15: what retention needs to be for its schedule. */
export function retentionForScheduleFaults(
  retention: Retention,
  schedule: Schedule,
): PolicyFault[] {
  const { daily, weekly, monthly, yearly } = retention;
  if (schedule.frequency === 'weekly') {
    return [
      ...(daily ? [fault('daily', daily.duration, 'no daily rule with a weekly schedule')] : []),
      ...(weekly
        ? sameWeekdays(weekly.weekdays, schedule.weekdays)
        : [fault('weekly', undefined, 'a weekly rule, which a weekly schedule needs')]),
      ...(monthly ? daysOfSchedule('monthly', monthly, schedule.weekdays) : []),
      ...(yearly ? daysOfSchedule('yearly', yearly, schedule.weekdays) : []),
      ...timeFaults(retention, schedule.runTimes),
    ];
  }
  return [
    ...(daily
      ? []
      : [
          fault(
            'daily',
            undefined,
            `a daily rule, which ${schedule.frequency === 'hourly' ? 'an hourly' : 'a daily'} schedule needs`,
          ),
        ]),
    ...(schedule.frequency === 'daily' ? timeFaults(retention, schedule.runTimes) : []),
  ];
}

function durationFaults(name: RuleName, rule: RetentionRule | undefined): PolicyFault[] {
  if (rule === undefined) return [];
  const { unit, min, max } = LIMITS[name];
  if (rule.duration.unit !== unit) {
    return [fault(`${name}.duration.unit`, rule.duration.unit, unit)];
  }
  return rangeFault(`retention.${name}.duration`, rule.duration.count, {
    min,
    max,
    noun: unit,
    code: 'UserErrorInvalidRetentionDuration',
  });
}

function dayFaults(name: RuleName, days: RetentionDays): PolicyFault[] {
  const field = `retention.${name}.days`;
  if (days.format === 'weekly') {
    return [
      ...listFaults(`${field}.weeks`, days.weeks, 'week of the month'),
      ...listFaults(`${field}.weekdays`, days.weekdays, 'weekday'),
    ];
  }
  const outside = days.dates.filter((date) => date !== 'last' && (date < 1 || date > LAST_DATE));
  return [
    ...listFaults(`${field}.dates`, days.dates, 'date'),
    ...outside.map((date) => fault(`${name}.days.dates`, date, `1 to ${LAST_DATE}, last`)),
  ];
}

function sameWeekdays(weekdays: readonly Weekday[], ofSchedule: readonly Weekday[]): PolicyFault[] {
  const isSame =
    weekdays.length === ofSchedule.length && weekdays.every((day) => ofSchedule.includes(day));
  if (isSame) return [];
  return [fault('weekly.weekdays', weekdays, `those of the schedule: ${words(ofSchedule)}`)];
}

function daysOfSchedule(
  name: RuleName,
  { days }: MonthlyRetention,
  ofSchedule: readonly Weekday[],
): PolicyFault[] {
  if (days.format === 'daily') {
    return [fault(`${name}.days.format`, 'daily', 'weekly, with a weekly schedule')];
  }
  if (days.weekdays.every((day) => ofSchedule.includes(day))) return [];
  return [
    fault(`${name}.days.weekdays`, days.weekdays, `those of the schedule: ${words(ofSchedule)}`),
  ];
}

/** Each rule has one time, that of the schedule; a schedule with several is a fault of its own. */
function timeFaults(retention: Retention, runTimes: readonly string[]): PolicyFault[] {
  const [runTime] = runTimes;
  if (runTime === undefined || runTimes.length > 1) return [];
  return RULE_NAMES.flatMap((name) => {
    const times = retention[name]?.times;
    if (times === undefined) return [];
    const [time] = times;
    if (times.length === 1 && secondsOfDay(time!) === secondsOfDay(runTime)) return [];
    return [fault(`${name}.times`, times, `that of the schedule: ${runTime}`)];
  });
}
