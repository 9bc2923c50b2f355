/** What of a guest is in use, and how that follows from two readings of what its CPUs have done. */
import type { Clock } from '#base';

/** What is in use, as shares from 0 to 1; undefined: the guest does not tell. */
export type GuestLoad = {
  /** Of all CPUs, over half a second. Time that the host took away counts: the guest had use for it. */
  readonly cpu: number | undefined;
  /** What could not be given to a program without swapping. */
  readonly memory: number | undefined;
};

export type LoadQuestion = { readonly clock: Clock; readonly signal?: AbortSignal | undefined };

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
