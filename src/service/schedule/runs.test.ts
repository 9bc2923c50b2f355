import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IANAZone } from 'luxon';
import type { BackupPolicy, Schedule } from '../policy/backup-policy.ts';
import { defaultPolicy } from '../policy/default-policy.ts';
import { newestRun, nextRun, previewRuns, runsBetween } from './runs.ts';

const BERLIN = 'W. Europe Standard Time';
const azure = { dstFollowsAzure: true };

const policyOf = (schedule: Schedule, timeZone = 'UTC'): BackupPolicy => ({
  ...defaultPolicy('02:00', timeZone),
  schedule,
});
const dailyAt = (time: string, timeZone?: string): BackupPolicy =>
  policyOf({ frequency: 'daily', runTimes: [time] }, timeZone);
const at = (iso: string): number => Date.parse(iso);
const isoOf = (atMs: number): string => new Date(atMs).toISOString().slice(0, 16);

/** The runs of some days, as instants in UTC to the minute. */
function runs(
  policy: BackupPolicy,
  [from, until]: readonly [string, string],
  options = {},
): string[] {
  const range = { afterMs: at(from), untilMs: at(until) };
  return runsBetween(policy, range, options).map(({ atMs }) => isoOf(atMs));
}

test('a daily run is every date at its wall time', () => {
  assert.deepEqual(runs(dailyAt('02:30'), ['2028-02-28T00:00Z', '2028-03-01T12:00Z']), [
    '2028-02-28T02:30',
    '2028-02-29T02:30',
    '2028-03-01T02:30',
  ]);
  assert.deepEqual(
    runs(dailyAt('02:00', 'Tokyo Standard Time'), ['2026-12-31T00:00Z', '2027-01-02T00:00Z']),
    ['2026-12-31T17:00', '2027-01-01T17:00'],
  );
});

test('the next run is after its instant, the newest at or before it', () => {
  const policy = dailyAt('02:00');
  const [today, tomorrow] = [at('2026-05-05T02:00Z'), at('2026-05-06T02:00Z')];
  assert.equal(nextRun(policy, today - 1).atMs, today);
  assert.equal(nextRun(policy, today).atMs, tomorrow);
  assert.equal(newestRun(policy, today).atMs, today);
  assert.equal(newestRun(policy, tomorrow - 1).atMs, today);
  assert.deepEqual(runs(policy, ['2026-05-05T02:00Z', '2026-05-06T02:00Z']), ['2026-05-06T02:00']);
});

test('a weekly run is on its weekdays in its own time zone', () => {
  const weekly = policyOf(
    { frequency: 'weekly', weekdays: ['monday', 'friday'], runTimes: ['06:00'] },
    'Tokyo Standard Time',
  );
  // 06:00 on a Monday in Tokyo is Sunday in UTC.
  assert.deepEqual(runs(weekly, ['2026-06-01T00:00Z', '2026-06-09T00:00Z']), [
    '2026-06-04T21:00',
    '2026-06-07T21:00',
  ]);
  assert.equal(nextRun(weekly, at('2026-06-04T21:00Z')).policyDate, '2026-06-08');
});

test('R8 a run time of 10:00 is 10:00 on the wall of the time zone, in winter and in summer', () => {
  const policy = dailyAt('10:00', 'Pacific Standard Time');
  assert.equal(isoOf(nextRun(policy, at('2026-01-10T00:00Z')).atMs), '2026-01-10T18:00');
  assert.equal(isoOf(nextRun(policy, at('2026-07-10T00:00Z')).atMs), '2026-07-10T17:00');
});

test('R9 hourly runs are in the window, its end included, and begin anew with the next', () => {
  const hourly = policyOf({
    frequency: 'hourly',
    intervalHours: 4,
    windowStart: '08:00',
    windowHours: 12,
  });
  assert.deepEqual(runs(hourly, ['2026-03-01T00:00Z', '2026-03-02T08:00Z']), [
    '2026-03-01T08:00',
    '2026-03-01T12:00',
    '2026-03-01T16:00',
    '2026-03-01T20:00',
    '2026-03-02T08:00',
  ]);
});

test('R10 a window over midnight is one policy day: of 16, 20, 0, 4, 8, 12 o’clock the last is 12:00 of the next day', () => {
  const hourly = policyOf(
    { frequency: 'hourly', intervalHours: 4, windowStart: '16:00', windowHours: 24 },
    'Tokyo Standard Time',
  );
  const range = { fromMs: at('2025-01-10T16:00+09:00'), count: 7 };
  const seen = previewRuns(hourly, range).map(({ localTime, policyDate, isLastOfPolicyDay }) => [
    localTime.slice(5, 16),
    policyDate.slice(5),
    isLastOfPolicyDay,
  ]);
  assert.deepEqual(seen, [
    ['01-10T16:00', '01-10', false],
    ['01-10T20:00', '01-10', false],
    ['01-11T00:00', '01-10', false],
    ['01-11T04:00', '01-10', false],
    ['01-11T08:00', '01-10', false],
    ['01-11T12:00', '01-10', true],
    ['01-11T16:00', '01-11', false],
  ]);
});

