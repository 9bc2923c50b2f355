/** The policy that a new vault has (R7), and default times that do not crowd (M38). */
import {
  runHours,
  secondsOfDay,
  type BackupPolicy,
  type Schedule,
  type TimeOfDay,
} from './backup-policy.ts';
import { standardOffsetMinutes } from './time-zones.ts';

/** Azure's `DefaultPolicy`: standard, daily, 30 days, two of them in the snapshot tier. */
export function defaultPolicy(runTime: TimeOfDay, timeZone = 'UTC'): BackupPolicy {
  return {
    kind: 'standard',
    timeZone,
    schedule: { frequency: 'daily', runTimes: [runTime] },
    retention: { daily: { times: [runTime], duration: { count: 30, unit: 'days' } } },
    instantRestoreDays: 2,
  };
}

const DAY_MINUTES = 24 * 60;
const SLOT_MINUTES = 30;
/** The VMs of a policy start within this time (R12): policies so far apart do not meet. */
const START_MINUTES = 120;
const NIGHT_START_MINUTES = 22 * 60;
const NIGHT_MINUTES = 8 * 60;

/**
 * A default run time for a new policy in `timeZone`: a half hour at which no policy of `existing` runs while
 * one is free, then one of the least used; of those one by night (22:00 to 06:00), then the one with the
 * fewest others less than two hours away, then the first of the night. Summer time does not count.
 */
export function spreadDefaultTime(existing: readonly BackupPolicy[], timeZone = 'UTC'): TimeOfDay {
  const taken = existing.flatMap((policy) => runMinutes(policy, timeZone));
  const slots = Array.from({ length: DAY_MINUTES / SLOT_MINUTES }, (_, index) => {
    const sinceNight = index * SLOT_MINUTES;
    const minute = modulo(NIGHT_START_MINUTES + sinceNight);
    const cost = [
      taken.filter((other) => other === minute).length,
      sinceNight < NIGHT_MINUTES ? 0 : 1,
      taken.filter((other) => distance(other, minute) < START_MINUTES).length,
      sinceNight,
    ];
    return { minute, cost };
  });
  const [best] = slots.toSorted((a, b) => compare(a.cost, b.cost));
  return timeOf(best!.minute);
}

/** When on a day of `timeZone` a policy starts backups, in minutes. */
function runMinutes({ schedule, timeZone: own }: BackupPolicy, timeZone: string): number[] {
  const shift = standardOffsetMinutes(timeZone) - standardOffsetMinutes(own);
  return startTimes(schedule).map((minute) => modulo(minute + shift));
}

function startTimes(schedule: Schedule): number[] {
  if (schedule.frequency !== 'hourly') return schedule.runTimes.map(minuteOf);
  const start = minuteOf(schedule.windowStart);
  return runHours(schedule).map((hours) => start + hours * 60);
}

function minuteOf(time: TimeOfDay): number {
  return Math.floor(secondsOfDay(time) / 60);
}

function timeOf(minute: number): TimeOfDay {
  const hours = Math.floor(minute / 60);
  return [hours, minute % 60].map((part) => String(part).padStart(2, '0')).join(':');
}

function modulo(minute: number): number {
  return ((minute % DAY_MINUTES) + DAY_MINUTES) % DAY_MINUTES;
}

/** Round the clock. */
function distance(a: number, b: number): number {
  const apart = modulo(a - b);
  return Math.min(apart, DAY_MINUTES - apart);
}

function compare(a: readonly number[], b: readonly number[]): number {
  const index = a.findIndex((value, at) => value !== b[at]);
  return index < 0 ? 0 : a[index]! - b[index]!;
}
