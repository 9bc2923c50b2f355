/**
 * Bytes done, counted by several threads in shared memory, reported at most ten times a second. Counted
 * in 64-bit integers.
 */
import type { Clock, ProgressListener } from '#base';

const INTERVAL_MS = 100;

export type ProgressOptions = {
  readonly clock: Clock;
  readonly phase: string;
  readonly totalBytes: number;
  readonly onProgress: ProgressListener | undefined;
};

/** Memory for the count, for threads: `addDone` there. */
export function newDoneCount(): SharedArrayBuffer {
  return new SharedArrayBuffer(8);
}

export function addDone(count: BigInt64Array, bytes: number): void {
  Atomics.add(count, 0, BigInt(bytes));
}

/** Runs `work` and reports while it runs, and once when it has succeeded. */
export async function withProgress<Result>(
  done: SharedArrayBuffer,
  options: ProgressOptions,
  work: () => Promise<Result>,
): Promise<Result> {
  const { clock, phase, totalBytes, onProgress } = options;
  if (onProgress === undefined) return await work();
  const count = new BigInt64Array(done);
  const report = (): void =>
    onProgress({ phase, doneBytes: Number(Atomics.load(count, 0)), totalBytes });
  const ended = new AbortController();
  const reporting = reportUntil(ended.signal, { clock, report });
  try {
    return await work();
  } finally {
    ended.abort();
    await reporting;
    report();
  }
}

async function reportUntil(
  signal: AbortSignal,
  { clock, report }: { readonly clock: Clock; readonly report: () => void },
): Promise<void> {
  while (!signal.aborted) {
    report();
    try {
      await clock.sleep(INTERVAL_MS, signal);
    } catch {
      return; // Only the signal ends a sleep.
    }
  }
}
