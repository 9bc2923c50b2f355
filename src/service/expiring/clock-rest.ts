/** The rest after a leap of the wall clock (clock-trust.ts), kept in the catalogue: it outlives the service. */
import { randomUUID } from 'node:crypto';
import type { Clock } from '#base';
import { z } from 'zod';
import type { RecordParts } from '../record-parts.ts';
import {
  trustAt,
  trusted,
  type ClockTrust,
  type Instant,
  type MachineTime,
} from './clock-trust.ts';

const FACT = 'clockTrust';
/** How old what is kept may be. */
const NOTE_MS = 10 * 60_000;

const KEPT = z.object({
  wallMs: z.number(),
  upMs: z.number(),
  bootId: z.string().optional(),
  leapMs: z.number(),
  rest: z.object({ leftMs: z.number(), leapMs: z.number(), wasOff: z.boolean() }).optional(),
});

type RestingClock = {
  /** When it ends, by the wall clock as it is. */
  readonly until: number;
  readonly leapMs: number;
  /** The machine may have been off for so long. */
  readonly wasOff: boolean;
};

export type ClockRest = {
  /** Looks at the clock. @returns whether dates are to be left alone now. */
  readonly rests: () => Promise<boolean>;
  /** As it was at the last look; undefined: the clock is trusted. */
  readonly resting: () => RestingClock | undefined;
};

/** Of a service that knows nothing of its machine, which may have been started anew with it. */
export function unknownMachine(clock: Clock): MachineTime {
  return { bootId: undefined, upMs: clock.monotonicMs };
}

export function watchClock(
  parts: Pick<RecordParts, 'catalogue' | 'clock' | 'log'>,
  machine: MachineTime,
): ClockRest {
  const { clock } = parts;
  const bootId = machine.bootId ?? randomUUID();
  const look = (): Instant => ({ wallMs: clock.nowMs(), upMs: machine.upMs(), bootId });
  let known: ClockTrust | undefined;
  let notedAtMs = -Infinity;
  let remembering: Promise<void> | undefined;

  const rests = async (): Promise<boolean> => {
    remembering ??= remember(parts).then((kept) => {
      known = kept;
    });
    await remembering;
    const before = known;
    const now = before === undefined ? trusted(look()) : trustAt(before, look());
    known = now;
    const isNew = now.rest !== undefined && now.rest.leapMs !== before?.rest?.leapMs;
    if (isNew) tell(parts, now);
    const isChanged = isNew || (now.rest === undefined) !== (before?.rest === undefined);
    if (isChanged || now.upMs - notedAtMs >= NOTE_MS) {
      notedAtMs = now.upMs;
      await note(parts, now);
    }
    return now.rest !== undefined;
  };

  return {
    rests,
    resting: () => {
      if (known?.rest === undefined) return undefined;
      const { leftMs, wasOff } = known.rest;
      return { until: known.wallMs + leftMs, leapMs: known.leapMs, wasOff };
    },
  };
}

function tell({ log }: Pick<RecordParts, 'log'>, { leapMs, wallMs, rest }: ClockTrust): void {
  const what =
    rest?.wasOff === true
      ? 'the clock leapt ahead, or the machine was off'
      : 'the clock leapt ahead';
  const now = new Date(wallMs).toISOString();
  log.warn({ leapMs, now }, `${what}: no recovery point expires, and nothing is purged, for a day`);
}

async function remember({
  catalogue,
}: Pick<RecordParts, 'catalogue'>): Promise<ClockTrust | undefined> {
  const query = catalogue.read.selectFrom('facts').select('value').where('name', '=', FACT);
  const fact = await query.executeTakeFirst();
  return fact === undefined ? undefined : KEPT.parse(JSON.parse(fact.value));
}

async function note(
  { catalogue }: Pick<RecordParts, 'catalogue'>,
  trust: ClockTrust,
): Promise<void> {
  const value = JSON.stringify(trust);
  await catalogue.change(async (change) => {
    await change
      .insertInto('facts')
      .values({ name: FACT, value })
      .onConflict((known) => known.column('name').doUpdateSet({ value }))
      .execute();
  });
}
