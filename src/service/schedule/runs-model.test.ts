/**
 * Runs against a model that is slow and plain: it walks every minute and looks at the clock on the wall. A
 * run is at the first minute at which that clock has reached or passed its time, and never again, for the
 * model remembers the latest that the clock has shown. So a gap moves a run to its end, and of an hour that
 * comes twice only the first counts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  secondsOfDay,
  WEEKDAYS,
  type BackupPolicy,
  type Schedule,
} from '../policy/backup-policy.ts';
import { defaultPolicy } from '../policy/default-policy.ts';
import { newestRun, nextRun, previewRuns, runsBetween } from './runs.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const DAY_MINUTES = 24 * 60;
const RANGE_MS = 4 * DAY_MS;

/** Both hemispheres, half an hour, none. */
const ZONES = [
  { windows: 'W. Europe Standard Time', iana: 'Europe/Berlin', standardMinutes: 60 },
  { windows: 'AUS Eastern Standard Time', iana: 'Australia/Sydney', standardMinutes: 600 },
  { windows: 'Lord Howe Standard Time', iana: 'Australia/Lord_Howe', standardMinutes: 630 },
  { windows: 'India Standard Time', iana: 'Asia/Kolkata', standardMinutes: 330 },
  { windows: 'Pacific Standard Time', iana: 'America/Los_Angeles', standardMinutes: -480 },
] as const;
type Zone = (typeof ZONES)[number];

/** The clock on the wall, in minutes since 1970 as if it were UTC. */
type Wall = (instantMs: number) => number;

function wallOf(zone: Zone): Wall {
  const format = new Intl.DateTimeFormat('sv-SE', {
    timeZone: zone.iana,
    dateStyle: 'short',
    timeStyle: 'short',
  });
  return (instantMs) => Date.parse(`${format.format(instantMs).replace(' ', 'T')}Z`) / MINUTE_MS;
}

function standardWallOf(zone: Zone): Wall {
  return (instantMs) => instantMs / MINUTE_MS + zone.standardMinutes;
}

function isRunTime(schedule: Schedule, wallMinute: number): boolean {
  const day = Math.floor(wallMinute / DAY_MINUTES);
  const minute = wallMinute - day * DAY_MINUTES;
  if (schedule.frequency === 'hourly') {
    const start = secondsOfDay(schedule.windowStart) / 60;
    // Begun today, or yesterday; the window before that has ended.
    return [0, DAY_MINUTES].some((earlier) => {
      const since = minute + earlier - start;
      return (
        since >= 0 &&
        since < DAY_MINUTES &&
        since <= schedule.windowHours * 60 &&
        since % (schedule.intervalHours * 60) === 0
      );
    });
  }
  if (minute !== secondsOfDay(schedule.runTimes[0]!) / 60) return false;
  if (schedule.frequency === 'daily') return true;
  return schedule.weekdays.includes(WEEKDAYS[new Date(day * DAY_MS).getUTCDay()]!);
}

/** Every run after `fromMs` (a whole minute) in four days, found minute by minute. */
function modelRuns(schedule: Schedule, wall: Wall, fromMs: number): number[] {
  const untilMs = fromMs + RANGE_MS;
  const found: number[] = [];
  let latest = -Infinity;
  // Two days ahead, so that it knows the latest time shown before the range.
  for (let atMs = fromMs - 2 * DAY_MS; atMs <= untilMs; atMs += MINUTE_MS) {
    const now = wall(atMs);
    if (latest === -Infinity) latest = now - 1;
    let isRun = false;
    for (let passed = latest + 1; passed <= now; passed += 1) {
      if (isRunTime(schedule, passed)) isRun = true;
    }
    if (isRun && atMs > fromMs) found.push(atMs);
    latest = Math.max(latest, now);
  }
  return found;
}

/** The days around which clocks change from 2024 to 2036. */
function changesOf(zone: Zone): number[] {
  const wall = wallOf(zone);
  const days: number[] = [];
  for (let dayMs = Date.UTC(2024, 0, 1); dayMs < Date.UTC(2036, 0, 1); dayMs += DAY_MS) {
    if (wall(dayMs + DAY_MS) - wall(dayMs) !== DAY_MINUTES) days.push(dayMs);
  }
  return days;
}

const EDGES = [
  ...[2024, 2028, 2032].map((year) => Date.UTC(year, 1, 28)),
  ...[2024, 2025, 2026, 2027].map((year) => Date.UTC(year, 11, 31)),
  ...[0, 1, 3, 8].map((month) => Date.UTC(2027, month + 1, 0)),
];

