/**
 * Which tags a scheduled point gets when it is taken (R17–R19, R10). Each class has *tag runs*: the runs of its days, of
 * an hourly schedule the last of each. The first scheduled point since a tag run carries its tag:
 *
 *     weekly on Sunday     Sun     Mon  Tue        Sun ✗   Mon ✗  Tue        Sun ✗ … Sat ✗ | Sun
 *                          weekly                                 weekly     (none for the week that failed)
 *     16:00, every 4 h     16 20 | 0 4 8 12        16 20 | 0 4 8 12 ✗ | 16 20
 *     daily                             daily                           daily
 *
 * A substitute lies in the week, month or year of the day it stands for. Pure.
 */
import type { BackupPolicy } from '../policy/backup-policy.ts';
import { lastRunOf, type ScheduledRun } from '../schedule/runs.ts';
import type { ScheduleOptions } from '../schedule/wall-clock.ts';
import { TAG_CLASSES, type Tag, type TagClass } from './point-retention.ts';
import { isTagDay, laterDate, periodStart } from './tag-days.ts';

export type PointToTag = {
  /** Whose point it is. */
  readonly run: ScheduledRun;
  /** Of the item's scheduled points, when their runs were due; ms, in any order. */
  readonly earlierRuns: readonly number[];
  /** Runs before were not owed: the item was protected, or resumed, then; ms. */
  readonly sinceMs: number;
};

/** In the order of `TAG_CLASSES`. */
export function tagsFor(
  policy: BackupPolicy,
  { run, earlierRuns, sinceMs }: PointToTag,
  options: ScheduleOptions = {},
): readonly Tag[] {
  const before = Math.max(-Infinity, ...earlierRuns.filter((atMs) => atMs < run.atMs));
  const carries = (tagClass: TagClass): boolean => {
    if (tagClass === 'instant')
      return policy.schedule.frequency === 'hourly' && !run.isLastOfPolicyDay;
    for (const date of tagDates(policy, tagClass, run)) {
      if (date === run.policyDate && run.isLastOfPolicyDay) return true;
      const tagRun = lastRunOf(policy, date, options);
      if (tagRun !== undefined) return tagRun.atMs >= sinceMs && before < tagRun.atMs;
      // A group's schedule may leave out days that the rule names: they have no run to stand in for.
    }
    return false;
  };
  return TAG_CLASSES.filter(carries).map((tagClass) => ({ class: tagClass }));
}

/** Of the tag days at or before `run` that are in its period, the dates, the newest first. */
function* tagDates(
  { retention, schedule }: BackupPolicy,
  tagClass: Exclude<TagClass, 'instant'>,
  { policyDate, isLastOfPolicyDay }: ScheduledRun,
): Generator<string, void> {
  const newest = isLastOfPolicyDay ? policyDate : laterDate(policyDate, -1);
  const first =
    tagClass === 'daily'
      ? // R10: the first of the next day, or the next that succeeds before its last.
        laterDate(policyDate, schedule.frequency === 'hourly' && !isLastOfPolicyDay ? -1 : 0)
      : periodStart(tagClass, policyDate);
  for (let date = newest; date >= first; date = laterDate(date, -1)) {
    if (isTagDay(retention, tagClass, date)) yield date;
  }
}
