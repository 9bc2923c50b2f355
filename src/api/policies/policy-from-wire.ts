/**
 * A policy from the wire to the domain's words. What it may be is the domain's to say (`validatePolicy`); refused
 * here is what cannot be said there: fields that contradict each other, and what Holdfast has not.
 */
import { HoldfastError } from '#base';
import { refuseUnsupported } from '../frame/wire.ts';
import type { WireDays, WirePolicy, WireRetention, WireSchedule } from './policy-wire.ts';

/**
 * In the shape of the domain's `BackupPolicy`, not validated.
 *
 * @throws {HoldfastError} `BMSUserErrorInvalidPolicyInput`; {Refusal} `NotSupported`.
 */
export function policyFromWire(policy: WirePolicy): unknown {
  const { resourceGuardOperationRequests, instantRPDetails, schedulePolicy } = policy;
  refuseUnsupported((resourceGuardOperationRequests?.length ?? 0) > 0, 'Resource guards are');
  refuseArchive(policy.tieringPolicy);
  const kind = kindOf(policy);
  const { azureBackupRGNamePrefix: namePrefix, azureBackupRGNameSuffix: nameSuffix } =
    instantRPDetails ?? {};
  const snapshotGroup = present({ namePrefix, nameSuffix });
  return present({
    kind,
    timeZone: policy.timeZone ?? timeZoneWithout(schedulePolicy),
    schedule: scheduleFromWire(schedulePolicy),
    retention: retentionFromWire(policy.retentionPolicy),
    instantRestoreDays: policy.instantRpRetentionRangeInDays,
    snapshotGroup: Object.keys(snapshotGroup).length === 0 ? undefined : snapshotGroup,
  });
}

/** R9: an hourly schedule names its own. */
function timeZoneWithout({ scheduleRunFrequency }: WireSchedule): string {
  if (scheduleRunFrequency !== 'Hourly') return 'UTC';
  throw invalid('timeZone is missing, which an hourly schedule needs');
}

function kindOf({ policyType, schedulePolicy }: WirePolicy): 'standard' | 'enhanced' {
  const isEnhanced = policyType === 'V2';
  const expected = isEnhanced ? 'SimpleSchedulePolicyV2' : 'SimpleSchedulePolicy';
  if (policyType === 'Invalid') throw invalid('policyType is Invalid, allowed: V1, V2');
  if (schedulePolicy.schedulePolicyType === expected) return isEnhanced ? 'enhanced' : 'standard';
  throw invalid(
    `schedulePolicy.schedulePolicyType is ${schedulePolicy.schedulePolicyType}, allowed with policyType ` +
      `${policyType ?? 'V1'}: ${expected}`,
  );
}

function scheduleFromWire(schedule: WireSchedule): unknown {
  const { scheduleRunFrequency: frequency, hourlySchedule } = schedule;
  const { weekdays, times, weeklyFrequency, others } = partsOf(schedule);
  refuseGiven(others, frequency);
  switch (frequency) {
    case 'Daily':
      refuseGiven({ scheduleRunDays: weekdays, hourlySchedule }, frequency);
      return present({ frequency: 'daily', runTimes: timesOf(times), weeklyFrequency });
    case 'Weekly': {
      refuseGiven({ hourlySchedule }, frequency);
      const runTimes = timesOf(times);
      return present({
        frequency: 'weekly',
        weekdays: lowerCased(weekdays),
        runTimes,
        weeklyFrequency,
      });
    }
    case 'Hourly':
      refuseGiven({ scheduleRunDays: weekdays, scheduleRunTimes: times }, frequency);
      return present({
        frequency: 'hourly',
        intervalHours: hourlySchedule?.interval,
        windowStart: hourlySchedule && timeOf(hourlySchedule.scheduleWindowStartTime),
        windowHours: hourlySchedule?.scheduleWindowDuration,
      });
  }
}

type ScheduleParts = {
  readonly weekdays?: readonly string[] | null | undefined;
  readonly times?: readonly string[] | null | undefined;
  readonly weeklyFrequency?: number | null | undefined;
  /** What belongs to another frequency than the schedule's. */
  readonly others: Readonly<Record<string, unknown>>;
};

