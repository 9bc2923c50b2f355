/**
 * When a policy starts backups. Its wall times, day by day in its time zone, become instants by
 * wall-clock.ts. A *policy day* begins with the first run of a date; the runs of an hourly window that passes
 * midnight belong to the date on which the window began:
 *
 *     daily     every date, at its run time
 *     weekly    the dates of its weekdays, at its run time
 *     hourly    windowStart + 0, interval, 2 × interval … up to windowHours, less than 24 h
 *               16:00, every 4 h, 24 h:   16 20 | 00 04 08 12   the last, at 12:00, is the one of R10
 *
 * All times are milliseconds since 1970. Pure; a policy is one that validatePolicy let through.
 */
import assert from 'node:assert/strict';
import { FixedOffsetZone } from 'luxon';
import {
  runHours,
  secondsOfDay,
  WEEKDAYS,
  type BackupPolicy,
  type Schedule,
} from '../policy/backup-policy.ts';
import { wallClock, type ScheduleOptions, type WallClock } from './wall-clock.ts';

export type ScheduledRun = {
  readonly atMs: number;
  /** The date of the policy day, in the policy's time zone: `2026-03-29`. */
  readonly policyDate: string;
  /** R10: of an hourly schedule the one whose point goes to the vault; of others every one. */
  readonly isLastOfPolicyDay: boolean;
};

/** A run as people read it. */
export type PreviewedRun = ScheduledRun & {
  /** On the wall of the policy's time zone, with its offset then: `2026-03-29T03:00:00+02:00`. */
  readonly localTime: string;
};

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** 1970-01-01 was a Thursday. */
const FIRST_WEEKDAY = 4;
/** A window may end on the day after its date; one more for a clock that is set by a day. */
const DAYS_BACK = 2;
/** A week, and a clock set by a day. */
const DAYS_SEARCHED = 12;

/** The first run after an instant. */
export function nextRun(
  policy: BackupPolicy,
  afterMs: number,
  options: ScheduleOptions = {},
): ScheduledRun {
  const { value } = runsAfter(policy, afterMs, options).next();
  assert.ok(value, 'every schedule has a next run');
  return value;
}

/** The newest run at or before an instant. */
export function newestRun(
  policy: BackupPolicy,
  atMs: number,
  options: ScheduleOptions = {},
): ScheduledRun {
  const clock = wallClock(policy.timeZone, options);
  const today = dayOf(clock, atMs);
  for (let day = today + 1; day > today - DAYS_SEARCHED; day -= 1) {
    const newest = runsOfDay(policy.schedule, clock, day).findLast((run) => run.atMs <= atMs);
    if (newest !== undefined) return newest;
  }
  assert.fail('every schedule has a run before');
}

/** The runs after `afterMs`, up to and with `untilMs`. */
export function runsBetween(
  policy: BackupPolicy,
  { afterMs, untilMs }: { readonly afterMs: number; readonly untilMs: number },
  options: ScheduleOptions = {},
): ScheduledRun[] {
  const runs: ScheduledRun[] = [];
  for (const run of runsAfter(policy, afterMs, options)) {
    if (run.atMs > untilMs) break;
    runs.push(run);
  }
  return runs;
}

/** The next `count` runs (the caller bounds it) from `fromMs` on, that instant included. */
export function previewRuns(
  policy: BackupPolicy,
  { fromMs, count }: { readonly fromMs: number; readonly count: number },
  options: ScheduleOptions = {},
): PreviewedRun[] {
  const clock = wallClock(policy.timeZone, options);
  return runsAfter(policy, fromMs - 1, options)
    .take(count)
    .map((run) => ({ ...run, localTime: localTime(clock, run.atMs) }))
    .toArray();
}

/** The last run of a policy day; undefined for a date without one. */
export function lastRunOf(
  policy: BackupPolicy,
  policyDate: string,
  options: ScheduleOptions = {},
): ScheduledRun | undefined {
  const clock = wallClock(policy.timeZone, options);
  return runsOfDay(policy.schedule, clock, Date.parse(policyDate) / DAY_MS).at(-1);
}

/** Every run after an instant, without end. */
function* runsAfter(
  policy: BackupPolicy,
  afterMs: number,
  options: ScheduleOptions,
): Generator<ScheduledRun, undefined> {
  const clock = wallClock(policy.timeZone, options);
  let lastMs = afterMs;
  let dayOfLast = dayOf(clock, afterMs);
  for (let day = dayOfLast - DAYS_BACK; day < dayOfLast + DAYS_SEARCHED; day += 1) {
    for (const run of runsOfDay(policy.schedule, clock, day)) {
      // A day that a clock skipped has its run at the end of the gap, as the next day may.
      if (run.atMs <= lastMs) continue;
      yield run;
      lastMs = run.atMs;
      dayOfLast = day;
    }
  }
}

function runsOfDay(schedule: Schedule, clock: WallClock, day: number): ScheduledRun[] {
  const instants = new Set(wallTimes(schedule, day).map((wallMs) => clock.instantOf(wallMs)));
  const policyDate = new Date(day * DAY_MS).toISOString().slice(0, 10);
  return [...instants].map((atMs, index) => ({
    atMs,
    policyDate,
    isLastOfPolicyDay: index === instants.size - 1,
  }));
}

function wallTimes(schedule: Schedule, day: number): number[] {
  const midnightMs = day * DAY_MS;
  if (schedule.frequency === 'hourly') {
    const startMs = midnightMs + secondsOfDay(schedule.windowStart) * 1000;
    return runHours(schedule).map((hours) => startMs + hours * HOUR_MS);
  }
  if (schedule.frequency === 'weekly') {
    const weekday = WEEKDAYS[(((day + FIRST_WEEKDAY) % 7) + 7) % 7]!;
    if (!schedule.weekdays.includes(weekday)) return [];
  }
  return schedule.runTimes.map((time) => midnightMs + secondsOfDay(time) * 1000);
}

/** The number of the date on the wall, counted from 1970-01-01. */
function dayOf(clock: WallClock, instantMs: number): number {
  return Math.floor((instantMs + clock.offsetMs(instantMs)) / DAY_MS);
}

function localTime(clock: WallClock, atMs: number): string {
  const offsetMs = clock.offsetMs(atMs);
  const zone = FixedOffsetZone.instance(offsetMs / 60_000);
  const wall = new Date(atMs + offsetMs).toISOString().slice(0, 19);
  return `${wall}${zone.formatOffset(atMs, 'short')}`;
}
