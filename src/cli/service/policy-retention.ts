/** How long points are kept: the options `--keep-…` in Azure's form. What is not said stays as it was. */
import { UsageError } from '../usage-error.ts';
import { daysFromText, monthsFromText, weekdaysFromText } from './policy-days.ts';
import type { WireDays, WireRetention, WireRule } from './policy-wire.ts';

/** As commander gives them. */
export type RetentionOptions = {
  readonly keepDaily?: string;
  readonly keepWeekly?: string;
  readonly keepWeeklyOn?: string;
  readonly keepMonthly?: string;
  readonly keepMonthlyOn?: string;
  readonly keepYearly?: string;
  readonly keepYearlyOn?: string;
};

/** What the schedule says of retention. */
export type RetentionClock = {
  /** Of a weekly schedule, which its retention must repeat. */
  readonly weekdays: readonly string[] | undefined;
  /** Undefined for hourly schedules. */
  readonly times: readonly string[] | undefined;
};

const DEFAULT_DAYS = 30;
const DEFAULT_WEEKS = 12;
const USUAL_DAY = 'Sunday';
/** For a rule that is not to be. */
const NONE = 'none';

/** @param old undefined: of a new policy. @throws {UsageError} */
export function retentionOf(
  options: RetentionOptions,
  clock: RetentionClock,
  old: WireRetention | undefined,
): WireRetention {
  const { daily, weekly, monthly, yearly } = rulesOf({ options, clock, old });
  requireRule('--keep-weekly', weekly, options.keepWeeklyOn);
  requireRule('--keep-monthly', monthly, options.keepMonthlyOn);
  requireRule('--keep-yearly', yearly, options.keepYearlyOn);
  const of = { options, clock, old };
  const times = clock.times === undefined ? {} : { retentionTimes: clock.times };
  return {
    retentionPolicyType: 'LongTermRetentionPolicy',
    ...(daily && { dailySchedule: { ...times, ...daily } }),
    ...(weekly && { weeklySchedule: { daysOfTheWeek: weeklyDays(of), ...times, ...weekly } }),
    ...(monthly && { monthlySchedule: { ...monthlyDays(of), ...times, ...monthly } }),
    ...(yearly && { yearlySchedule: { ...yearlyDays(of), ...times, ...yearly } }),
  };
}

function rulesOf({ options, clock, old }: Known) {
  const isWeekly = clock.weekdays !== undefined;
  const daily = ruleOf('--keep-daily', options.keepDaily, {
    unit: 'Days',
    old: isWeekly ? undefined : (old?.dailySchedule ?? lasting(DEFAULT_DAYS, 'Days')),
  });
  const weekly = ruleOf('--keep-weekly', options.keepWeekly, {
    unit: 'Weeks',
    old: old?.weeklySchedule ?? (isWeekly ? lasting(DEFAULT_WEEKS, 'Weeks') : undefined),
  });
  const monthly = ruleOf('--keep-monthly', options.keepMonthly, {
    unit: 'Months',
    old: old?.monthlySchedule,
  });
  const yearly = ruleOf('--keep-yearly', options.keepYearly, {
    unit: 'Years',
    old: old?.yearlySchedule,
  });
  return { daily, weekly, monthly, yearly };
}

type Known = {
  readonly options: RetentionOptions;
  readonly clock: RetentionClock;
  readonly old: WireRetention | undefined;
};

function weeklyDays({ options, clock, old }: Known): readonly string[] {
  const { keepWeeklyOn } = options;
  if (keepWeeklyOn !== undefined) return weekdaysFromText('--keep-weekly-on', keepWeeklyOn);
  return clock.weekdays ?? old?.weeklySchedule?.daysOfTheWeek ?? [USUAL_DAY];
}

function monthlyDays({ options, clock, old }: Known): WireDays {
  const { keepMonthlyOn } = options;
  if (keepMonthlyOn === undefined && old?.monthlySchedule != null) {
    return daysOnly(old.monthlySchedule);
  }
  return daysFromText('--keep-monthly-on', keepMonthlyOn ?? usualDays(clock));
}

function yearlyDays({
  options,
  clock,
  old,
}: Known): WireDays & { readonly monthsOfYear: readonly string[] } {
  const option = '--keep-yearly-on';
  const { keepYearlyOn } = options;
  if (keepYearlyOn === undefined && old?.yearlySchedule != null) {
    const { monthsOfYear } = old.yearlySchedule;
    return { monthsOfYear, ...daysOnly(old.yearlySchedule) };
  }
  const text = keepYearlyOn ?? `january ${usualDays(clock)}`;
  const { months, rest } = monthsFromText(option, text);
  return { monthsOfYear: months, ...daysFromText(option, rest) };
}

/** A day that the schedule has a backup on. */
function usualDays({ weekdays }: RetentionClock): string {
  return `first ${weekdays?.[0] ?? USUAL_DAY}`;
}

type Unit = 'Days' | 'Weeks' | 'Months' | 'Years';

function lasting(count: number, durationType: Unit): WireRule {
  return { retentionDuration: { count, durationType } };
}

function ruleOf(
  option: string,
  text: string | undefined,
  { unit, old }: { readonly unit: Unit; readonly old: WireRule | null | undefined },
): WireRule | undefined {
  if (text === NONE) return undefined;
  const count = countOf(option, text);
  if (count !== undefined) return lasting(count, unit);
  return old == null ? undefined : { retentionDuration: old.retentionDuration };
}

function requireRule(option: string, rule: unknown, on: string | undefined): void {
  if (on !== undefined && rule === undefined) throw new UsageError(`${option}-on needs ${option}`);
}

function daysOnly(days: WireDays): WireDays {
  const { retentionScheduleFormatType, retentionScheduleDaily, retentionScheduleWeekly } = days;
  return {
    retentionScheduleFormatType,
    ...(retentionScheduleDaily == null ? {} : { retentionScheduleDaily }),
    ...(retentionScheduleWeekly == null ? {} : { retentionScheduleWeekly }),
  };
}

/** @throws {UsageError} */
export function countOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`${option} "${text}" is not a whole number`);
}
