/**
 * A policy between three forms: the options of `holdfast policy create`, Azure's JSON, and words for people.
 *
 * ```
 *   options ──► changes ──► Azure's JSON ◄── a file
 *                 ▲             │ │
 *                 └── set ◄─────┘ └──► words
 * ```
 */
import { UsageError } from '../usage-error.ts';
import { daysText, weekdaysFromText } from './policy-days.ts';
import {
  countOf,
  retentionOf,
  type RetentionClock,
  type RetentionOptions,
} from './policy-retention.ts';
import type { WirePolicy, WireRule, WireSchedule } from './policy-wire.ts';

/** As commander gives them. */
export type PolicyOptions = RetentionOptions & {
  readonly daily?: string;
  readonly weekly?: string;
  readonly at?: string;
  readonly hourly?: string;
  readonly from?: string;
  readonly for?: string;
  readonly enhanced?: boolean;
  readonly timeZone?: string;
  readonly instantDays?: string;
};

const DEFAULT_HOURLY_FROM = '08:00';
const DEFAULT_HOURLY_HOURS = 12;

type Cadence =
  | { readonly every: 'day'; readonly at: string }
  | { readonly every: 'week'; readonly days: readonly string[]; readonly at: string }
  | {
      readonly every: 'hours';
      readonly hours: number;
      readonly from: string;
      readonly for: number;
    };

/** @param before the policy that is changed; undefined: a new one. @throws {UsageError} */
export function policyOf(options: PolicyOptions, before?: WirePolicy): WirePolicy {
  const cadence = cadenceOf(options) ?? (before === undefined ? undefined : cadenceFrom(before));
  if (cadence === undefined) {
    throw new UsageError('say when: --daily 22:00, --weekly sunday --at 22:00, or --hourly 4');
  }
  const isEnhanced = becomesEnhanced(options, cadence, before);
  const instantDays =
    countOf('--instant-days', options.instantDays) ??
    keptInstantDays(before, { isEnhanced, cadence });
  return {
    backupManagementType: 'AzureIaasVM',
    policyType: isEnhanced ? 'V2' : 'V1',
    timeZone: options.timeZone ?? before?.timeZone ?? 'UTC',
    schedulePolicy: isEnhanced ? scheduleV2(cadence) : scheduleV1(cadence),
    retentionPolicy: retentionOf(options, clockOfCadence(cadence), before?.retentionPolicy),
    ...(instantDays === undefined ? {} : { instantRpRetentionRangeInDays: instantDays }),
  };
}

function becomesEnhanced(
  { enhanced }: PolicyOptions,
  { every }: Cadence,
  before: WirePolicy | undefined,
): boolean {
  return enhanced === true || every === 'hours' || before?.policyType === 'V2';
}

/** Days in the snapshot tier have limits by kind and cadence: where those change, the service says how many. */
function keptInstantDays(
  before: WirePolicy | undefined,
  after: { readonly isEnhanced: boolean; readonly cadence: Cadence },
): number | undefined {
  if (before === undefined || (before.policyType === 'V2') !== after.isEnhanced) return undefined;
  if (cadenceFrom(before).every !== after.cadence.every) return undefined;
  return before.instantRpRetentionRangeInDays ?? undefined;
}

function clockOfCadence(cadence: Cadence): RetentionClock {
  return {
    weekdays: cadence.every === 'week' ? cadence.days : undefined,
    times: cadence.every === 'hours' ? undefined : [dateTime(cadence.at)],
  };
}

function cadenceOf(options: PolicyOptions): Cadence | undefined {
  checkCadence(options);
  const { daily, weekly, at, hourly } = options;
  if (daily !== undefined) return { every: 'day', at: timeOf('--daily', daily) };
  if (weekly !== undefined) {
    const days = weekdaysFromText('--weekly', weekly);
    return { every: 'week', days, at: timeOf('--at', at ?? '') };
  }
  if (hourly === undefined) return undefined;
  return {
    every: 'hours',
    hours: countOf('--hourly', hourly) ?? 0,
    from: timeOf('--from', options.from ?? DEFAULT_HOURLY_FROM),
    for: countOf('--for', options.for) ?? DEFAULT_HOURLY_HOURS,
  };
}

function checkCadence({ daily, weekly, at, hourly, ...window }: PolicyOptions): void {
  if ([daily, weekly, hourly].filter((one) => one !== undefined).length > 1) {
    throw new UsageError('--daily, --weekly and --hourly contradict each other: give one of them');
  }
  if (weekly === undefined && at !== undefined) throw new UsageError('--at belongs to --weekly');
  if (weekly !== undefined && at === undefined) {
    throw new UsageError('--weekly needs --at: the time of day');
  }
  const isWindow = window.from !== undefined || window.for !== undefined;
  if (hourly === undefined && isWindow) {
    throw new UsageError('--from and --for belong to --hourly');
  }
}

