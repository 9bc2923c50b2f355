/**
 * From the wall time of a time zone to the instant and back. Wall times are milliseconds since
 * 1970-01-01T00:00 on the clock on the wall: a day of them is always 24 h.
 *
 *     wall time           right across DST (default)        dstFollowsAzure (R11)
 *     exists once         that instant                      that of the zone's standard time,
 *     exists not (gap)    the first instant after the gap   all year, in summer too: the wall shows later
 *     exists twice        the first of the two
 *
 * Later wall times never give earlier instants. At most one change of the clock within two days is assumed.
 */
import type { IANAZone } from 'luxon';
import { standardOffsetMinutes, zoneOf } from '../policy/time-zones.ts';

export type WallClock = {
  readonly instantOf: (wallMs: number) => number;
  /** How far the wall clock is ahead of UTC at an instant. */
  readonly offsetMs: (instantMs: number) => number;
};

export type ScheduleOptions = {
  /** R11: runs keep the offset of standard time, as in Azure; default: right across DST. */
  readonly dstFollowsAzure?: boolean;
};

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

export function wallClock(timeZone: string, options: ScheduleOptions = {}): WallClock {
  if (options.dstFollowsAzure === true) {
    const offsetMs = (atMs: number): number => standardOffsetMinutes(timeZone, atMs) * MINUTE_MS;
    return { offsetMs, instantOf: (wallMs) => wallMs - offsetMs(wallMs) };
  }
  const zone = zoneOf(timeZone);
  return {
    offsetMs: (instantMs) => offsetOf(zone, instantMs),
    instantOf: (wallMs) => instantOf(zone, wallMs),
  };
}

function instantOf(zone: IANAZone, wallMs: number): number {
  const before = wallMs - offsetOf(zone, wallMs - DAY_MS);
  const after = wallMs - offsetOf(zone, wallMs + DAY_MS);
  if (before === after) return before;
  const valid = [before, after].filter((at) => at + offsetOf(zone, at) === wallMs);
  return valid.length > 0 ? Math.min(...valid) : endOfGap(zone, after, before);
}

/** The first instant after `lowMs`, up to `highMs`, at which the clock has been set forward. */
function endOfGap(zone: IANAZone, lowMs: number, highMs: number): number {
  const offsetAfter = offsetOf(zone, highMs);
  let low = lowMs;
  let high = highMs;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetOf(zone, middle) === offsetAfter) high = middle;
    else low = middle;
  }
  return high;
}

function offsetOf(zone: IANAZone, instantMs: number): number {
  return zone.offset(instantMs) * MINUTE_MS;
}
