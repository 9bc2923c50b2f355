import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forecastStorage, modelBytes, type Churn } from './forecast.ts';

const TB = 2 ** 40;
const DAY_MS = 86_400_000;
const NOW = Date.UTC(2026, 10, 15, 2);

/** One point a day, of the last `count` days. */
const daily =
  (count: number) =>
  (atMs: number): readonly number[] =>
    Array.from({ length: count }, (_, back) => atMs - (back + 1) * DAY_MS);

test('M37 8 TB at 5 % churn: each daily point that is kept takes 0.4 TB more', () => {
  const churn: Churn = { churnBytes: 0.05 * 8 * TB, usedBytes: 8 * TB, intervalMs: DAY_MS };
  const stored = (count: number): number => modelBytes(daily(count)(NOW), churn) / TB;
  assert.equal(stored(1), 8);
  assert.ok(Math.abs(stored(2) - 8.4) < 1e-9);
  assert.ok(Math.abs(stored(30) - (8 + 29 * 0.4)) < 1e-9);
});

test('R28 points further apart share their churn: a week between two takes less than seven days, never more than all', () => {
  const churn: Churn = { churnBytes: 0.05 * 8 * TB, usedBytes: 8 * TB, intervalMs: DAY_MS };
  const apart = (days: number): number => modelBytes([NOW, NOW + days * DAY_MS], churn) / TB - 8;
  assert.ok(apart(7) < 7 * 0.4 && apart(7) > 6 * 0.35);
  assert.ok(apart(1000) <= 8);
  assert.equal(modelBytes([NOW, NOW + DAY_MS], { ...churn, churnBytes: 0 }), 8 * TB);
  assert.equal(modelBytes([], churn), 0);
});

test('a forecast starts from what is stored, and stays there where nothing but days pass', () => {
  const churn: Churn = { churnBytes: 10, usedBytes: 1000, intervalMs: DAY_MS };
  const of = { nowMs: NOW, storedBytes: 1234, churn, months: 12 };
  const steady = forecastStorage({ ...of, kept: daily(30) });
  assert.deepEqual(
    [steady.length, steady[0]!.month, steady[11]!.month],
    [12, '2026-12', '2027-11'],
  );
  assert.ok(steady.every(({ storedBytes, points }) => storedBytes === 1234 && points === 30));
  // The retention was raised: points come until there are as many as it keeps.
  const since = (atMs: number): readonly number[] =>
    daily(Math.min(90, 30 + Math.floor((atMs - NOW) / DAY_MS)))(atMs);
  const growing = forecastStorage({ ...of, kept: since });
  assert.equal(growing[0]!.points, 30 + 46);
  assert.equal(growing[0]!.storedBytes, 1234 + 46 * 10);
  assert.equal(growing[11]!.storedBytes, 1234 + 60 * 10);
  const deleted = forecastStorage({ ...of, kept: (atMs) => (atMs > NOW ? [] : daily(30)(atMs)) });
  assert.equal(deleted[0]!.storedBytes, 0);
});
