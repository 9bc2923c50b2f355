/**
 * Dates of a policy's durations: the same wall time days, weeks, months or years later in a time zone, as Luxon's `plus`
 * gives them. Of a month without that date its last; a wall time that a change of the clock leaves out is as much later,
 * of one that comes twice the offset from before counts.
 *
 * A vault has 100 000 dates to tell: the zone is asked for its offsets week by week, not date by date.
 */
import { zoneOf } from '../policy/time-zones.ts';
import type { Duration } from '../policy/backup-policy.ts';

/** @param atMs ms. */
export type LaterDate = (atMs: number, duration: Duration) => number;

const MINUTE_MS = 60_000;
const WEEK_MS = 7 * 24 * 60 * MINUTE_MS;

export function laterDates(timeZone: string): LaterDate {
  const offsetMs = offsets(timeZone);
  return (atMs, { count, unit }) => {
    const before = offsetMs(atMs);
    const wall = new Date(atMs + before);
    const years = wall.getUTCFullYear() + (unit === 'years' ? count : 0);
    const months = wall.getUTCMonth() + (unit === 'months' ? count : 0);
    const lastDay = new Date(Date.UTC(years, months + 1, 0)).getUTCDate();
    const days = unit === 'days' ? count : unit === 'weeks' ? 7 * count : 0;
    const date = Math.min(wall.getUTCDate(), lastDay) + days;
    const [h, m, s, ms] = [
      wall.getUTCHours(),
      wall.getUTCMinutes(),
      wall.getUTCSeconds(),
      wall.getUTCMilliseconds(),
    ];
    return instantOf(Date.UTC(years, months, date, h, m, s, ms), before, offsetMs);
  };
}

/** @param before the offset from UTC that is tried first. */
function instantOf(wallMs: number, before: number, offsetMs: (atMs: number) => number): number {
  const there = offsetMs(wallMs - before);
  if (there === before) return wallMs - before;
  const then = offsetMs(wallMs - there);
  return wallMs - (then === there ? there : Math.min(there, then));
}

/** From UTC, ms. At most one change of the clock within a week is assumed. */
function offsets(timeZone: string): (atMs: number) => number {
  const zone = zoneOf(timeZone);
  const ask = (atMs: number): number => zone.offset(atMs) * MINUTE_MS;
  /** At the beginning of each week since 1970. */
  const known = new Map<number, number>();
  const beginOf = (week: number): number => {
    let offset = known.get(week);
    if (offset === undefined) known.set(week, (offset = ask(week * WEEK_MS)));
    return offset;
  };
  return (atMs) => {
    const week = Math.floor(atMs / WEEK_MS);
    const offset = beginOf(week);
    return offset === beginOf(week + 1) ? offset : ask(atMs);
  };
}
