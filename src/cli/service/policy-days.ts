/**
 * Days as people write them, for retention and schedules:
 *
 * ```
 *   sunday,wednesday      weekdays              first sunday          by week of the month
 *   1, 15, last           dates of the month    january first sunday  by month of the year, too
 * ```
 */
import { UsageError } from '../usage-error.ts';
import type { WireDays } from './policy-wire.ts';

const WEEKDAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const WEEKS = ['First', 'Second', 'Third', 'Fourth', 'Last'];
const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];

export function weekdaysFromText(option: string, text: string): readonly string[] {
  return words(text).map((word) => {
    const day = oneOf(WEEKDAYS, word);
    if (day !== undefined) return day;
    throw new UsageError(`${option} "${word}" is not a weekday: write sunday,wednesday`);
  });
}

export function daysFromText(option: string, text: string): WireDays {
  const all = words(text);
  const weekdays = all.flatMap((word) => oneOf(WEEKDAYS, word) ?? []);
  if (weekdays.length === 0) return datesFromWords(option, all);
  const weeksOfTheMonth: string[] = [];
  for (const word of all) {
    if (oneOf(WEEKDAYS, word) !== undefined) continue;
    const week = oneOf(WEEKS, word);
    if (week === undefined)
      throw new UsageError(`${option} "${word}" is none of ${WEEKS.join(', ')}`);
    weeksOfTheMonth.push(week);
  }
  if (weeksOfTheMonth.length === 0) {
    throw new UsageError(`${option} "${text}" does not say which week: write "first ${all[0]}"`);
  }
  return {
    retentionScheduleFormatType: 'Weekly',
    retentionScheduleWeekly: { daysOfTheWeek: weekdays, weeksOfTheMonth },
  };
}

function datesFromWords(option: string, all: readonly string[]): WireDays {
  const daysOfTheMonth = all.map((word) => {
    if (/^last$/i.test(word)) return { date: 0, isLast: true };
    if (/^\d{1,2}$/.test(word)) return { date: Number(word), isLast: false };
    throw new UsageError(
      `${option} "${word}" is no day: write "first sunday", or dates: 1,15,last`,
    );
  });
  if (daysOfTheMonth.length === 0) throw new UsageError(`${option} names no day`);
  return { retentionScheduleFormatType: 'Daily', retentionScheduleDaily: { daysOfTheMonth } };
}

/** @returns the months, and what is left: days. */
export function monthsFromText(
  option: string,
  text: string,
): { readonly months: readonly string[]; readonly rest: string } {
  const all = words(text);
  const months = all.flatMap((word) => oneOf(MONTHS, word) ?? []);
  if (months.length === 0) {
    throw new UsageError(`${option} "${text}" names no month: write "january first sunday"`);
  }
  return { months, rest: all.filter((word) => oneOf(MONTHS, word) === undefined).join(' ') };
}

/** `First Sunday`, `1, last` */
export function daysText(days: WireDays): string {
  const { retentionScheduleWeekly: weekly, retentionScheduleDaily: daily } = days;
  if (weekly != null) {
    return `${weekly.weeksOfTheMonth.join(', ')} ${weekly.daysOfTheWeek.join(', ')}`;
  }
  const dates = daily?.daysOfTheMonth ?? [];
  return `day ${dates.map(({ date, isLast }) => (isLast === true ? 'last' : String(date))).join(', ')}`;
}

function words(text: string): readonly string[] {
  return text.split(/[\s,]+/).filter((word) => word !== '');
}

/** By its whole name or its first three letters or more. */
function oneOf(names: readonly string[], word: string): string | undefined {
  const wanted = word.toLowerCase();
  if (wanted.length < 3) return undefined;
  return names.find((name) => name.toLowerCase().startsWith(wanted));
}
