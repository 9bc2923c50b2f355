/**
 * The rules of retention as a plain model (AZURE-RULES 5.3–5.5, decision 0011): eager where the service is lazy. Each
 * point carries, class by class, the date that its policy promises at present; every change of a policy or a state
 * writes them anew.
 */
import type { BackupPolicy } from '../../src/service/policy/backup-policy.ts';
import {
  CLASSES,
  DAY_MS,
  newestRun,
  nextRun,
  promiseOf,
  tagRun,
  type Class,
  type Run,
} from './calendar.ts';

export type State =
  | 'IRPending'
  | 'Protected'
  | 'ProtectionStopped'
  | 'BackupsSuspended'
  | 'SoftDeleted';

/** Disk → what is in its blocks; 0: zeros. */
export type Content = ReadonlyMap<string, readonly number[]>;

export type ModelPoint = {
  readonly id: string;
  readonly at: number;
  /** Its place in the log of the repository, among all. */
  order: number;
  readonly origin: 'scheduled' | 'on-demand' | 'safety';
  /** On demand. */
  readonly asked: number | undefined;
  readonly runAt: number | undefined;
  readonly content: Content;
  /** Each tag, and until when it keeps the point; undefined: no more, or not yet. */
  readonly promises: Map<Class, number | undefined>;
  /** No day keeps it: its policy's own class does, until what that promised is noted. */
  isTagless: boolean;
  isPinned: boolean;
  extended: number | undefined;
  lost: { readonly until: number; readonly by: 'policy' | 'hand' } | undefined;
};

export type ModelItem = {
  readonly vm: string;
  state: State;
  /** Its name. */
  policy: string | undefined;
  disks: 'all' | 'system';
  lastPolicy: string | undefined;
  /** Runs count from here: protected, or resumed. */
  since: number;
  lastRun: number | undefined;
  lastBackup: 'Completed' | 'Failed' | '';
  points: ModelPoint[];
  deletedAt: number | undefined;
  purgeAt: number | undefined;
};

/** Undefined: it is done; else the code that it is refused with. */
export type Refusal = string | undefined;

export type Fate = {
  readonly fate: 'kept' | 'softDeleted' | 'removed';
  readonly by: string;
  readonly date: number | undefined;
};

/** What becomes of a point as things are. */
export function fateOf(item: ModelItem, point: ModelPoint, now: number): Fate {
  const isNewest = point === newestOf(item, now);
  const always = keptAlways(item, point, isNewest);
  if (always !== undefined) return { fate: 'kept', by: always, date: undefined };
  const { date, by } = dateOf(point);
  const isOver = !isAfter(date, now);
  const { lost } = point;
  const isLost = lost !== undefined && (lost.by === 'hand' || isOver);
  if (isNewest) return { fate: 'kept', by: isOver || isLost ? 'latest' : by, date };
  if (!isLost) return { fate: isOver ? 'removed' : 'kept', by, date };
  const why = lost.by === 'hand' ? 'deletedByHand' : 'lostByPolicy';
  return { fate: lost.until <= now ? 'removed' : 'softDeleted', by: why, date: lost.until };
}

/** R31, R54, R59, and pins. */
function keptAlways({ state }: ModelItem, point: ModelPoint, isNewest: boolean) {
  if (state === 'SoftDeleted') return 'itemSoftDeleted';
  const isDeletedByHand = point.lost?.by === 'hand' && !isNewest;
  if (state === 'ProtectionStopped' && !isDeletedByHand) return 'stopped';
  return point.isPinned ? 'pinned' : undefined;
}

/** R32; one that was taken while the clock was ahead is not the newest before its time. */
export function newestOf({ points }: ModelItem, now: number): ModelPoint | undefined {
  const past = points.filter(({ at }) => at <= now);
  const sorted = (past.length > 0 ? past : points).toSorted(
    (one, other) => one.at - other.at || (one.id < other.id ? -1 : 1),
  );
  return sorted.at(-1);
}

/** Classes that keep it, as lists of points name them. */
export function ruleNames(promises: ModelPoint['promises']): string {
  const kept = CLASSES.filter((of) => promises.get(of) !== undefined);
  return kept.map((of) => of.charAt(0).toUpperCase() + of.slice(1)).join(', ');
}

/** The latest run that has a point. */
export function newestRunOf({ points }: ModelItem): number | undefined {
  const runs = points.flatMap(({ runAt }) => runAt ?? []);
  return runs.length === 0 ? undefined : Math.max(...runs);
}

/** The longest of what rules and wishes promise (R17), of equal ones the higher. */
export function dateOf(point: ModelPoint): { date: number | undefined; by: string } {
  const all: (readonly [string, number | undefined])[] = [
    ...CLASSES.map((of) => [of, point.promises.get(of)] as const),
    ['asked', point.asked],
    ['extended', point.extended],
  ];
  let longest: { date: number | undefined; by: string } = { date: undefined, by: 'nothing' };
  for (const [by, date] of all) {
    if (date !== undefined && !(date < (longest.date ?? -Infinity))) longest = { date, by };
  }
  return longest;
}

