/**
 * Which dates a policy tags (R16, R17), and which dates lie in one period with another. Dates are those of the policy
 * day, `2026-03-29`; pure calendar, no time zone.
 */
import {
  MONTHS,
  WEEKDAYS,
  WEEKS_OF_MONTH,
  type Retention,
  type RetentionDays,
} from '../policy/backup-policy.ts';
import type { TagClass } from './point-retention.ts';

type RuleClass = Exclude<TagClass, 'instant'>;

const DAY_MS = 24 * 60 * 60 * 1000;
const WEEK_DAYS = 7;

/** Whether the point of that date carries the tag. */
export function isTagDay(retention: Retention, tagClass: RuleClass, date: string): boolean {
  const { daily, weekly, monthly, yearly } = retention;
  const day = new Date(date);
  switch (tagClass) {
    case 'daily':
      return daily !== undefined;
    case 'weekly':
      return weekly?.weekdays.includes(WEEKDAYS[day.getUTCDay()]!) === true;
    case 'monthly':
      return monthly !== undefined && isAmong(monthly.days, day);
    case 'yearly':
      return (
        yearly?.months.includes(MONTHS[day.getUTCMonth()]!) === true && isAmong(yearly.days, day)
      );
  }
}

/** The date that many days later. */
export function laterDate(date: string, days: number): string {
  return new Date(Date.parse(date) + days * DAY_MS).toISOString().slice(0, 10);
}

/** The first date of the week (from Sunday), month or year in which `date` lies. */
export function periodStart(period: 'weekly' | 'monthly' | 'yearly', date: string): string {
  if (period === 'weekly') return laterDate(date, -new Date(date).getUTCDay());
  return period === 'monthly' ? `${date.slice(0, 7)}-01` : `${date.slice(0, 4)}-01-01`;
}

function isAmong(days: RetentionDays, day: Date): boolean {
  const date = day.getUTCDate();
  const daysInMonth = new Date(
    Date.UTC(day.getUTCFullYear(), day.getUTCMonth() + 1, 0),
  ).getUTCDate();
  if (days.format === 'daily') {
    return days.dates.some((wanted) => date === (wanted === 'last' ? daysInMonth : wanted));
  }
  if (!days.weekdays.includes(WEEKDAYS[day.getUTCDay()]!)) return false;
  const isLast = date + WEEK_DAYS > daysInMonth;
  return days.weeks.some((week) =>
    week === 'last' ? isLast : WEEKS_OF_MONTH.indexOf(week) === Math.ceil(date / WEEK_DAYS) - 1,
  );
}
