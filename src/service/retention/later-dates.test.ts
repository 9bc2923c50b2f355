import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DateTime } from 'luxon';
import { WINDOWS_TO_IANA_MAP } from 'windows-iana';
import { DURATION_UNITS, type Duration } from '../policy/backup-policy.ts';
import { zoneOf } from '../policy/time-zones.ts';
import { seeded } from '../testing/seeded.ts';
import { laterDates } from './later-dates.ts';

const ZONES = [...new Set(WINDOWS_TO_IANA_MAP.map(({ windowsName }) => windowsName))];
const HOUR_MS = 3_600_000;

function byLuxon(timeZone: string, atMs: number, { count, unit }: Duration): number {
  const at = DateTime.fromMillis(atMs, { zone: zoneOf(timeZone) });
  return at.plus({ [unit]: count }).toMillis();
}

test('in every time zone dates are as Luxon gives them, also where the clock changes and at the ends of months', (t) => {
  const seed = Number(process.env['HOLDFAST_TEST_SEED'] ?? Date.now() % 1_000_000);
  t.diagnostic(`seed ${seed}; again: HOLDFAST_TEST_SEED=${seed}`);
  const below = seeded(seed);
  for (const zone of ZONES) {
    const later = laterDates(zone);
    const changes = changesOf(zone);
    for (let draw = 0; draw < 60; draw += 1) {
      const unit = DURATION_UNITS[Math.floor(below(DURATION_UNITS.length))]!;
      const count = 1 + Math.floor(below(unit === 'years' ? 20 : 120));
      const change = changes[Math.floor(below(changes.length))];
      // Half of them come to lie within hours of a change of the clock.
      const aim = change === undefined ? undefined : byLuxon(zone, change, { count: -count, unit });
      const near = aim === undefined ? undefined : aim + Math.floor((below(8) - 4) * HOUR_MS);
      const anywhere = Date.UTC(2015, 0, 1) + Math.floor(below(20 * 365 * 24)) * HOUR_MS;
      const atMs = draw % 2 === 0 ? (near ?? anywhere) : anywhere;
      assert.equal(
        later(atMs, { count, unit }),
        byLuxon(zone, atMs, { count, unit }),
        `${zone} ${new Date(atMs).toISOString()} + ${count} ${unit}`,
      );
    }
  }
});

/** Instants between 2024 and 2028 after which the offset is another, to the hour. */
function changesOf(timeZone: string): readonly number[] {
  const zone = zoneOf(timeZone);
  const found: number[] = [];
  for (let atMs = Date.UTC(2024, 0, 1); atMs < Date.UTC(2028, 0, 1); atMs += 24 * HOUR_MS) {
    if (zone.offset(atMs) === zone.offset(atMs + 24 * HOUR_MS)) continue;
    let hour = atMs;
    while (zone.offset(hour) === zone.offset(hour + HOUR_MS)) hour += HOUR_MS;
    found.push(hour + HOUR_MS);
  }
  return found;
}

test('the last day of a month, and a leap day', () => {
  const later = laterDates('UTC');
  const dates = [
    ['2028-02-29T02:00:00.123Z', 1, 'years', '2029-02-28T02:00:00.123Z'],
    ['2028-02-29T02:00:00.000Z', 4, 'years', '2032-02-29T02:00:00.000Z'],
    ['2026-01-31T23:59:59.999Z', 1, 'months', '2026-02-28T23:59:59.999Z'],
    ['2026-11-30T00:00:00.000Z', 3, 'months', '2027-02-28T00:00:00.000Z'],
    ['2026-12-30T00:00:00.000Z', 1, 'weeks', '2027-01-06T00:00:00.000Z'],
    ['2026-12-31T00:00:00.000Z', 9999, 'days', '2054-05-17T00:00:00.000Z'],
  ] as const;
  for (const [from, count, unit, to] of dates) {
    assert.equal(new Date(later(Date.parse(from), { count, unit })).toISOString(), to);
  }
});
