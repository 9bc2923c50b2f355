/** At most so many requests of one client in a time: a bucket of tokens each, refilled steadily; bounded memory. */
import type { Clock } from '#base';
import { Refusal } from './refusal.ts';

export type RateLimit = {
  /** How many requests may come at once. */
  readonly burst: number;
  readonly perSecond: number;
};

/** @throws {Refusal} `TooManyRequests` with Retry-After. */
export type RateLimiter = (client: string) => void;

const REMEMBERED = 10_000;

export function rateLimiter(clock: Clock, { burst, perSecond }: RateLimit): RateLimiter {
  const buckets = new Map<string, { readonly tokens: number; readonly atMs: number }>();
  return (client) => {
    const atMs = clock.monotonicMs();
    const known = buckets.get(client) ?? { tokens: burst, atMs };
    const refilled = known.tokens + ((atMs - known.atMs) / 1000) * perSecond;
    const tokens = Math.min(burst, refilled);
    buckets.delete(client); // Comes last in the order again.
    buckets.set(client, { tokens: tokens < 1 ? tokens : tokens - 1, atMs });
    for (const [oldest] of buckets) {
      if (buckets.size <= REMEMBERED) break;
      buckets.delete(oldest);
    }
    if (tokens >= 1) return;
    const waitSeconds = Math.ceil((1 - tokens) / perSecond);
    throw new Refusal('TooManyRequests', `Too many requests: wait ${waitSeconds} seconds.`, {
      'Retry-After': String(waitSeconds),
    });
  };
}
