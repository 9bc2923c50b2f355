import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  beforeDate,
  EMPTY_MONTH,
  pointByteDays,
  sumOf,
  withDay,
  type ChargeMonth,
} from './charge-month.ts';
import { chargesByPoint } from './charges.ts';
import { GB } from './instance-size.ts';
import { isCharged } from './is-charged.ts';
import { instanceCost, parsePriceSheet, splitCost, type PriceSheet } from './price-sheet.ts';
import { dayOf, daysIn, endOfDay, firstDayOf, monthOf, nextMonth } from './utc-days.ts';

const SHEET: PriceSheet = {
  currency: 'USD',
  instance: { small: 5, standard: 10 },
  storage: { vault: { LocallyRedundant: 0.0224 } },
};
const DAY_MS = 86_400_000;
const FIRST = firstDayOf('2026-11');

/** Dates with what two points own; absent: nothing was there. */
const someDays = fc.uniqueArray(fc.integer({ min: 0, max: 29 }), { maxLength: 30 }).chain((days) =>
  fc.tuple(
    fc.constant(days.toSorted((a, b) => a - b)),
    fc.array(
      fc.record({
        a: fc.integer({ min: 0, max: 3 }).map((n) => n * GB + n),
        b: fc.option(fc.integer({ min: 0, max: 3 }).map((n) => n * 7 * GB)),
        isCharged: fc.boolean(),
        isFree: fc.boolean(),
        instance: fc.integer({ min: 0, max: 1200 }).map((n) => n * GB),
      }),
      { minLength: days.length, maxLength: days.length },
    ),
  ),
);
type Days = typeof someDays extends fc.Arbitrary<infer Of> ? Of : never;

function monthOfDays([days, readings]: Days): ChargeMonth {
  let month = EMPTY_MONTH;
  for (const [at, day] of days.entries()) {
    const { a, b, isCharged: charged, isFree, instance } = readings[at]!;
    const owned = new Map([['1', a], ...(b === null ? [] : [['2', b] as const])]);
    const free = new Set(isFree ? ['2'] : []);
    const of = { isCharged: charged, isEstimated: false, owned, free, instanceBytes: instance };
    month = withDay(month, { day: FIRST + day, ...of });
  }
  return month;
}

test('M27 points add up to their item, in bytes and in money, whatever they own on which days', () => {
  fc.assert(
    fc.property(someDays, (given) => {
      const month = monthOfDays(given);
      const { byteDays } = sumOf(month);
      const sum = (numbers: Iterable<number>): number =>
        [...numbers].reduce((all, one) => all + one, 0);
      assert.equal(sum(pointByteDays(month).values()), byteDays);
      const item = { id: 'i', vmGroup: 'g', vmName: 'v' };
      const { costs, points } = chargesByPoint({ item, month: '2026-11', ...month }, SHEET);
      assert.equal(sum(points.map(({ cost }) => cost!)), points.length === 0 ? 0 : costs!.storage);
      const own = given[1]
        .filter((one) => one.isCharged)
        .map(({ a, b, isFree }) => a + (isFree ? 0 : (b ?? 0)));
      assert.equal(byteDays, sum(own));
    }),
  );
});

test('a clock that was set back takes days back as if they had not been read', () => {
  fc.assert(
    fc.property(someDays, fc.integer({ min: 1, max: 31 }), (given, date) => {
      const [days, readings] = given;
      const kept = days.filter((day) => day + 1 < date);
      assert.deepEqual(
        beforeDate(monthOfDays(given), date),
        monthOfDays([kept, readings.slice(0, kept.length)]),
      );
    }),
  );
});

test('R75 a month that is not full is charged by its days', () => {
  const tenDays = { small: 0, standard: 2 * 10 };
  assert.equal(instanceCost(SHEET, tenDays, daysIn('2026-11')), 6_666_667);
  assert.equal(instanceCost(SHEET, { small: 28, standard: 0 }, daysIn('2026-02')), 5_000_000);
});

test('R61 soft-deleted data is charged for until 14 days before its end', () => {
  const deletedAt = Date.UTC(2026, 10, 3, 11);
  const days = (count: number): number => deletedAt + count * DAY_MS;
  const at = (softDeleteDays: number, atMs: number): boolean =>
    isCharged({ deletedAt, purgeAt: days(softDeleteDays) }, atMs);
  assert.deepEqual(
    [at(14, deletedAt - 1), at(14, deletedAt), at(14, days(20))],
    [true, false, false],
  );
  assert.deepEqual(
    [at(60, days(46) - 1), at(60, days(46)), at(60, days(61))],
    [true, false, false],
  );
  assert.equal(isCharged({ deletedAt: null, purgeAt: null }, days(500)), true);
});

test('days and months are those of UTC, leap years included', () => {
  assert.equal(monthOf(dayOf(Date.UTC(2026, 10, 30, 23, 59))), '2026-11');
  assert.equal(endOfDay(dayOf(Date.UTC(2026, 11, 31))), Date.UTC(2027, 0, 1));
  assert.deepEqual(['2028-02', '2026-02', '2026-12'].map(daysIn), [29, 28, 31]);
  assert.equal(nextMonth('2026-12'), '2027-01');
  assert.equal(nextMonth('2026-01'), '2026-02');
});

test('parts add up to the whole, whatever the weights', () => {
  fc.assert(
    fc.property(fc.nat(1e9), fc.array(fc.nat(1e12), { minLength: 1 }), (cost, weights) => {
      const parts = splitCost(cost, weights);
      const hasWeight = weights.some((weight) => weight > 0);
      assert.equal(
        parts.reduce((sum, part) => sum + part, 0),
        hasWeight ? cost : 0,
      );
      assert.ok(parts.every((part) => part >= 0));
    }),
  );
});

test('a price sheet that cannot be used is refused with the place', () => {
  const code = 'PriceSheetInvalid';
  assert.throws(() => parsePriceSheet({ ...SHEET, currency: 'euro' }), {
    code,
    message: /currency/,
  });
  assert.throws(() => parsePriceSheet({ ...SHEET, instance: { small: -1, standard: 1 } }), {
    code,
  });
  assert.throws(() => parsePriceSheet({ ...SHEET, discount: 1 }), { code, message: /discount/ });
  assert.deepEqual(parsePriceSheet(SHEET), SHEET);
});
