/** A clock whose days pass in seconds, so that a schedule runs while one watches; waiting and measuring are real. */
import { realClock, type Clock } from '#base';

export type FastClock = {
  /** When it began, on the real clock; then it shows the same. */
  readonly sinceMs: number;
  readonly speed: number;
};

export function fastClock({ sinceMs, speed }: FastClock): Clock {
  const real = realClock();
  return { ...real, nowMs: () => Math.round(sinceMs + (real.nowMs() - sinceMs) * speed) };
}

/** Goes on from an instant of a fast one as clocks do: nothing new falls due while one looks. */
export function restingClock(fromMs: number): Clock {
  const real = realClock();
  const startMs = real.nowMs();
  return { ...real, nowMs: () => fromMs + real.nowMs() - startMs };
}