/** Of both forms: V1 has them side by side, V2 in an object a frequency. */
function partsOf(schedule: WireSchedule): ScheduleParts {
  if (schedule.schedulePolicyType === 'SimpleSchedulePolicy') {
    const { scheduleRunDays, scheduleRunTimes, scheduleWeeklyFrequency } = schedule;
    const weeklyFrequency =
      schedule.scheduleRunFrequency === 'Hourly' ? null : scheduleWeeklyFrequency;
    return { weekdays: scheduleRunDays, times: scheduleRunTimes, weeklyFrequency, others: {} };
  }
  const { scheduleRunFrequency: frequency, dailySchedule, weeklySchedule } = schedule;
  const others = {
    dailySchedule: frequency === 'Daily' ? undefined : dailySchedule,
    weeklySchedule: frequency === 'Weekly' ? undefined : weeklySchedule,
  };
  if (frequency === 'Weekly') {
    const { scheduleRunDays: weekdays, scheduleRunTimes: times } = weeklySchedule ?? {};
    return { weekdays, times, others };
  }
  return { times: dailySchedule?.scheduleRunTimes, others };
}

function retentionFromWire(retention: WireRetention): unknown {
  const { dailySchedule, weeklySchedule, monthlySchedule, yearlySchedule } = retention;
  return present({
    daily: dailySchedule && ruleOf(dailySchedule),
    weekly: weeklySchedule && {
      ...ruleOf(weeklySchedule),
      weekdays: lowerCased(weeklySchedule.daysOfTheWeek),
    },
    monthly: monthlySchedule && {
      ...ruleOf(monthlySchedule),
      days: daysFromWire('monthlySchedule', monthlySchedule),
    },
    yearly: yearlySchedule && {
      ...ruleOf(yearlySchedule),
      days: daysFromWire('yearlySchedule', yearlySchedule),
      months: lowerCased(yearlySchedule.monthsOfYear),
    },
  });
}

function ruleOf({
  retentionTimes,
  retentionDuration,
}: NonNullable<WireRetention['dailySchedule']>) {
  const { count, durationType } = retentionDuration;
  return { times: timesOf(retentionTimes), duration: { count, unit: durationType.toLowerCase() } };
}

function daysFromWire(field: string, wire: WireDays): unknown {
  const { retentionScheduleFormatType: format } = wire;
  const { retentionScheduleDaily: daily, retentionScheduleWeekly: weekly } = wire;
  if (format === 'Daily' && daily != null) {
    const dates = daily.daysOfTheMonth.map(({ date, isLast }) =>
      isLast === true ? 'last' : (date ?? undefined),
    );
    return { format: 'daily', dates };
  }
  if (format === 'Weekly' && weekly != null) {
    return {
      format: 'weekly',
      weeks: lowerCased(weekly.weeksOfTheMonth),
      weekdays: lowerCased(weekly.daysOfTheWeek),
    };
  }
  throw invalid(`retentionPolicy.${field}.retentionSchedule${format} is missing`);
}

function refuseArchive(tiering: WirePolicy['tieringPolicy']): void {
  const mode = tiering?.ArchivedRP?.tieringMode;
  const isOff = mode === undefined || mode === 'DoNotTier';
  refuseUnsupported(!isOff, `tieringPolicy ${mode}: an archive tier is`);
}

/** R9: what belongs to another frequency is not there. */
function refuseGiven(fields: Readonly<Record<string, unknown>>, frequency: string): void {
  for (const [field, value] of Object.entries(fields)) {
    if (value == null || (Array.isArray(value) && value.length === 0)) continue;
    throw invalid(`schedulePolicy.${field} is given, allowed with ${frequency}: nothing`);
  }
}

function timesOf(times: readonly string[] | null | undefined): readonly string[] {
  return (times ?? []).map(timeOf);
}

/** `2021-12-17T08:00:00+00:00` → `08:00`; in UTC, whose digits are the wall time of the policy. */
function timeOf(dateTime: string): string {
  const hasZone = /(?:Z|[+-]\d\d:\d\d)$/i.test(dateTime);
  const time = new Date(hasZone ? dateTime : `${dateTime}Z`).toISOString().slice(11, 19);
  return time.endsWith(':00') ? time.slice(0, 5) : time;
}

function lowerCased(words: readonly string[] | null | undefined): readonly string[] {
  return (words ?? []).map((word) => word.toLowerCase());
}

/** Without the fields that are null or undefined. */
function present(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null));
}

function invalid(why: string): HoldfastError {
  return new HoldfastError('BMSUserErrorInvalidPolicyInput', `the policy is not valid: ${why}`);
}
