/** What a guest's CPUs have done since some moment, and what follows from two readings. */

/** Of all CPUs together, in any unit of time. */
export type CpuTimes = { readonly idle: number; readonly all: number };

/** The share in use between two readings, 0 to 1; undefined: no time has passed between them. */
export function cpuShare(before: CpuTimes, after: CpuTimes): number | undefined {
  const all = after.all - before.all;
  if (!(all > 0)) return undefined;
  return share(1 - (after.idle - before.idle) / all);
}

/** Counters are not read at one moment: it may come out a hair below 0 or above 1. */
export function share(value: number): number | undefined {
  return Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : undefined;
}
