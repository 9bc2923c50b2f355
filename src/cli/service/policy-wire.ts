/** A policy for VMs in Azure's form: what we write and read of it. */

export type WireRule = {
  readonly retentionTimes?: readonly string[] | null;
  readonly retentionDuration: { readonly count: number; readonly durationType: string };
};

export type WireDays = {
  readonly retentionScheduleFormatType: string;
  readonly retentionScheduleDaily?: {
    readonly daysOfTheMonth: readonly {
      readonly date?: number | null;
      readonly isLast?: boolean | null;
    }[];
  } | null;
  readonly retentionScheduleWeekly?: {
    readonly daysOfTheWeek: readonly string[];
    readonly weeksOfTheMonth: readonly string[];
  } | null;
};

export type WireRetention = {
  readonly retentionPolicyType: string;
  readonly dailySchedule?: WireRule | null;
  readonly weeklySchedule?: (WireRule & { readonly daysOfTheWeek: readonly string[] }) | null;
  readonly monthlySchedule?: (WireRule & WireDays) | null;
  readonly yearlySchedule?:
    | (WireRule & WireDays & { readonly monthsOfYear: readonly string[] })
    | null;
};

export type WireSchedule = {
  readonly schedulePolicyType: string;
  readonly scheduleRunFrequency: string;
  readonly scheduleRunDays?: readonly string[] | null;
  readonly scheduleRunTimes?: readonly string[] | null;
  readonly dailySchedule?: { readonly scheduleRunTimes: readonly string[] } | null;
  readonly weeklySchedule?: {
    readonly scheduleRunDays: readonly string[];
    readonly scheduleRunTimes: readonly string[];
  } | null;
  readonly hourlySchedule?: {
    readonly interval: number;
    readonly scheduleWindowStartTime: string;
    readonly scheduleWindowDuration: number;
  } | null;
};

export type WirePolicy = {
  readonly backupManagementType: string;
  readonly policyType?: string | null;
  readonly timeZone?: string | null;
  readonly schedulePolicy: WireSchedule;
  readonly retentionPolicy: WireRetention;
  readonly instantRpRetentionRangeInDays?: number | null;
};

export type WirePolicyResource = {
  readonly id: string;
  readonly name: string;
  readonly properties: WirePolicy & { readonly protectedItemsCount: number };
};
