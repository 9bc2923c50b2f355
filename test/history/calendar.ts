/**
 * The calendar of the model: walls of time zones by `Intl`, runs of a schedule, the days that carry a tag, dates that
 * are so many days, weeks, months or years later. Written from the rules (R8–R11, R16, R17), minute by minute where
 * that is simplest; shares nothing with the service.
 */
import type { BackupPolicy, RetentionDays } from '../../src/service/policy/backup-policy.ts';

export const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** Windows names that histories use, and what they are. */
export const ZONES: Readonly<Record<string, string>> = {
  UTC: 'UTC',
  'W. Europe Standard Time': 'Europe/Berlin',
  'Eastern Standard Time': 'America/New_York',
  'AUS Eastern Standard Time': 'Australia/Sydney',
  'Lord Howe Standard Time': 'Australia/Lord_Howe',
};
const WEEKDAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];
const MONTHS =
  'january february march april may june july august september october november december'.split(
    ' ',
  );
const WEEKS = ['first', 'second', 'third', 'fourth'];

export type Class = 'instant' | 'daily' | 'weekly' | 'monthly' | 'yearly';
export const CLASSES: readonly Class[] = ['instant', 'daily', 'weekly', 'monthly', 'yearly'];

/** A run of a schedule; `day`: of its policy day, counted from 1970. */
export type Run = { readonly at: number; readonly day: number; readonly isLast: boolean };

const formats = new Map<string, Intl.DateTimeFormat>();

