import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { keepPlan, type DatedPoint, type KeepRules } from './keep-plan.ts';

const at = (id: string, iso: string): DatedPoint => ({ id, timeMs: Date.parse(iso) });

function keptBy(points: readonly DatedPoint[], rules: KeepRules): string[] {
  return [...keepPlan(points, rules).keep.keys()].sort();
}

test('each rule keeps the newest point of each of the newest periods that have one', () => {
  const points = [
    at('a', '2025-12-31T23:59:59Z'),
    at('b', '2026-01-01T00:00:00Z'),
    at('c', '2026-01-01T00:30:00Z'),
    at('d', '2026-01-04T12:00:00Z'),
    at('e', '2026-01-05T00:00:00Z'),
    at('f', '2026-03-01T05:00:00Z'),
  ];
  assert.deepEqual(keptBy(points, { last: 2 }), ['e', 'f']);
  assert.deepEqual(keptBy(points, { hourly: 9 }), ['a', 'c', 'd', 'e', 'f']);
  assert.deepEqual(keptBy(points, { daily: 4 }), ['c', 'd', 'e', 'f']);
  // 2026-01-04 was a Sunday, the week of 2025-12-29.
  assert.deepEqual(keptBy(points, { weekly: 9 }), ['d', 'e', 'f']);
  assert.deepEqual(keptBy(points, { monthly: 2 }), ['e', 'f']);
  assert.deepEqual(keptBy(points, { yearly: 9 }), ['a', 'f']);
});

test('a plan says why it keeps a point, and expires the rest oldest first', () => {
  const plan = keepPlan(
    [
      at('x', '2026-02-01T10:00:00Z'),
      at('a', '2026-01-01T00:00:00Z'),
      at('b', '2026-01-02T00:00:00Z'),
    ],
    { last: 1, daily: 1, weekly: 1 },
  );
  assert.deepEqual(
    [...plan.keep],
    [['x', ['last', 'daily 2026-02-01', 'weekly week of 2026-01-26']]],
  );
  assert.deepEqual(plan.expire, ['a', 'b']);
});

test('rules that keep nothing, and numbers that are none, are refused', () => {
  const points = [at('a', '2026-01-01T00:00:00Z')];
  const wrong: KeepRules[] = [
    {},
    { last: 0, daily: 0 },
    { last: -1 },
    { daily: 1.5 },
    { yearly: NaN },
  ];
  for (const rules of wrong) {
    assert.throws(() => keepPlan(points, rules), { code: 'ArgumentInvalid' });
  }
});

const somePoints = fc
  .array(fc.integer({ min: Date.UTC(1969, 0), max: Date.UTC(2040, 0) }), {
    minLength: 1,
    maxLength: 40,
  })
  .map((times) => times.map((timeMs, id) => ({ id: `${id}`, timeMs })));
const count = fc.nat(6);
const someRules = fc
  .record({
    last: count,
    hourly: count,
    daily: count,
    weekly: count,
    monthly: count,
    yearly: count,
  })
  .filter((rules) => Object.values(rules).some((number) => number > 0));

test('every point is either kept or expired, and the newest is always kept', () => {
  fc.assert(
    fc.property(somePoints, someRules, (points, rules) => {
      const { keep, expire } = keepPlan(points, rules);
      const all = [...keep.keys(), ...expire].sort();
      assert.deepEqual(all, points.map(({ id }) => id).sort());
      const newestMs = Math.max(...points.map(({ timeMs }) => timeMs));
      assert.ok(points.some(({ id, timeMs }) => timeMs === newestMs && keep.has(id)));
      const most = Object.values(rules).reduce((sum, number) => sum + number, 0);
      assert.ok(keep.size <= most);
    }),
  );
});

test('planning again after expiring changes nothing, and the order of the list does not matter', () => {
  fc.assert(
    fc.property(somePoints, someRules, (points, rules) => {
      const distinct = [...new Map(points.map((point) => [point.timeMs, point])).values()];
      const { keep } = keepPlan(distinct, rules);
      const left = distinct.filter(({ id }) => keep.has(id));
      assert.deepEqual(keepPlan(left, rules).expire, []);
      assert.deepEqual(keepPlan(distinct.toReversed(), rules).keep, keep);
    }),
  );
});

test('every period is a period: two points of one UTC day are one day', () => {
  fc.assert(
    fc.property(somePoints, (points) => {
      const days = new Set(points.map(({ timeMs }) => Math.floor(timeMs / 86_400_000)));
      assert.equal(keepPlan(points, { daily: 1000 }).keep.size, days.size);
      const weeks = new Set([...days].map((day) => Math.floor((day + 3) / 7)));
      assert.equal(keepPlan(points, { weekly: 1000 }).keep.size, weeks.size);
    }),
  );
});
