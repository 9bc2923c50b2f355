/**
 * Which run an item owes. `newest` is the newest run whose start has come, `next` the first one after now;
 * `done` is the last run done, or the moment from which runs count, whichever is later.
 *
 *     done < newest           newest is due; older missed ones are not made up for (caught up once)
 *     newest ≤ done ≤ next    nothing: done, or done before the clock was set back by up to one run
 *     next < done             noted while the clock was ahead by more than that, it would put backups off
 *                             for as long: it does not count, and noting the run that is due heals it
 *
 * Pure: asked again after a start, a sleep or a jump of the clock, it needs to know nothing of them.
 */
import type { BackupPolicy } from '../policy/backup-policy.ts';
import { newestRun, nextRun, type ScheduledRun } from './runs.ts';
import type { ScheduleOptions } from './wall-clock.ts';

export type DueQuestion = {
  readonly nowMs: number;
  /** The scheduled time (`atMs`) of the last run that was started for this item. */
  readonly lastRunMs?: number;
  /** Runs count from here: the item was protected or resumed, or its policy changed. */
  readonly sinceMs: number;
  /** Of startOffsetMs. */
  readonly startOffsetMs: number;
};

/** The run to start now, if there is one; whoever starts it notes its `atMs` as the last run. */
export function dueRun(
  policy: BackupPolicy,
  { nowMs, lastRunMs, sinceMs, startOffsetMs }: DueQuestion,
  options: ScheduleOptions = {},
): ScheduledRun | undefined {
  const newest = newestRun(policy, nowMs - startOffsetMs, options);
  const counts = (atMs: number): boolean =>
    atMs <= nowMs || atMs <= nextRun(policy, nowMs, options).atMs;
  const noted = lastRunMs === undefined ? [sinceMs] : [lastRunMs, sinceMs];
  const isDone = noted.some((atMs) => newest.atMs <= atMs && counts(atMs));
  return isDone ? undefined : newest;
}
