/**
 * A backup policy: when the VMs of a vault are backed up, and how long their points are kept. In our words,
 * everything that Azure's wire can say of a policy for VMs; the room `api` translates both ways. What is not
 * kept: the date part of run and retention times (only hh:mm counts), which Azure ignores too.
 *
 *     standard (V1)   daily | weekly            one run time on a half hour
 *        │
 *        ▼  allowed, never back (R13)
 *     enhanced (V2)   daily | weekly | hourly   hourly: every 4, 6, 8 or 12 h in a window
 */

export const POLICY_KINDS = ['standard', 'enhanced'] as const;
/** Sunday first, as in Azure; the position is the number of the day. */
export const WEEKDAYS = [
  'sunday',
  'monday',
  'tuesday',
  'wednesday',
  'thursday',
  'friday',
  'saturday',
] as const;
export const WEEKS_OF_MONTH = ['first', 'second', 'third', 'fourth', 'last'] as const;
export const MONTHS = [
  'january',
  'february',
  'march',
  'april',
  'may',
  'june',
  'july',
  'august',
  'september',
  'october',
  'november',
  'december',
] as const;
export const DURATION_UNITS = ['days', 'weeks', 'months', 'years'] as const;
export const TIERING_MODES = ['none', 'recommended', 'after'] as const;

export type PolicyKind = (typeof POLICY_KINDS)[number];
export type Weekday = (typeof WEEKDAYS)[number];
type WeekOfMonth = (typeof WEEKS_OF_MONTH)[number];
type Month = (typeof MONTHS)[number];
export type DurationUnit = (typeof DURATION_UNITS)[number];

const HOURS_A_DAY = 24;

/** Wall time in the policy's time zone: `HH:MM` or `HH:MM:SS`. */
export type TimeOfDay = string;

export type Duration = { readonly count: number; readonly unit: DurationUnit };

type DailySchedule = {
  readonly frequency: 'daily';
  /** Exactly one in a valid policy (R8). */
  readonly runTimes: readonly TimeOfDay[];
  /** Azure's scheduleWeeklyFrequency, as given: 0 and 1 both mean every week. */
  readonly weeklyFrequency?: number;
};

type WeeklySchedule = {
  readonly frequency: 'weekly';
  readonly weekdays: readonly Weekday[];
  readonly runTimes: readonly TimeOfDay[];
  readonly weeklyFrequency?: number;
};

export type HourlySchedule = {
  readonly frequency: 'hourly';
  readonly intervalHours: number;
  readonly windowStart: TimeOfDay;
  /** The last run of a window is at most this long after its start. */
  readonly windowHours: number;
};

export type Schedule = DailySchedule | WeeklySchedule | HourlySchedule;

/** A date of the month, or its last day. */
type DateOfMonth = number | 'last';

/** The days whose point a monthly or yearly rule keeps, in one of Azure's two formats (R16). */
export type RetentionDays =
  | { readonly format: 'daily'; readonly dates: readonly DateOfMonth[] }
  | {
      readonly format: 'weekly';
      readonly weeks: readonly WeekOfMonth[];
      readonly weekdays: readonly Weekday[];
    };

export type RetentionRule = {
  /** Azure's retentionTimes: the schedule's run time; not looked at for hourly schedules (R15). */
  readonly times: readonly TimeOfDay[];
  readonly duration: Duration;
};

type WeeklyRetention = RetentionRule & { readonly weekdays: readonly Weekday[] };
export type MonthlyRetention = RetentionRule & { readonly days: RetentionDays };
type YearlyRetention = MonthlyRetention & { readonly months: readonly Month[] };

export type Retention = {
  readonly daily?: RetentionRule;
  readonly weekly?: WeeklyRetention;
  readonly monthly?: MonthlyRetention;
  readonly yearly?: YearlyRetention;
};

/** When points move to the archive tier; kept as given. */
type Tiering = {
  readonly mode: (typeof TIERING_MODES)[number];
  /** With `after`: the age at which a point moves. */
  readonly duration?: Duration;
};

export type BackupPolicy = {
  readonly kind: PolicyKind;
  /** A Windows name: `UTC`, `W. Europe Standard Time`. */
  readonly timeZone: string;
  readonly schedule: Schedule;
  readonly retention: Retention;
  /** How long points stay in the snapshot tier. */
  readonly instantRestoreDays: number;
  /** Azure's names of the resource group for snapshots; kept as given. */
  readonly snapshotGroup?: { readonly namePrefix?: string; readonly nameSuffix?: string };
  readonly tiering?: Tiering;
};

/** Seconds since midnight of a `HH:MM[:SS]`. */
export function secondsOfDay(time: TimeOfDay): number {
  const [hours = 0, minutes = 0, seconds = 0] = time.split(':').map(Number);
  return (hours * 60 + minutes) * 60 + seconds;
}

/**
 * The runs of an hourly schedule in hours after the start of its window; the end of the window counts, but
 * not the start of the next day's.
 */
export function runHours({ intervalHours, windowHours }: HourlySchedule): number[] {
  const last = Math.min(windowHours, HOURS_A_DAY - intervalHours);
  return Array.from(
    { length: Math.floor(last / intervalHours) + 1 },
    (_, index) => index * intervalHours,
  );
}
