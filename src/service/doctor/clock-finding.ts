/** Whether the wall clock is trusted (expiring/clock-trust.ts). */
import type { ServiceParts } from '../service-parts.ts';
import type { Finding } from './finding.ts';

export async function clockFinding({
  clockRest,
  clock,
}: ServiceParts): Promise<readonly Finding[]> {
  await clockRest.rests();
  const resting = clockRest.resting();
  if (resting === undefined) return [];
  const { until, leapMs, wasOff } = resting;
  const hours = Math.round(leapMs / 3_600_000);
  const cause = wasOff ? ', or this machine was off for so long' : '';
  return [
    {
      severity: 'warning',
      where: 'clock',
      what: `it says ${iso(clock.nowMs())}, ${hours} hours ahead of what has passed${cause}: until ${iso(until)} no recovery point expires by itself, and nothing that is soft-deleted goes`,
      advice:
        'if that is not the time, set the clock right before then; else there is nothing to do',
    },
  ];
}

function iso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
