/** What a schedule may be: R8 (one run time, on a half hour), R9 (hourly windows), R33 (snapshot days). */
import type { ErrorCode } from '#base';
import {
  secondsOfDay,
  type HourlySchedule,
  type PolicyKind,
  type Schedule,
  type TimeOfDay,
} from './backup-policy.ts';
import { shown, words, type PolicyFault } from './faults.ts';

const HALF_HOUR_SECONDS = 1800;
const INTERVAL_HOURS = [4, 6, 8, 12] as const;
const MIN_WINDOW_HOURS = 4;
/** Azure's portal shows 24, its clients stop at 23. */
const MAX_WINDOW_HOURS = 24;
/** The last start of a window. */
const LATEST_WINDOW_START: TimeOfDay = '19:30';
/** R33, by the interval of an hourly schedule. */
const MAX_INSTANT_DAYS: Readonly<Record<number, number>> = { 4: 11, 6: 17, 8: 22, 12: 30 };

const fault = (field: string, found: unknown, allowed: string): PolicyFault => ({
  code: 'BMSUserErrorInvalidPolicyInput',
  field,
  found: shown(found),
  allowed,
});

/** R8, R9 */
export function scheduleFaults(schedule: Schedule, kind: PolicyKind | undefined): PolicyFault[] {
  if (schedule.frequency === 'hourly') {
    return [
      ...(kind === 'standard'
        ? [fault('schedule.frequency', 'hourly', 'daily, weekly (hourly: an enhanced policy)')]
        : []),
      ...windowFaults(schedule),
    ];
  }
  return [
    ...(schedule.frequency === 'weekly'
      ? listFaults('schedule.weekdays', schedule.weekdays, 'weekday')
      : []),
    ...runTimeFaults(schedule.runTimes),
    ...weeklyFrequencyFaults(schedule.weeklyFrequency),
  ];
}

/** R33: how many days a point may stay in the snapshot tier. */
export function instantRestoreRange(kind: PolicyKind, schedule: Schedule): [number, number] {
  if (kind === 'standard') return schedule.frequency === 'weekly' ? [5, 5] : [1, 5];
  if (schedule.frequency === 'weekly') return [5, 30];
  if (schedule.frequency === 'daily') return [1, 30];
  return [1, MAX_INSTANT_DAYS[schedule.intervalHours] ?? 30];
}

/** R33: what Azure takes where nothing is said. */
export function defaultInstantRestoreDays(kind: PolicyKind, schedule: Schedule): number {
  if (kind === 'enhanced') return 7;
  return schedule.frequency === 'weekly' ? 5 : 2;
}

/** A list that has to have at least one entry, and none twice. */
export function listFaults(
  field: string,
  list: readonly (string | number)[],
  noun: string,
): PolicyFault[] {
  if (list.length === 0) return [fault(field, list, `at least one ${noun}`)];
  if (new Set(list).size === list.length) return [];
  return [fault(field, list, `each ${noun} once`)];
}

export function rangeFault(
  field: string,
  value: number,
  { min, max, noun, code }: { min: number; max: number; noun: string; code: ErrorCode },
): PolicyFault[] {
  if (value >= min && value <= max) return [];
  const allowed = min === max ? `${min} ${noun}` : `${min} to ${max} ${noun}`;
  return [{ code, field, found: `${value} ${noun}`, allowed }];
}

function runTimeFaults(runTimes: readonly TimeOfDay[]): PolicyFault[] {
  if (runTimes.length !== 1) return [fault('schedule.runTimes', runTimes, 'exactly one time')];
  return halfHourFaults('schedule.runTimes[0]', runTimes[0]!);
}

function halfHourFaults(field: string, time: TimeOfDay): PolicyFault[] {
  if (secondsOfDay(time) % HALF_HOUR_SECONDS === 0) return [];
  return [fault(field, time, 'a full or half hour, as 02:00 or 02:30')];
}

function weeklyFrequencyFaults(weeklyFrequency: number | undefined): PolicyFault[] {
  if (weeklyFrequency === undefined || [0, 1].includes(weeklyFrequency)) return [];
  return [fault('schedule.weeklyFrequency', weeklyFrequency, '0 or 1, every week')];
}

function windowFaults({ intervalHours, windowStart, windowHours }: HourlySchedule): PolicyFault[] {
  const isInterval = INTERVAL_HOURS.some((hours) => hours === intervalHours);
  const minHours = isInterval ? intervalHours : MIN_WINDOW_HOURS;
  const tooLate = secondsOfDay(windowStart) > secondsOfDay(LATEST_WINDOW_START);
  return [
    ...(isInterval
      ? []
      : [fault('schedule.intervalHours', intervalHours, `${words(INTERVAL_HOURS)} hours`)]),
    ...halfHourFaults('schedule.windowStart', windowStart),
    ...(tooLate
      ? [fault('schedule.windowStart', windowStart, `00:00 to ${LATEST_WINDOW_START}`)]
      : []),
    ...rangeFault('schedule.windowHours', windowHours, {
      min: minHours,
      max: MAX_WINDOW_HOURS,
      noun: 'hours',
      code: 'BMSUserErrorInvalidPolicyInput',
    }),
  ];
}
