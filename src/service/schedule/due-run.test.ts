import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FakeClock } from '#base';
import type { BackupPolicy } from '../policy/backup-policy.ts';
import { defaultPolicy } from '../policy/default-policy.ts';
import { dueRun, type DueQuestion } from './due-run.ts';
import { runsBetween } from './runs.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const daily = defaultPolicy('02:00');
const hourly: BackupPolicy = {
  ...daily,
  kind: 'enhanced',
  schedule: { frequency: 'hourly', intervalHours: 4, windowStart: '16:00', windowHours: 24 },
};
const weekly: BackupPolicy = {
  ...daily,
  schedule: { frequency: 'weekly', weekdays: ['sunday', 'wednesday'], runTimes: ['02:00'] },
};
const at = (iso: string): number => Date.parse(`2026-${iso}Z`);
const SINCE = { sinceMs: at('05-01T12:00'), startOffsetMs: 0 };

/** The day and hour of the run that is due. */
function due(
  question: Partial<DueQuestion> & { nowMs: number },
  policy = daily,
): string | undefined {
  const run = dueRun(policy, { ...SINCE, ...question });
  return run && new Date(run.atMs).toISOString().slice(5, 16);
}

test('a run is due from its time on, and no more when it was done', () => {
  assert.equal(due({ nowMs: at('05-02T01:59') }), undefined);
  assert.equal(due({ nowMs: at('05-02T02:00') }), '05-02T02:00');
  const lastRunMs = at('05-02T02:00');
  assert.equal(due({ nowMs: at('05-02T02:00'), lastRunMs }), undefined);
  assert.equal(due({ nowMs: at('05-03T01:59'), lastRunMs }), undefined);
  assert.equal(due({ nowMs: at('05-03T02:00'), lastRunMs }), '05-03T02:00');
});

test('R12 with an offset it is due that much later', () => {
  const startOffsetMs = HOUR_MS;
  assert.equal(due({ nowMs: at('05-02T02:59'), startOffsetMs }), undefined);
  assert.equal(due({ nowMs: at('05-02T03:00'), startOffsetMs }), '05-02T02:00');
  const lastRunMs = at('05-02T02:00');
  assert.equal(due({ nowMs: at('05-02T03:00'), startOffsetMs, lastRunMs }), undefined);
  assert.equal(due({ nowMs: at('05-03T02:30'), startOffsetMs, lastRunMs }), undefined);
});

test('no run from before the item was protected, or its policy changed, is made up for', () => {
  const sinceMs = at('05-02T02:30');
  const startOffsetMs = HOUR_MS;
  for (const now of ['05-02T02:30', '05-02T03:30', '05-02T20:00']) {
    assert.equal(due({ nowMs: at(now), sinceMs, startOffsetMs }), undefined, now);
  }
  assert.equal(due({ nowMs: at('05-03T03:00'), sinceMs, startOffsetMs }), '05-03T02:00');
  const lastRunMs = at('05-01T02:00');
  assert.equal(due({ nowMs: at('05-02T20:00'), sinceMs, lastRunMs }), undefined);
});

test('of runs missed while the service was down the newest is caught up, once', () => {
  const lastRunMs = at('05-02T02:00');
  const nowMs = at('05-20T17:00');
  assert.equal(due({ nowMs, lastRunMs }), '05-20T02:00');
  assert.equal(due({ nowMs, lastRunMs: at('05-20T02:00') }), undefined);
  assert.equal(due({ nowMs, lastRunMs }, hourly), '05-20T16:00');
  assert.equal(due({ nowMs, lastRunMs }, weekly), '05-20T02:00');
});

test('a clock that is set back repeats no run', () => {
  const lastRunMs = at('05-05T02:00');
  for (const now of ['05-05T01:30', '05-05T02:00', '05-04T20:00', '05-04T02:00']) {
    assert.equal(due({ nowMs: at(now), lastRunMs }), undefined, now);
  }
  assert.equal(due({ nowMs: at('05-06T02:00'), lastRunMs }), '05-06T02:00');
});

test('a run noted while the clock was months ahead does not put backups off for months', () => {
  const nowMs = at('05-05T12:00');
  const ahead = at('11-05T02:00');
  assert.equal(due({ nowMs, lastRunMs: ahead }), '05-05T02:00');
  const healed = { sinceMs: ahead, lastRunMs: at('05-05T02:00') };
  assert.equal(due({ nowMs, ...healed }), undefined);
  assert.equal(due({ nowMs: at('05-06T02:00'), ...healed }), '05-06T02:00');
  assert.equal(due({ nowMs, sinceMs: ahead }), '05-05T02:00');
});

test('a service that looks every ten minutes starts every run once, in time', () => {
  for (const policy of [daily, hourly, weekly]) {
    const clock = new FakeClock(SINCE.sinceMs);
    const startOffsetMs = 40 * 60_000;
    const started: number[] = [];
    while (clock.nowMs() < SINCE.sinceMs + 10 * DAY_MS) {
      const lastRunMs = started.at(-1);
      const run = dueRun(policy, {
        ...SINCE,
        startOffsetMs,
        nowMs: clock.nowMs(),
        ...(lastRunMs === undefined ? {} : { lastRunMs }),
      });
      if (run !== undefined) {
        assert.equal(clock.nowMs(), run.atMs + startOffsetMs);
        started.push(run.atMs);
      }
      clock.advance(10 * 60_000);
    }
    const untilMs = clock.nowMs() - startOffsetMs;
    const expected = runsBetween(policy, { afterMs: SINCE.sinceMs, untilMs });
    assert.deepEqual(
      started,
      expected.map(({ atMs }) => atMs),
    );
  }
});

test('whatever the clock does, no run is started twice in a row, and backups go on when it is right again', () => {
  const jump = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 1, max: 5 * 60 }) },
    { weight: 2, arbitrary: fc.integer({ min: -3 * 60, max: 0 }) },
    { weight: 1, arbitrary: fc.integer({ min: -400 * 24 * 60, max: 400 * 24 * 60 }) },
  );
  const minute = 60_000;
  fc.assert(
    fc.property(
      fc.constantFrom(daily, hourly, weekly),
      fc.array(jump, { maxLength: 60 }),
      fc.integer({ min: 0, max: 60 }),
      (policy, jumps, offsetMinutes) => {
        const startOffsetMs = offsetMinutes * minute;
        let nowMs = SINCE.sinceMs;
        let lastRunMs: number | undefined;
        const look = (): number | undefined => {
          const noted = lastRunMs === undefined ? {} : { lastRunMs };
          const run = dueRun(policy, { ...SINCE, ...noted, nowMs, startOffsetMs });
          if (run === undefined) return undefined;
          assert.notEqual(run.atMs, lastRunMs);
          assert.ok(run.atMs + startOffsetMs <= nowMs);
          lastRunMs = run.atMs;
          return run.atMs;
        };
        for (const minutes of jumps) {
          nowMs += minutes * minute;
          look();
          assert.equal(look(), undefined, 'once it is noted nothing is due');
        }
        nowMs = Math.max(nowMs, SINCE.sinceMs) + 8 * DAY_MS;
        look();
        nowMs += 8 * DAY_MS;
        assert.notEqual(look(), undefined);
      },
    ),
    { numRuns: 300 },
  );
});