const halfHour = (last: number): fc.Arbitrary<string> =>
  fc
    .integer({ min: 0, max: last })
    .map((half) => `${String(half >> 1).padStart(2, '0')}:${half % 2 === 0 ? '00' : '30'}`);
/** Mostly in the hours in which clocks change. */
const runTime = fc.oneof(halfHour(47), fc.constantFrom('01:30', '02:00', '02:30', '03:00'));
const schedule: fc.Arbitrary<Schedule> = fc.oneof(
  runTime.map((time): Schedule => ({ frequency: 'daily', runTimes: [time] })),
  fc
    .tuple(runTime, fc.subarray([...WEEKDAYS], { minLength: 1 }))
    .map(([time, weekdays]): Schedule => ({ frequency: 'weekly', weekdays, runTimes: [time] })),
  fc
    .tuple(fc.constantFrom(4, 6, 8, 12), halfHour(39), fc.integer({ min: 4, max: 24 }))
    .map(([intervalHours, windowStart, hours]): Schedule => ({
      frequency: 'hourly',
      intervalHours,
      windowStart,
      windowHours: Math.max(hours, intervalHours),
    })),
);

function policyOf(zone: Zone, chosen: Schedule): BackupPolicy {
  return { ...defaultPolicy('02:00', zone.windows), kind: 'enhanced', schedule: chosen };
}

for (const zone of ZONES) {
  const anchors = [...EDGES, ...changesOf(zone), ...changesOf(zone)];
  const start = fc
    .tuple(fc.constantFrom(...anchors), fc.integer({ min: -2 * DAY_MINUTES, max: DAY_MINUTES }))
    .map(([dayMs, minutes]) => dayMs + minutes * MINUTE_MS);

  test(`the runs are those of a walk minute by minute, ${zone.iana}`, () => {
    const wall = wallOf(zone);
    fc.assert(
      fc.property(schedule, start, (chosen, fromMs) => {
        const untilMs = fromMs + RANGE_MS;
        const policy = policyOf(zone, chosen);
        const expected = modelRuns(chosen, wall, fromMs);
        const found = runsBetween(policy, { afterMs: fromMs, untilMs });
        assert.deepEqual(
          found.map(({ atMs }) => new Date(atMs).toISOString()),
          expected.map((atMs) => new Date(atMs).toISOString()),
        );
      }),
      { numRuns: 40 },
    );
  });

  test(`R11 following Azure, they are those of a clock that is never changed, ${zone.iana}`, () => {
    const wall = standardWallOf(zone);
    fc.assert(
      fc.property(schedule, start, (chosen, fromMs) => {
        const untilMs = fromMs + RANGE_MS;
        const found = runsBetween(
          policyOf(zone, chosen),
          { afterMs: fromMs, untilMs },
          { dstFollowsAzure: true },
        );
        assert.deepEqual(
          found.map(({ atMs }) => atMs),
          modelRuns(chosen, wall, fromMs),
        );
      }),
      { numRuns: 40 },
    );
  });

  test(`next, newest and preview agree with the list of runs, ${zone.iana}`, () => {
    fc.assert(
      fc.property(schedule, start, (chosen, fromMs) => {
        const policy = policyOf(zone, chosen);
        const list = runsBetween(policy, { afterMs: fromMs, untilMs: fromMs + 16 * DAY_MS });
        assert.ok(list.length >= 2);
        assert.deepEqual(nextRun(policy, fromMs), list[0]);
        assert.deepEqual(nextRun(policy, list[0]!.atMs), list[1]);
        assert.deepEqual(newestRun(policy, list[0]!.atMs), list[0]);
        assert.deepEqual(newestRun(policy, list[1]!.atMs - 1), list[0]);
        const preview = previewRuns(policy, { fromMs: list[0]!.atMs, count: list.length });
        assert.deepEqual(
          preview,
          list.map((run, index) => ({ ...run, localTime: preview[index]?.localTime })),
        );
        for (const { localTime, atMs } of preview) assert.equal(Date.parse(localTime), atMs);
        const lastOfDay = list.filter(({ isLastOfPolicyDay }) => isLastOfPolicyDay);
        const days = lastOfDay.map(({ policyDate }) => policyDate);
        assert.deepEqual([...new Set(days)], days, 'one last run a policy day');
      }),
      { numRuns: 100 },
    );
  });
}