/** What the wall shows, as if it were UTC. */
function wallOf(timeZone: string, at: number): number {
  const zone = ZONES[timeZone]!;
  if (zone === 'UTC') return at;
  let format = formats.get(zone);
  if (format === undefined) {
    const digits = { year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric' } as const;
    const rest = { minute: 'numeric', second: 'numeric', hourCycle: 'h23' } as const;
    format = new Intl.DateTimeFormat('en-US', { timeZone: zone, ...digits, ...rest });
    formats.set(zone, format);
  }
  const shown = new Map(format.formatToParts(at).map(({ type, value }) => [type, Number(value)]));
  const [year, month, day] = [shown.get('year')!, shown.get('month')!, shown.get('day')!];
  const [hour, minute, second] = [shown.get('hour')!, shown.get('minute')!, shown.get('second')!];
  const milliseconds = ((at % 1000) + 1000) % 1000;
  return Date.UTC(year, month - 1, day, hour, minute, second, milliseconds);
}

/** The first instant at which the wall shows that time, or a later one: a gap is jumped over. */
function firstInstantOf(timeZone: string, wall: number): number {
  if (timeZone === 'UTC') return wall;
  const before = wallOf(timeZone, wall - DAY_MS) - (wall - DAY_MS);
  const after = wallOf(timeZone, wall + DAY_MS) - (wall + DAY_MS);
  let at = wall - Math.max(before, after);
  while (wallOf(timeZone, at) < wall) at += MINUTE_MS;
  return at;
}

function runsOn({ timeZone, schedule }: BackupPolicy, day: number): readonly Run[] {
  const minutes = (time: string): number =>
    Number(time.slice(0, 2)) * 60 + Number(time.slice(3, 5));
  let walls: readonly number[];
  if (schedule.frequency === 'hourly') {
    const { intervalHours, windowHours, windowStart } = schedule;
    const start = day * DAY_MS + minutes(windowStart) * MINUTE_MS;
    const hours = Array.from({ length: 24 }, (_, hour) => hour);
    walls = hours
      // The next window begins 24 hours later.
      .filter(
        (hour) => hour % intervalHours === 0 && hour <= windowHours && hour + intervalHours <= 24,
      )
      .map((hour) => start + hour * HOUR_MS);
  } else {
    const isRunDay =
      schedule.frequency === 'daily' ||
      schedule.weekdays.some((name) => name === WEEKDAYS[weekdayOf(day)]);
    walls = isRunDay ? [day * DAY_MS + minutes(schedule.runTimes[0]!) * MINUTE_MS] : [];
  }
  const instants = [...new Set(walls.map((wall) => firstInstantOf(timeZone, wall)))];
  return instants.map((at, index) => ({ at, day, isLast: index === instants.length - 1 }));
}

/** The newest run at or before an instant. */
export function newestRun(policy: BackupPolicy, at: number): Run {
  const today = Math.floor(wallOf(policy.timeZone, at) / DAY_MS);
  for (let day = today + 1; ; day -= 1) {
    const found = runsOn(policy, day).findLast((run) => run.at <= at);
    if (found !== undefined) return found;
  }
}

/** The first run after an instant. */
export function nextRun(policy: BackupPolicy, at: number): number {
  const today = Math.floor(wallOf(policy.timeZone, at) / DAY_MS);
  for (let day = today - 1; ; day += 1) {
    const found = runsOn(policy, day).find((run) => run.at > at);
    if (found !== undefined) return found.at;
  }
}

function weekdayOf(day: number): number {
  return new Date(day * DAY_MS).getUTCDay();
}

function isAmong(days: RetentionDays, day: number): boolean {
  const date = new Date(day * DAY_MS);
  const isLastOfMonth = new Date((day + 1) * DAY_MS).getUTCDate() === 1;
  if (days.format === 'daily') {
    return days.dates.some((wanted) =>
      wanted === 'last' ? isLastOfMonth : wanted === date.getUTCDate(),
    );
  }
  if (!days.weekdays.some((name) => name === WEEKDAYS[weekdayOf(day)])) return false;
  const isLastWeek = new Date((day + 7) * DAY_MS).getUTCMonth() !== date.getUTCMonth();
  const week = WEEKS[Math.floor((date.getUTCDate() - 1) / 7)];
  return days.weeks.some((wanted) => (wanted === 'last' ? isLastWeek : wanted === week));
}

/** Whether points of that day are to carry the tag (R16). */
function isDayOf({ retention }: BackupPolicy, of: Class, day: number): boolean {
  const { daily, weekly, monthly, yearly } = retention;
  if (of === 'daily') return daily !== undefined;
  if (of === 'weekly') {
    return weekly?.weekdays.some((name) => name === WEEKDAYS[weekdayOf(day)]) === true;
  }
  if (of === 'monthly') return monthly !== undefined && isAmong(monthly.days, day);
  const month = MONTHS[new Date(day * DAY_MS).getUTCMonth()];
  return yearly?.months.some((name) => name === month) === true && isAmong(yearly.days, day);
}

/** Two days of one week (from Sunday), month or year. */
function isOnePeriod(of: Class, one: number, other: number): boolean {
  const [a, b] = [new Date(one * DAY_MS).toISOString(), new Date(other * DAY_MS).toISOString()];
  if (of === 'weekly') return one - weekdayOf(one) === other - weekdayOf(other);
  return of === 'monthly' ? a.slice(0, 7) === b.slice(0, 7) : a.slice(0, 4) === b.slice(0, 4);
}

/**
 * The run whose tag a point of `run` may carry: the newest of the class's runs that is not after it, in its week, month or
 * year; of daily tags of an hourly schedule that of the day before, of others the own.
 */
export function tagRun(policy: BackupPolicy, of: Class, run: Run): Run | undefined {
  for (let day = run.day; day >= run.day - 366; day -= 1) {
    if (of === 'daily' && day < run.day - 1) return undefined;
    if (of === 'daily' && day < run.day && policy.schedule.frequency !== 'hourly') return undefined;
    if (of !== 'daily' && !isOnePeriod(of, day, run.day)) return undefined;
    const last = runsOn(policy, day).at(-1);
    if (last === undefined || last.at > run.at) continue;
    if (isDayOf(policy, of, day)) return last;
  }
  return undefined;
}

/** Until when a class of the policy keeps a point; undefined: the policy has no such rule. */
export function promiseOf(policy: BackupPolicy, of: Class, takenAt: number): number | undefined {
  const { timeZone, retention, instantRestoreDays } = policy;
  if (of === 'instant') return later(timeZone, takenAt, instantRestoreDays);
  const count = retention[of]?.duration.count;
  if (count === undefined) return undefined;
  if (of === 'daily') return later(timeZone, takenAt, count);
  if (of === 'weekly') return later(timeZone, takenAt, 7 * count);
  const months = of === 'monthly' ? count : 12 * count;
  const wall = new Date(wallOf(timeZone, takenAt));
  const first = Date.UTC(wall.getUTCFullYear(), wall.getUTCMonth() + months, 1);
  const next = new Date(first);
  const end = Date.UTC(next.getUTCFullYear(), next.getUTCMonth() + 1, 1);
  const date = Math.min(first + (wall.getUTCDate() - 1) * DAY_MS, end - DAY_MS);
  return sameWall(timeZone, takenAt, date + (wall.getTime() % DAY_MS));
}

function later(timeZone: string, takenAt: number, days: number): number {
  return sameWall(timeZone, takenAt, wallOf(timeZone, takenAt) + days * DAY_MS);
}

/** Of two instants that show it that with the offset of `like`; of a wall time that is left out, as if it were not. */
function sameWall(timeZone: string, like: number, wall: number): number {
  const offsetOf = (at: number): number => wallOf(timeZone, at) - at;
  const before = wall - offsetOf(wall - DAY_MS);
  const instants = [before, wall - offsetOf(wall + DAY_MS)].filter(
    (at) => wallOf(timeZone, at) === wall,
  );
  return instants.find((at) => offsetOf(at) === offsetOf(like)) ?? instants[0] ?? before;
}
