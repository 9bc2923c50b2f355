/**
 * The looks for expired points (R31). Dates are of the wall clock, and what a wrong one removes is gone: after a leap
 * ahead, beyond the time that has passed, nothing expires by itself for a day, in which somebody can put it right.
 *
 * A leap while the service was down is not seen: a machine that was off looks the same.
 */
import type { ServiceParts } from '../service-parts.ts';
import { expireVaults } from './start-expiry.ts';

const LEAP_MS = 6 * 60 * 60 * 1000;
const REST_MS = 24 * 60 * 60 * 1000;

export function watchExpiry(
  watched: Pick<ServiceParts, 'clock'>,
): (parts: ServiceParts, signal: AbortSignal) => Promise<void> {
  const aheadMs = ({ clock }: Pick<ServiceParts, 'clock'>): number =>
    clock.nowMs() - clock.monotonicMs();
  let known = aheadMs(watched);
  let restsUntil = -Infinity;
  return async (parts, signal) => {
    const { clock, log } = parts;
    const leapMs = aheadMs(parts) - known;
    known += leapMs;
    if (leapMs > LEAP_MS) {
      restsUntil = clock.monotonicMs() + REST_MS;
      const now = new Date(clock.nowMs()).toISOString();
      log.warn({ leapMs, now }, 'the clock leapt ahead: no recovery point expires for a day');
    } else if (leapMs < -LEAP_MS) {
      // Put right: what waits for the wrong time does not matter any more.
      restsUntil = -Infinity;
    }
    if (clock.monotonicMs() >= restsUntil) await expireVaults(parts, signal);
  };
}
