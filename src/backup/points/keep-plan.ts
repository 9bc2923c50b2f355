/**
 * Which points a retention rule keeps: of each of the newest N hours, days, weeks, months or years that
 * have a point, the newest point; and the newest N points. Periods are those of UTC, weeks begin on
 * Monday. Pure: decides, and touches nothing.
 */
import { HoldfastError } from '#base';

export type KeepRules = {
  readonly last?: number;
  readonly hourly?: number;
  readonly daily?: number;
  readonly weekly?: number;
  readonly monthly?: number;
  readonly yearly?: number;
};

export type DatedPoint = { readonly id: string; readonly timeMs: number };

export type KeepPlan = {
  /** By id: why, as "daily 2026-03-01". */
  readonly keep: ReadonlyMap<string, readonly string[]>;
  /** The other points, oldest first. */
  readonly expire: readonly string[];
};

type Rule = keyof KeepRules;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** 1970-01-01 was a Thursday. */
const MONDAY_SHIFT_DAYS = 3;

/** What the period of a time is called; the same name, the same period. */
const PERIODS: Readonly<Record<Exclude<Rule, 'last'>, (timeMs: number) => string>> = {
  hourly: (timeMs) => `${isoOf(timeMs).slice(0, 13)}:00`,
  daily: (timeMs) => isoOf(timeMs).slice(0, 10),
  weekly: (timeMs) => `week of ${isoOf(mondayOf(timeMs)).slice(0, 10)}`,
  monthly: (timeMs) => isoOf(timeMs).slice(0, 7),
  yearly: (timeMs) => isoOf(timeMs).slice(0, 4),
};

/**
 * @param points of one item, in any order; of the same time the one later in the list is newer.
 * @throws {HoldfastError} `ArgumentInvalid` if no rule keeps anything (that would delete every point), or a
 *   number is not a whole number from 0.
 */
export function keepPlan(points: readonly DatedPoint[], rules: KeepRules): KeepPlan {
  checkRules(rules);
  const newestFirst = points.toSorted((a, b) => a.timeMs - b.timeMs).reverse();
  const keep = new Map<string, string[]>();
  const note = (id: string, reason: string): void => {
    keep.set(id, [...(keep.get(id) ?? []), reason]);
  };
  for (const { id } of newestFirst.slice(0, rules.last ?? 0)) note(id, 'last');
  for (const [rule, periodOf] of Object.entries(PERIODS)) {
    const left = rules[rule as Rule] ?? 0;
    for (const [period, { id }] of newestOfEach(newestFirst, periodOf).slice(0, left)) {
      note(id, `${rule} ${period}`);
    }
  }
  const expire = newestFirst.filter(({ id }) => !keep.has(id)).map(({ id }) => id);
  return { keep, expire: expire.reverse() };
}

/** The newest point of each period, the newest period first. */
function newestOfEach(
  newestFirst: readonly DatedPoint[],
  periodOf: (timeMs: number) => string,
): [string, DatedPoint][] {
  const newest = new Map<string, DatedPoint>();
  for (const point of newestFirst) {
    const period = periodOf(point.timeMs);
    if (!newest.has(period)) newest.set(period, point);
  }
  return [...newest];
}

function checkRules(rules: KeepRules): void {
  const counts = Object.entries(rules);
  for (const [rule, count] of counts) {
    if (Number.isSafeInteger(count) && count >= 0) continue;
    throw new HoldfastError('ArgumentInvalid', `keep ${rule}: ${count} is not a whole number`);
  }
  if (counts.some(([, count]) => count > 0)) return;
  throw new HoldfastError(
    'ArgumentInvalid',
    'these rules keep nothing, which would delete every recovery point: keep at least one',
  );
}

function isoOf(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

function mondayOf(timeMs: number): number {
  const days = Math.floor(timeMs / DAY_MS);
  const sinceMonday = (((days + MONDAY_SHIFT_DAYS) % 7) + 7) % 7;
  return (days - sinceMonday) * DAY_MS;
}