test('a run in the hour that spring leaves out starts at the first instant after it', () => {
  const range = { fromMs: at('2026-03-28T00:00+01:00'), count: 3 };
  const seen = previewRuns(dailyAt('02:30', BERLIN), range).map(({ localTime }) => localTime);
  assert.deepEqual(seen, [
    '2026-03-28T02:30:00+01:00',
    '2026-03-29T03:00:00+02:00',
    '2026-03-30T02:30:00+02:00',
  ]);
});

test('a run in the hour that autumn has twice starts once, the first time', () => {
  const range = { fromMs: at('2026-10-24T00:00+02:00'), count: 3 };
  const seen = previewRuns(dailyAt('02:30', BERLIN), range).map(({ localTime }) => localTime);
  assert.deepEqual(seen, [
    '2026-10-24T02:30:00+02:00',
    '2026-10-25T02:30:00+02:00',
    '2026-10-26T02:30:00+01:00',
  ]);
});

test('Lord Howe’s half hour: a run in the gap moves to its end, one in the fold starts once', () => {
  const policy = dailyAt('02:00', 'Lord Howe Standard Time');
  // 2026-10-04 02:00+10:30 becomes 02:30+11:00; 2026-04-05 02:00+11:00 becomes 01:30+10:30.
  const spring = { fromMs: at('2026-10-03T20:00+11:00'), count: 1 };
  assert.equal(previewRuns(policy, spring)[0]?.localTime, '2026-10-04T02:30:00+11:00');
  const fold = dailyAt('01:30', 'Lord Howe Standard Time');
  const range = { fromMs: at('2026-04-04T20:00+11:00'), count: 2 };
  assert.deepEqual(
    previewRuns(fold, range).map(({ localTime }) => localTime),
    ['2026-04-05T01:30:00+11:00', '2026-04-06T01:30:00+10:30'],
  );
});

test('R11 with dstFollowsAzure the offset stays that of standard time', () => {
  const berlin = dailyAt('02:30', BERLIN);
  const march = runs(berlin, ['2026-03-28T00:00Z', '2026-03-30T12:00Z'], azure);
  assert.deepEqual(march, ['2026-03-28T01:30', '2026-03-29T01:30', '2026-03-30T01:30']);
  const [summer] = previewRuns(berlin, { fromMs: at('2026-07-01T00:00Z'), count: 1 }, azure);
  assert.equal(summer?.localTime, '2026-07-01T02:30:00+01:00');
  const sydney = dailyAt('02:00', 'AUS Eastern Standard Time');
  assert.deepEqual(runs(sydney, ['2026-01-01T00:00Z', '2026-01-02T00:00Z'], azure), [
    '2026-01-01T16:00',
  ]);
  const casablanca = dailyAt('02:00', 'Morocco Standard Time');
  assert.deepEqual(runs(casablanca, ['2026-03-01T00:00Z', '2026-03-02T00:00Z'], azure), [
    '2026-03-01T01:00',
  ]);
});

test('a date that a country skipped has no run of its own beside the next day’s', () => {
  // Samoa went from 2011-12-29 24:00-10:00 to 2011-12-31 00:00+14:00.
  const samoa = dailyAt('00:00', 'Samoa Standard Time');
  const seen = runs(samoa, ['2011-12-29T00:00Z', '2012-01-01T00:00Z']);
  assert.deepEqual(seen, ['2011-12-29T10:00', '2011-12-30T10:00', '2011-12-31T10:00']);
});

test('the next runs of 1 000 policies ask a time zone a few times each, whatever the schedule', (t) => {
  const schedules: Schedule[] = [
    { frequency: 'daily', runTimes: ['02:30'] },
    { frequency: 'weekly', weekdays: ['sunday'], runTimes: ['02:30'] },
    { frequency: 'hourly', intervalHours: 4, windowStart: '16:00', windowHours: 24 },
  ];
  const zones = ['UTC', BERLIN, 'Pacific Standard Time', 'Lord Howe Standard Time'];
  const policies = Array.from({ length: 1000 }, (_, index) =>
    policyOf(schedules[index % 3]!, zones[index % 4]!),
  );
  const { mock } = t.mock.method(IANAZone.prototype, 'offset');
  const fromMs = at('2026-03-28T12:00Z');
  for (const policy of policies) assert.ok(nextRun(policy, fromMs).atMs > fromMs);
  // Of 4 µs each: 25 ms for all of them; only a run in a gap looks for its end.
  const perPolicy = mock.callCount() / policies.length;
  assert.ok(perPolicy <= 25, `${perPolicy} a policy`);
});
