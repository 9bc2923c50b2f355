/** Times of the API for people: in this machine's time zone, to the second. */
import { formatTime } from '../output/units.ts';

type Time = Date | string | null | undefined;

/** Azure's words for a time that has not come. */
const NEVER = Date.UTC(2002, 0, 1);

/** Milliseconds since 1970; undefined for none. */
export function timeMs(time: Time): number | undefined {
  if (time === undefined || time === null) return undefined;
  const ms = typeof time === 'string' ? Date.parse(time) : time.getTime();
  return Number.isNaN(ms) || ms < NEVER ? undefined : ms;
}

/** `2026-08-01 10:11:12`; `-` for none. */
export function shortTime(time: Time): string {
  const ms = timeMs(time);
  return ms === undefined ? '-' : formatTime(ms).slice(0, 19).replace('T', ' ');
}

/** For JSON; undefined for none. */
export function isoTime(time: Time): string | undefined {
  const ms = timeMs(time);
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

/** Of ISO 8601's durations those that jobs have: `P1DT2H3M4.5S`. Undefined for others. */
export function durationSeconds(text: string | undefined): number | undefined {
  const found = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?)?$/.exec(text ?? '');
  if (found === null) return undefined;
  const [days, hours, minutes, seconds] = found.slice(1).map((part) => Number(part ?? 0));
  return ((days! * 24 + hours!) * 60 + minutes!) * 60 + seconds!;
}
