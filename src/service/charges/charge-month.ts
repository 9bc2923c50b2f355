/**
 * One item's month as it is kept: what was read of each day, and what each point owned. Adding days, taking back days
 * that have not been, and adding them up. Pure.
 */
import { z } from 'zod';
import { instanceUnits, type InstanceUnits } from './instance-size.ts';
import { dateOf } from './utc-days.ts';

const DAY = z.strictObject({
  /** 1 to 31. */
  date: z.int().min(1).max(31),
  instanceBytes: z.int().min(0),
  storedBytes: z.int().min(0),
  /** Of these, what is not free by soft delete. */
  chargedBytes: z.int().min(0),
  /** False: the whole item is free. */
  isCharged: z.boolean(),
  /** Nobody looked on that day. */
  isEstimated: z.boolean(),
});

/** From date to date, both included: bytes owned on each. */
const RUN = z.tuple([z.int(), z.int(), z.int().min(0)]);

export const CHARGE_DAYS = z.array(DAY);
export const CHARGE_RUNS = z.record(z.string(), z.array(RUN));

type ChargeDay = Readonly<z.infer<typeof DAY>>;
type Runs = Readonly<Record<string, readonly Readonly<z.infer<typeof RUN>>[]>>;

export type ChargeMonth = {
  /** By date; days without data are not there. */
  readonly days: readonly ChargeDay[];
  /** By point; only days on which it is charged for. */
  readonly points: Runs;
};

export const EMPTY_MONTH: ChargeMonth = { days: [], points: {} };

/** What was there at the end of a day. */
export type DayReading = {
  readonly day: number;
  readonly instanceBytes: number;
  readonly isCharged: boolean;
  readonly isEstimated: boolean;
  /** Bytes each point owns. */
  readonly owned: ReadonlyMap<string, number>;
  /** Points that are free by themselves. */
  readonly free: ReadonlySet<string>;
};

/** @param reading of a later day of the month than any that it has. */
export function withDay(month: ChargeMonth, reading: DayReading): ChargeMonth {
  const { day, owned, free, instanceBytes, isCharged, isEstimated } = reading;
  const date = dateOf(day);
  const charged = [...owned].filter(([point]) => isCharged && !free.has(point));
  const bytes = { storedBytes: sumOfBytes(owned), chargedBytes: sumOfBytes(charged) };
  const days = [...month.days, { date, instanceBytes, ...bytes, isCharged, isEstimated }];
  const points = { ...month.points };
  for (const [point, own] of charged) {
    const runs = points[point] ?? [];
    const last = runs.at(-1);
    const goesOn = last !== undefined && last[1] === date - 1 && last[2] === own;
    points[point] = goesOn
      ? [...runs.slice(0, -1), [last[0], date, own]]
      : [...runs, [date, date, own]];
  }
  return { days, points };
}

function sumOfBytes(owned: Iterable<readonly [string, number]>): number {
  let sum = 0;
  for (const [, bytes] of owned) sum += bytes;
  return sum;
}

/** The month without what it has of `date` and later. */
export function beforeDate(month: ChargeMonth, date: number): ChargeMonth {
  const points: Record<string, [number, number, number][]> = {};
  for (const [point, runs] of Object.entries(month.points)) {
    const kept = runs
      .filter(([from]) => from < date)
      .map(([from, to, bytes]): [number, number, number] => [from, Math.min(to, date - 1), bytes]);
    if (kept.length > 0) points[point] = kept;
  }
  return { days: month.days.filter((one) => one.date < date), points };
}

export type MonthSum = {
  readonly chargedDays: number;
  readonly freeDays: number;
  readonly estimatedDays: number;
  /** Units × charged days. */
  readonly unitDays: InstanceUnits;
  /** Bytes that are charged for × days. */
  readonly byteDays: number;
  /** The newest day; undefined: there is none. */
  readonly last: ChargeDay | undefined;
};

export function sumOf({ days }: Pick<ChargeMonth, 'days'>): MonthSum {
  const charged = days.filter(({ isCharged }) => isCharged);
  const unitDays = { small: 0, standard: 0 };
  for (const { instanceBytes } of charged) {
    const { small, standard } = instanceUnits(instanceBytes);
    unitDays.small += small;
    unitDays.standard += standard;
  }
  return {
    chargedDays: charged.length,
    freeDays: days.length - charged.length,
    estimatedDays: days.filter(({ isEstimated }) => isEstimated).length,
    unitDays,
    byteDays: days.reduce((sum, { chargedBytes }) => sum + chargedBytes, 0),
    last: days.at(-1),
  };
}

/** Bytes × charged days of each point, in the order of their ids; they add up to the month's. */
export function pointByteDays({
  points,
}: Pick<ChargeMonth, 'points'>): ReadonlyMap<string, number> {
  const ids = Object.keys(points).toSorted();
  return new Map(
    ids.map((id) => [
      id,
      points[id]!.reduce((sum, [from, to, bytes]) => sum + (to - from + 1) * bytes, 0),
    ]),
  );
}
