/**
 * What an item will store if it goes on changing as it does now. Pure.
 *
 * Each backup changes `churnBytes` of `usedBytes`, anywhere alike. Between two kept points with n backups from one to
 * the other, the blocks that changed at least once are B·(1 − (1 − c/B)^n); a kept set stores the oldest point and
 * these. The forecast adds to what is stored now by how much that model differs from its own figure for now.
 */
import { dayOf, endOfDay, firstDayOf, monthOf, nextMonth } from './utc-days.ts';

/** The times of the points that are kept at an instant; ms, in any order. */
export type PointsKept = (atMs: number) => readonly number[];

export type Churn = {
  /** Bytes that a backup stores anew, on average. */
  readonly churnBytes: number;
  /** Bytes that the VM's data takes stored. */
  readonly usedBytes: number;
  /** How far apart backups are. */
  readonly intervalMs: number;
};

export type ForecastMonth = {
  readonly month: string;
  /** At its end. */
  readonly points: number;
  readonly storedBytes: number;
};

/**
 * @param of.storedBytes at `nowMs`.
 * @returns the `months` that follow that of `nowMs`.
 */
export function forecastStorage(of: {
  readonly nowMs: number;
  readonly storedBytes: number;
  readonly churn: Churn;
  readonly kept: PointsKept;
  readonly months: number;
}): readonly ForecastMonth[] {
  const { nowMs, storedBytes, churn, kept } = of;
  const now = modelBytes(kept(nowMs), churn);
  const forecast: ForecastMonth[] = [];
  let month = monthOf(dayOf(nowMs));
  for (let count = 0; count < of.months; count += 1) {
    month = nextMonth(month);
    const there = kept(endOfDay(firstDayOf(nextMonth(month)) - 1));
    const change = modelBytes(there, churn) - now;
    forecast.push({
      month,
      points: there.length,
      storedBytes: Math.max(0, Math.round(storedBytes + change)),
    });
  }
  return forecast;
}

/** What a set of points stores, by the model. */
export function modelBytes(times: readonly number[], churn: Churn): number {
  const { churnBytes, usedBytes, intervalMs } = churn;
  if (times.length === 0) return 0;
  const unchanged = usedBytes === 0 ? 1 : Math.max(0, 1 - churnBytes / usedBytes);
  const sorted = times.toSorted((a, b) => a - b);
  return sorted.slice(1).reduce((sum, timeMs, at) => {
    const backups = Math.max(1, Math.round((timeMs - sorted[at]!) / intervalMs));
    return sum + usedBytes * (1 - unchanged ** backups);
  }, usedBytes);
}
