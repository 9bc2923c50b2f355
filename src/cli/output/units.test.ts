import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatBytes, formatCount, formatDuration, formatSpeed, formatTime } from './units.ts';

test('sizes have three digits in the largest binary unit that fits', () => {
  const cases: readonly [number, string][] = [
    [0, '0 B'],
    [512, '512 B'],
    [1023, '1023 B'],
    [1024, '1.00 KiB'],
    [16 * 1024, '16.0 KiB'],
    [10_239, '10.0 KiB'],
    [150 * 1024, '150 KiB'],
    [1024 ** 2 - 1, '1.00 MiB'],
    [1.5 * 1024 ** 3, '1.50 GiB'],
    [8 * 1024 ** 4, '8.00 TiB'],
    [-2048, '-2.00 KiB'],
  ];
  for (const [sizeBytes, text] of cases) assert.equal(formatBytes(sizeBytes), text);
});

test('durations are in the units that people say', () => {
  const cases: readonly [number, string][] = [
    [0, '0.00 s'],
    [0.123, '0.12 s'],
    [1.25, '1.3 s'],
    [42.4, '42 s'],
    [59.6, '1 min 0 s'],
    [200, '3 min 20 s'],
    [7500, '2 h 5 min'],
  ];
  for (const [seconds, text] of cases) assert.equal(formatDuration(seconds), text);
});

test('speeds are in MiB/s, and unknown where no time passed', () => {
  assert.equal(formatSpeed(1024 ** 2 * 220, 1), '220 MiB/s');
  assert.equal(formatSpeed(1024 ** 2, 2), '0.5 MiB/s');
  assert.equal(formatSpeed(1, 0), '–');
});

test('times are local, with their distance from UTC', () => {
  const timeMs = Date.UTC(2026, 7, 1, 10, 11, 12);
  assert.match(formatTime(timeMs), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$/);
  assert.equal(Date.parse(formatTime(timeMs)), timeMs);
});

test('one thing is singular', () => {
  assert.equal(formatCount(1, 'point'), '1 point');
  assert.equal(formatCount(0, 'point'), '0 points');
});
