/** Which points of an item are there at a later instant, if its backups go on and nobody changes anything. Pure. */
import type { BackupPolicy } from '../policy/backup-policy.ts';
import { planRetention, type RetainedItem, type RetainedPoint } from '../retention/plan.ts';
import { tagsFor } from '../retention/tag-point.ts';
import { runsBetween, type ScheduledRun } from '../schedule/runs.ts';
import type { ScheduleOptions } from '../schedule/wall-clock.ts';
import type { PointsKept } from './forecast.ts';

export type KeptPointsOptions = {
  readonly item: RetainedItem;
  /** Whose schedule runs it: the item's policy, or that with the schedule of its group. */
  readonly running: BackupPolicy | undefined;
  readonly points: readonly RetainedPoint[];
  /** Of a soft-deleted item: when all goes. */
  readonly purgeAt: number | undefined;
  readonly nowMs: number;
  readonly untilMs: number;
  readonly schedule: ScheduleOptions;
};

/** @returns good for instants up to `untilMs`; `runs`: the backups to come. */
export function keptPoints(options: KeptPointsOptions): {
  readonly kept: PointsKept;
  readonly runs: readonly ScheduledRun[];
} {
  const { item, running, points, purgeAt, nowMs, untilMs, schedule } = options;
  const isBackedUp = item.state === 'Protected' || item.state === 'IRPending';
  const runs =
    running === undefined || !isBackedUp
      ? []
      : runsBetween(running, { afterMs: nowMs, untilMs }, schedule);
  const all = [...points, ...pointsToCome(options, runs)];
  return {
    runs,
    kept: (atMs) => {
      if (purgeAt !== undefined && purgeAt <= atMs) return [];
      const taken = all.filter(({ takenAt }) => takenAt <= atMs);
      return planRetention(item, taken, atMs)
        .filter(({ fate }) => fate !== 'removed')
        .map(({ takenAt }) => takenAt);
    },
  };
}

function pointsToCome(
  { running, points, nowMs, schedule }: KeptPointsOptions,
  runs: readonly ScheduledRun[],
): readonly RetainedPoint[] {
  let before = Math.max(-Infinity, ...points.flatMap(({ retention }) => retention.runAt ?? []));
  return runs.map((run) => {
    const asked = { run, earlierRuns: [before], sinceMs: nowMs };
    const tags = tagsFor(running as BackupPolicy, asked, schedule);
    before = run.atMs;
    return {
      id: `run ${run.atMs}`,
      takenAt: run.atMs,
      origin: 'scheduled',
      askedUntil: undefined,
      retention: { runAt: run.atMs, tags },
    };
  });
}