/** Of a policy that the service has. */
function cadenceFrom({ schedulePolicy: schedule }: WirePolicy): Cadence {
  const { scheduleRunFrequency: frequency, hourlySchedule } = schedule;
  if (frequency === 'Hourly' && hourlySchedule != null) {
    const { interval, scheduleWindowStartTime, scheduleWindowDuration } = hourlySchedule;
    const from = clockOf(scheduleWindowStartTime);
    return { every: 'hours', hours: interval, from, for: scheduleWindowDuration };
  }
  const { dailySchedule, weeklySchedule, scheduleRunDays, scheduleRunTimes } = schedule;
  const times = (weeklySchedule ?? dailySchedule)?.scheduleRunTimes ?? scheduleRunTimes ?? [];
  const at = clockOf(times[0] ?? '');
  if (frequency === 'Daily') return { every: 'day', at };
  return { every: 'week', days: weeklySchedule?.scheduleRunDays ?? scheduleRunDays ?? [], at };
}

function scheduleV1(cadence: Cadence): WireSchedule {
  const schedulePolicyType = 'SimpleSchedulePolicy';
  if (cadence.every === 'hours') return { schedulePolicyType, ...hourly(cadence) };
  const scheduleRunTimes = [dateTime(cadence.at)];
  if (cadence.every === 'day') {
    return { schedulePolicyType, scheduleRunFrequency: 'Daily', scheduleRunTimes };
  }
  const scheduleRunDays = cadence.days;
  return { schedulePolicyType, scheduleRunFrequency: 'Weekly', scheduleRunDays, scheduleRunTimes };
}

function scheduleV2(cadence: Cadence): WireSchedule {
  const schedulePolicyType = 'SimpleSchedulePolicyV2';
  if (cadence.every === 'hours') return { schedulePolicyType, ...hourly(cadence) };
  const scheduleRunTimes = [dateTime(cadence.at)];
  if (cadence.every === 'day') {
    const dailySchedule = { scheduleRunTimes };
    return { schedulePolicyType, scheduleRunFrequency: 'Daily', dailySchedule };
  }
  const weeklySchedule = { scheduleRunDays: cadence.days, scheduleRunTimes };
  return { schedulePolicyType, scheduleRunFrequency: 'Weekly', weeklySchedule };
}

function hourly(cadence: Cadence & { readonly every: 'hours' }) {
  return {
    scheduleRunFrequency: 'Hourly',
    hourlySchedule: {
      interval: cadence.hours,
      scheduleWindowStartTime: dateTime(cadence.from),
      scheduleWindowDuration: cadence.for,
    },
  };
}

/** `daily at 22:00`, `every 4 hours from 08:00 for 12 hours`. */
export function scheduleText(policy: WirePolicy): string {
  const cadence = cadenceFrom(policy);
  if (cadence.every === 'day') return `daily at ${cadence.at}`;
  if (cadence.every === 'week') return `${cadence.days.join(', ')} at ${cadence.at}`;
  return `every ${cadence.hours} hours from ${cadence.from} for ${cadence.for} hours`;
}

/** `30 days, 12 weeks (Sunday)` */
export function retentionText({ retentionPolicy }: WirePolicy): string {
  const { dailySchedule, weeklySchedule, monthlySchedule, yearlySchedule } = retentionPolicy;
  const durations = [
    dailySchedule && durationText(dailySchedule),
    weeklySchedule &&
      `${durationText(weeklySchedule)} (${weeklySchedule.daysOfTheWeek.join(', ')})`,
    monthlySchedule && `${durationText(monthlySchedule)} (${daysText(monthlySchedule)})`,
    yearlySchedule &&
      `${durationText(yearlySchedule)} (${daysText(yearlySchedule)} of ${yearlySchedule.monthsOfYear.join(', ')})`,
  ];
  return durations.filter((text) => text != null).join(', ');
}

function durationText({ retentionDuration: { count, durationType } }: WireRule): string {
  const unit = durationType.toLowerCase();
  return `${count} ${count === 1 ? unit.slice(0, -1) : unit}`;
}

function timeOf(option: string, text: string): string {
  const [, hours = '', minutes] = /^(\d{1,2}):(\d\d)$/.exec(text) ?? [];
  if (minutes === undefined || Number(hours) > 23 || Number(minutes) > 59) {
    throw new UsageError(`${option} "${text}" is not a time of day such as 22:00`);
  }
  return `${hours.padStart(2, '0')}:${minutes}`;
}

/** Azure writes times as date-times, of which only the digits of the clock count. */
function dateTime(time: string): string {
  return `2026-01-01T${time}:00Z`;
}

function clockOf(text: string): string {
  return /T(\d\d:\d\d)/.exec(text)?.[1] ?? '';
}
