/** A policy for VMs on the wire (`backupManagementType: "AzureIaasVM"`), as clients send it. */
import { z } from 'zod';
import { ANSWERED } from '../frame/wire.ts';

const LIST_LENGTH = 64;

const listOf = <T extends z.ZodType>(item: T) => z.array(item).max(LIST_LENGTH);

/** A date-time of which only hh:mm counts, in UTC: the wall time of the policy's time zone. */
const DATE_TIME = z
  .string()
  .regex(
    /^\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?(?:Z|[+-](?:0\d|1[0-4]):[0-5]\d)?$/i,
    'a date-time such as 2026-01-31T02:00:00Z is expected',
  );
const TIMES = listOf(DATE_TIME);
const WEEKDAY = z.enum([
  'Sunday',
  'Monday',
  'Tuesday',
  'Wednesday',
  'Thursday',
  'Friday',
  'Saturday',
]);
const WEEK = z.enum(['First', 'Second', 'Third', 'Fourth', 'Last']);
const MONTH = z.enum([
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
]);

const DURATION = z.strictObject({
  count: z.int(),
  durationType: z.enum(['Days', 'Weeks', 'Months', 'Years']),
});

const HOURLY = z.strictObject({
  interval: z.int(),
  scheduleWindowStartTime: DATE_TIME,
  scheduleWindowDuration: z.int(),
});

const SIMPLE_SCHEDULE = z.strictObject({
  schedulePolicyType: z.literal('SimpleSchedulePolicy'),
  scheduleRunFrequency: z.enum(['Daily', 'Weekly', 'Hourly']),
  scheduleRunDays: listOf(WEEKDAY).nullish(),
  scheduleRunTimes: TIMES.nullish(),
  hourlySchedule: HOURLY.nullish(),
  scheduleWeeklyFrequency: z.int().nullish(),
});

const SIMPLE_SCHEDULE_V2 = z.strictObject({
  schedulePolicyType: z.literal('SimpleSchedulePolicyV2'),
  scheduleRunFrequency: z.enum(['Daily', 'Weekly', 'Hourly']),
  hourlySchedule: HOURLY.nullish(),
  dailySchedule: z.strictObject({ scheduleRunTimes: TIMES }).nullish(),
  weeklySchedule: z
    .strictObject({ scheduleRunDays: listOf(WEEKDAY), scheduleRunTimes: TIMES })
    .nullish(),
});

const RULE = { retentionTimes: TIMES.nullish(), retentionDuration: DURATION };
const DAYS = {
  retentionScheduleFormatType: z.enum(['Daily', 'Weekly']),
  retentionScheduleDaily: z
    .strictObject({
      daysOfTheMonth: listOf(
        z.strictObject({ date: z.int().nullish(), isLast: z.boolean().nullish() }),
      ),
    })
    .nullish(),
  retentionScheduleWeekly: z
    .strictObject({ daysOfTheWeek: listOf(WEEKDAY), weeksOfTheMonth: listOf(WEEK) })
    .nullish(),
};

const RETENTION = z.strictObject({
  retentionPolicyType: z.literal('LongTermRetentionPolicy'),
  dailySchedule: z.strictObject(RULE).nullish(),
  weeklySchedule: z.strictObject({ ...RULE, daysOfTheWeek: listOf(WEEKDAY) }).nullish(),
  monthlySchedule: z.strictObject({ ...RULE, ...DAYS }).nullish(),
  yearlySchedule: z.strictObject({ ...RULE, ...DAYS, monthsOfYear: listOf(MONTH) }).nullish(),
});

const TIERING = z.strictObject({
  ArchivedRP: z
    .strictObject({
      tieringMode: z.enum(['DoNotTier', 'TierRecommended', 'TierAfter', 'Invalid']),
      duration: z.int().nullish(),
      durationType: z.enum(['Days', 'Weeks', 'Months', 'Years', 'Invalid']).nullish(),
    })
    .nullish(),
});

export const POLICY_PROPERTIES = z.strictObject({
  backupManagementType: z.literal('AzureIaasVM'),
  policyType: z.enum(['V1', 'V2', 'Invalid']).nullish(),
  timeZone: z.string().nullish(),
  schedulePolicy: z.discriminatedUnion('schedulePolicyType', [SIMPLE_SCHEDULE, SIMPLE_SCHEDULE_V2]),
  retentionPolicy: RETENTION,
  instantRpRetentionRangeInDays: z.int().nullish(),
  instantRPDetails: z
    .strictObject({
      azureBackupRGNamePrefix: z.string().nullish(),
      azureBackupRGNameSuffix: z.string().nullish(),
    })
    .nullish(),
  tieringPolicy: TIERING.nullish(),
  protectedItemsCount: z.int().nullish(),
  resourceGuardOperationRequests: z.array(z.string()).nullish(),
});

export const POLICY_PUT = z.strictObject({
  ...ANSWERED,
  location: z.string().nullish(),
  tags: z.unknown().optional(),
  properties: POLICY_PROPERTIES,
});

export type WirePolicy = z.infer<typeof POLICY_PROPERTIES>;
export type WireSchedule = WirePolicy['schedulePolicy'];
export type WireRetention = z.infer<typeof RETENTION>;
export type WireDays = Pick<NonNullable<WireRetention['monthlySchedule']>, keyof typeof DAYS>;
