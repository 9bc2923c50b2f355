/**
 * The rest after a leap of the wall clock. Dates are of that clock, and what a wrong one removes is gone: after a leap
 * ahead, beyond the time that has passed, nothing expires or is purged by itself for a day, in which somebody can put it
 * right. The rest outlives the service.
 *
 * A leap while the service was down is not seen: a machine that was off looks the same.
 */
import type { ServiceParts } from '../service-parts.ts';

const LEAP_MS = 6 * 60 * 60 * 1000;
const REST_MS = 24 * 60 * 60 * 1000;
/** When the rest ends, by the clock that had leapt. */
const FACT = 'clockRestUntil';

/** Whether dates are to be left alone now; asked again and again. */
export type ClockRest = (parts: ServiceParts) => Promise<boolean>;

export function watchClock(watched: Pick<ServiceParts, 'clock'>): ClockRest {
  const aheadMs = ({ clock }: Pick<ServiceParts, 'clock'>): number =>
    clock.nowMs() - clock.monotonicMs();
  let known = aheadMs(watched);
  /** Monotonic. */
  let restsUntil = -Infinity;
  let remembering: Promise<void> | undefined;
  return async (parts) => {
    const { clock, log } = parts;
    remembering ??= remember(parts).then((leftMs) => {
      restsUntil = clock.monotonicMs() + leftMs;
    });
    await remembering;
    const leapMs = aheadMs(parts) - known;
    known += leapMs;
    if (leapMs > LEAP_MS) {
      restsUntil = clock.monotonicMs() + REST_MS;
      const now = new Date(clock.nowMs()).toISOString();
      const what =
        'the clock leapt ahead: no recovery point expires, and nothing is purged, for a day';
      log.warn({ leapMs, now }, what);
      await note(parts, clock.nowMs() + REST_MS);
    } else if (leapMs < -LEAP_MS) {
      // Put right: what waits for the wrong time does not matter any more.
      restsUntil = -Infinity;
      await note(parts, undefined);
    }
    return clock.monotonicMs() < restsUntil;
  };
}

/** @returns ms that are left of a rest which began before the service was started. */
async function remember({ catalogue, clock }: ServiceParts): Promise<number> {
  const query = catalogue.read.selectFrom('facts').select('value').where('name', '=', FACT);
  const fact = await query.executeTakeFirst();
  const leftMs = fact === undefined ? 0 : Number(fact.value) - clock.nowMs();
  // More than a whole rest: the clock was put right meanwhile.
  return leftMs > REST_MS ? 0 : leftMs;
}

async function note({ catalogue }: ServiceParts, untilMs: number | undefined): Promise<void> {
  await catalogue.change(async (change) => {
    await change.deleteFrom('facts').where('name', '=', FACT).execute();
    if (untilMs === undefined) return;
    await change
      .insertInto('facts')
      .values({ name: FACT, value: String(untilMs) })
      .execute();
  });
}
