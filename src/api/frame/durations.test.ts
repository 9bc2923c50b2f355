import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isoDuration, timeSpan } from './durations.ts';

test('durations are ISO 8601, without parts that are zero', () => {
  const told = [0, 12, 12_400, 60_000, 3_600_000, 90_061_001].map(isoDuration);
  assert.deepEqual(told, ['PT0S', 'PT0.012S', 'PT12.4S', 'PT1M', 'PT1H', 'PT25H1M1.001S']);
});

test('what a soft-deleted item has left is days and a clock, never less than nothing', () => {
  const day = 86_400_000;
  assert.equal(timeSpan(14 * day - 2000), '13.23:59:58');
  assert.equal(timeSpan(61_999), '0.00:01:01');
  assert.equal(timeSpan(-5), '0.00:00:00');
});
