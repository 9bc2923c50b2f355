/** Days and months of UTC: a day is its number since 1970-01-01, a month `2026-11`. */
import { HoldfastError } from '#base';

export const DAY_MS = 86_400_000;

/** The day that an instant is in. */
export function dayOf(timeMs: number): number {
  return Math.floor(timeMs / DAY_MS);
}

/** Its end, which is the next one's beginning; ms. */
export function endOfDay(day: number): number {
  return (day + 1) * DAY_MS;
}

export function monthOf(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 7);
}

/** 1 to 31. */
export function dateOf(day: number): number {
  return new Date(day * DAY_MS).getUTCDate();
}

/** The number of the month's first day. */
export function firstDayOf(month: string): number {
  return dayOf(Date.parse(`${month}-01T00:00:00Z`));
}

export function daysIn(month: string): number {
  return firstDayOf(nextMonth(month)) - firstDayOf(month);
}

export function nextMonth(month: string): string {
  return monthOf(firstDayOf(month) + 31);
}

/** @throws {HoldfastError} `ArgumentInvalid` */
export function parseMonth(text: string): string {
  if (/^[12]\d{3}-(0[1-9]|1[0-2])$/.test(text)) return text;
  throw new HoldfastError('ArgumentInvalid', `'${text.slice(0, 40)}' is no month such as 2026-11`);
}
