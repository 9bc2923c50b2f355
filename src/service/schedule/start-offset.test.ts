import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { BackupPolicy } from '../policy/backup-policy.ts';
import { defaultPolicy } from '../policy/default-policy.ts';
import { nextRun } from './runs.ts';
import { startOffsetMs } from './start-offset.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const SPREAD_MS = 2 * HOUR_MS;

const daily = defaultPolicy('02:00', 'W. Europe Standard Time');
const hourly = (intervalHours: number): BackupPolicy => ({
  ...daily,
  kind: 'enhanced',
  schedule: { frequency: 'hourly', intervalHours, windowStart: '00:00', windowHours: 24 },
});
const weekly: BackupPolicy = {
  ...daily,
  schedule: { frequency: 'weekly', weekdays: ['sunday'], runTimes: ['02:00'] },
};
const items = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `vm-${index}`);

test('M21 the starts of 100 VMs at 02:00 are spread: all differ, and all have begun by 04:00 (R12)', () => {
  const runMs = nextRun(daily, Date.parse('2026-05-05T00:00+02:00')).atMs;
  const starts = items(100).map((id) => runMs + startOffsetMs(id, daily, SPREAD_MS));
  assert.equal(new Date(runMs).toISOString(), '2026-05-05T00:00:00.000Z');
  assert.ok(Math.min(...starts) >= runMs);
  assert.ok(Math.max(...starts) < Date.parse('2026-05-05T04:00+02:00') - MINUTE_MS);
  assert.equal(new Set(starts).size, 100);
  const quarters = [0, 1, 2, 3].map(
    (quarter) =>
      starts.filter((at) => Math.floor((at - runMs) / (SPREAD_MS / 4)) === quarter).length,
  );
  for (const count of quarters) assert.ok(count >= 10 && count <= 40, quarters.join(' '));
});

test('R12 starts are evenly spread over the two hours', () => {
  const parts = Array<number>(10).fill(0);
  for (const id of items(10_000)) {
    const share = startOffsetMs(id, weekly, SPREAD_MS) / (115 * MINUTE_MS);
    parts[Math.floor(share * 10)]! += 1;
  }
  // Of 1 000 in each tenth, within 5 standard deviations; the ids are the same in every run.
  for (const count of parts) assert.ok(Math.abs(count - 1000) < 150, parts.join(' '));
});

test('R12 an item always has the same offset, and a spread of 0 starts all at once', () => {
  for (const id of items(20)) {
    assert.equal(startOffsetMs(id, daily, SPREAD_MS), startOffsetMs(id, daily, SPREAD_MS));
    assert.equal(startOffsetMs(id, daily, 0), 0);
    assert.ok(startOffsetMs(id, daily, MINUTE_MS) < MINUTE_MS);
  }
});

test('R12 no start comes near the next run, also where a clock is set forward', () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.constantFrom(daily, weekly, ...[4, 6, 8, 12].map(hourly)),
      fc.integer({ min: 0, max: 72 }),
      (id, policy, hours) => {
        const run = nextRun(policy, Date.parse('2026-03-28T00:00Z') + hours * HOUR_MS);
        const offsetMs = startOffsetMs(id, policy, 24 * HOUR_MS);
        assert.ok(Number.isSafeInteger(offsetMs) && offsetMs >= 0 && offsetMs < SPREAD_MS);
        const intervalMs = nextRun(policy, run.atMs).atMs - run.atMs;
        assert.ok(offsetMs < intervalMs / 2, `${offsetMs} of ${intervalMs}`);
      },
    ),
    { numRuns: 500 },
  );
});
