/** A policy from the domain's words to the wire. */
import type { BackupPolicy, RetentionDays, RetentionRule, Schedule, TimeOfDay } from '#service';

/** Only hh:mm counts. */
const DATE = '2026-01-01';

export function policyToWire(policy: BackupPolicy, protectedItemsCount: number) {
  const { kind, schedule, timeZone, instantRestoreDays, snapshotGroup = {} } = policy;
  const { namePrefix, nameSuffix } = snapshotGroup;
  return {
    backupManagementType: 'AzureIaasVM',
    policyType: kind === 'enhanced' ? 'V2' : 'V1',
    timeZone,
    schedulePolicy: kind === 'enhanced' ? scheduleV2(schedule) : scheduleV1(schedule),
    retentionPolicy: retentionToWire(policy),
    instantRpRetentionRangeInDays: instantRestoreDays,
    instantRPDetails: {
      ...(namePrefix === undefined ? {} : { azureBackupRGNamePrefix: namePrefix }),
      ...(nameSuffix === undefined ? {} : { azureBackupRGNameSuffix: nameSuffix }),
    },
    tieringPolicy: {
      ArchivedRP: { tieringMode: 'DoNotTier', duration: 0, durationType: 'Invalid' },
    },
    protectedItemsCount,
  };
}

function scheduleV1(schedule: Schedule) {
  const schedulePolicyType = 'SimpleSchedulePolicy';
  if (schedule.frequency === 'hourly') return { schedulePolicyType, ...hourly(schedule) };
  const { runTimes, weeklyFrequency = 0 } = schedule;
  return {
    schedulePolicyType,
    scheduleRunFrequency: capital(schedule.frequency),
    ...(schedule.frequency === 'weekly' ? { scheduleRunDays: schedule.weekdays.map(capital) } : {}),
    scheduleRunTimes: runTimes.map(dateTime),
    scheduleWeeklyFrequency: weeklyFrequency,
  };
}

function scheduleV2(schedule: Schedule) {
  const schedulePolicyType = 'SimpleSchedulePolicyV2';
  if (schedule.frequency === 'hourly') return { schedulePolicyType, ...hourly(schedule) };
  const scheduleRunFrequency = capital(schedule.frequency);
  const scheduleRunTimes = schedule.runTimes.map(dateTime);
  if (schedule.frequency === 'daily') {
    return { schedulePolicyType, scheduleRunFrequency, dailySchedule: { scheduleRunTimes } };
  }
  const weeklySchedule = { scheduleRunDays: schedule.weekdays.map(capital), scheduleRunTimes };
  return { schedulePolicyType, scheduleRunFrequency, weeklySchedule };
}

function hourly({ intervalHours, windowStart, windowHours }: Schedule & { frequency: 'hourly' }) {
  return {
    scheduleRunFrequency: 'Hourly',
    hourlySchedule: {
      interval: intervalHours,
      scheduleWindowStartTime: dateTime(windowStart),
      scheduleWindowDuration: windowHours,
    },
  };
}

function retentionToWire({ retention }: BackupPolicy) {
  const { daily, weekly, monthly, yearly } = retention;
  return {
    retentionPolicyType: 'LongTermRetentionPolicy',
    ...(daily && { dailySchedule: ruleToWire(daily) }),
    ...(weekly && {
      weeklySchedule: { daysOfTheWeek: weekly.weekdays.map(capital), ...ruleToWire(weekly) },
    }),
    ...(monthly && { monthlySchedule: { ...daysToWire(monthly.days), ...ruleToWire(monthly) } }),
    ...(yearly && {
      yearlySchedule: {
        monthsOfYear: yearly.months.map(capital),
        ...daysToWire(yearly.days),
        ...ruleToWire(yearly),
      },
    }),
  };
}

function ruleToWire({ times, duration }: RetentionRule) {
  return {
    retentionTimes: times.map(dateTime),
    retentionDuration: { count: duration.count, durationType: capital(duration.unit) },
  };
}

function daysToWire(days: RetentionDays) {
  if (days.format === 'daily') {
    const daysOfTheMonth = days.dates.map((date) =>
      date === 'last' ? { date: 0, isLast: true } : { date, isLast: false },
    );
    return { retentionScheduleFormatType: 'Daily', retentionScheduleDaily: { daysOfTheMonth } };
  }
  return {
    retentionScheduleFormatType: 'Weekly',
    retentionScheduleWeekly: {
      daysOfTheWeek: days.weekdays.map(capital),
      weeksOfTheMonth: days.weeks.map(capital),
    },
  };
}

function dateTime(time: TimeOfDay): string {
  return `${DATE}T${time.length === 5 ? `${time}:00` : time}Z`;
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
