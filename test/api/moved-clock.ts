/** Time that runs slowly by itself, so that what waits for a moment goes on, and leaps when a test says so. */
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FakeClock } from '#base';

const TICK_MS = 10;
const LEAP_MS = 5 * 60_000;

export function movedClock(t: TestContext) {
  // Certificates are looked at by clients, whose time is real.
  const clock = new FakeClock(Date.now());
  const ticking = setInterval(() => clock.advance(TICK_MS), 5);
  t.after(() => clearInterval(ticking));
  /** Leaps until that much has passed, or `isEnough` says so. */
  const pass = async (
    durationMs: number,
    isEnough: () => Promise<boolean> = async () => false,
  ): Promise<void> => {
    const end = clock.nowMs() + durationMs;
    while (clock.nowMs() < end && !(await isEnough())) {
      clock.advance(LEAP_MS);
      await sleep(2);
    }
  };
  return { clock, pass };
}
