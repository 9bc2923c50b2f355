/**
 * Slows guessing of secrets down: by client id and by address, whether the id exists or not.
 *
 * ```
 *   wrong secrets in a row   1 … free   free + 1   free + 2   …
 *   refused unlooked for     0          1 s        2 s        4 s … the most
 * ```
 * A right secret forgets both counts. What is remembered is bounded: the least lately touched goes first.
 */
import type { Clock } from '#base';

export type SignInDelays = {
  /** How long to wait before the next try is looked at, in milliseconds; 0: now. */
  readonly waitMs: (attempt: Attempt) => number;
  readonly failed: (attempt: Attempt) => void;
  readonly succeeded: (attempt: Attempt) => void;
};

type Attempt = { readonly clientId: string; readonly address: string };

type Failures = { readonly count: number; readonly untilMs: number };

const FIRST_MS = 1000;
/** Short for an id, which anybody may name to lock its owner out; longer for an address. */
const LIMITS = {
  clientId: { free: 5, mostMs: 30_000 },
  address: { free: 10, mostMs: 300_000 },
} as const;
const REMEMBERED = 10_000;

export function signInDelays(clock: Clock): SignInDelays {
  const failures = new Map<string, Failures>();
  const keysOf = ({ clientId, address }: Attempt) =>
    [
      { key: `c ${clientId.toLowerCase()}`, ...LIMITS.clientId },
      { key: `a ${address}`, ...LIMITS.address },
    ] as const;
  return {
    waitMs: (attempt) => {
      const now = clock.monotonicMs();
      const waits = keysOf(attempt).map(({ key }) => (failures.get(key)?.untilMs ?? now) - now);
      return Math.max(0, ...waits);
    },
    failed: (attempt) => {
      for (const { key, free, mostMs } of keysOf(attempt)) {
        const count = (failures.get(key)?.count ?? 0) + 1;
        const delayMs = count < free ? 0 : Math.min(mostMs, FIRST_MS * 2 ** (count - free));
        failures.delete(key); // Comes last in the order again.
        failures.set(key, { count, untilMs: clock.monotonicMs() + delayMs });
      }
      for (const [oldest] of failures) {
        if (failures.size <= REMEMBERED) break;
        failures.delete(oldest);
      }
    },
    succeeded: (attempt) => {
      for (const { key } of keysOf(attempt)) failures.delete(key);
    },
  };
}
