/**
 * The real time: made once in `src/main.ts` and in each worker's entry file, and handed on from there.
 */
import { setTimeout as sleepFor } from 'node:timers/promises';
import type { Clock } from './clock.ts';

/** A clock that wakes nobody too early; sleeping keeps the process alive. */
export function realClock(): Clock {
  return {
    nowMs: () => new Date().getTime(),
    monotonicMs: () => performance.now(),
    sleep: async (durationMs, signal) => {
      try {
        await sleepFor(durationMs, undefined, signal === undefined ? {} : { signal });
      } catch (error) {
        if (signal?.aborted === true) throw signal.reason as Error;
        throw error;
      }
    },
  };
}