/** R22–R24, R54: the item gets that state and that policy. */
export function change(
  item: ModelItem,
  to: {
    readonly state: State;
    readonly policy: BackupPolicy | undefined;
    /** What it had. */
    readonly before: BackupPolicy | undefined;
    readonly now: number;
    readonly softDeleteDays: number | undefined;
  },
): void {
  const { state, policy, before: had, now, softDeleteDays } = to;
  const isNoted = had !== undefined && (policy === undefined || dropsWeekly(had, policy));
  for (const point of item.points) {
    const before = dateOf(point).date;
    if (isNoted) point.isTagless = false;
    if (policy !== undefined) promiseAnew(point, policy);
    if (state === 'ProtectionStopped' || state === 'SoftDeleted') continue;
    if (point.lost?.by !== 'hand') loseOrKeep(point, { before, now, softDeleteDays });
  }
  item.state = state;
}

/** R24 @param of.before until when it was kept. */
function loseOrKeep(
  point: ModelPoint,
  of: {
    readonly before: number | undefined;
    readonly now: number;
    readonly softDeleteDays: number | undefined;
  },
): void {
  const { before, now, softDeleteDays } = of;
  if (point.isPinned || isAfter(dateOf(point).date, now)) point.lost = undefined;
  else if (point.lost === undefined && isAfter(before, now) && softDeleteDays !== undefined) {
    point.lost = { until: now + softDeleteDays * DAY_MS, by: 'policy' };
  }
}

/** R22 */
function dropsWeekly(before: BackupPolicy, after: BackupPolicy): boolean {
  const isDropped = before.retention.weekly !== undefined && after.retention.weekly === undefined;
  return isDropped && after.schedule.frequency !== 'weekly';
}

/** That keeps what no day does. */
function ownClassOf({ retention }: BackupPolicy): Class {
  return retention.daily === undefined ? 'weekly' : 'daily';
}

export function promiseAnew(point: ModelPoint, policy: BackupPolicy): void {
  if (point.isTagless) {
    const own = ownClassOf(policy);
    point.promises.clear();
    point.promises.set(own, promiseOf(policy, own, point.at));
    return;
  }
  const isOfWeeklySchedule = !point.promises.has('daily') && !point.promises.has('instant');
  for (const of of point.promises.keys()) {
    const date = promiseOf(policy, of, point.at);
    // R22: weekly → daily, they keep their days.
    const isKept = of === 'weekly' && isOfWeeklySchedule && policy.schedule.frequency !== 'weekly';
    if (date !== undefined || !isKept) point.promises.set(of, date);
  }
}

/**
 * R10, R17–R19: the tags of a point of that run.
 *
 * @param policy as its schedule is: of a group's run, the group's.
 * @returns at least one: on a group's other days that of the policy's own class.
 */
export function tagsOf(item: ModelItem, policy: BackupPolicy, run: Run): readonly Class[] {
  const tags = CLASSES.filter((of) => {
    if (of === 'instant') return policy.schedule.frequency === 'hourly' && !run.isLast;
    const owed = tagRun(policy, of, run);
    if (owed === undefined) return false;
    if (owed.at === run.at) return true;
    // R18: it stands in for one that failed.
    return owed.at >= item.since && !item.points.some((point) => isBetween(point, owed, run));
  });
  if (tags.length > 0) return tags;
  return [ownClassOf(policy)];
}

function isBetween({ runAt }: ModelPoint, from: Run, to: Run): boolean {
  return runAt !== undefined && runAt >= from.at && runAt < to.at;
}

function isAfter(date: number | undefined, now: number): boolean {
  return date !== undefined && date > now;
}

/** The newest run, unless it was done. @param of.noted runs that were done, and since when they count. */
export function owedRun(
  policy: BackupPolicy,
  of: { readonly now: number; readonly noted: readonly (number | undefined)[] },
): Run | undefined {
  const newest = newestRun(policy, of.now);
  const next = nextRun(policy, of.now);
  // What was noted while the clock was ahead by more than a run does not count.
  const isDone = of.noted.some(
    (at) => at !== undefined && newest.at <= at && (at <= of.now || at <= next),
  );
  return isDone ? undefined : newest;
}

/** Of what is done with an item whose state does not allow it. */
export const REFUSALS: Readonly<Record<State, string>> = {
  IRPending: 'UserErrorInitialBackupPending',
  Protected: 'UserErrorItemAlreadyProtected',
  ProtectionStopped: 'UserErrorProtectionStopped',
  BackupsSuspended: 'UserErrorProtectionStopped',
  SoftDeleted: 'UserErrorItemSoftDeleted',
};

export function isActive(state: State): boolean {
  return state === 'IRPending' || state === 'Protected';
}
