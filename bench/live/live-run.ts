/** One contender's turn in a round: timed commands on a guest at rest, then backups of one that writes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand, type Command, type Measured } from '../measuring/run-command.ts';
import { tell } from '../measuring/tables.ts';
import { freshFolder, settleDisk, type Workplace } from '../measuring/workplace.ts';
import type { Contender } from './contenders.ts';
import { churnScript, GUEST_CLOCK, readMeter, START_METER, STOP_METER } from './guest-tools.ts';

export type Writing = {
  /** Durable writes a second, with no backup and during it. */
  readonly idleRate: number;
  readonly rate: number;
  /** The longest time without one, in ms, in as long a time as the backup takes and during it. */
  readonly idleGapMs: number;
  readonly gapMs: number;
  readonly frozenMs: number | undefined;
};

export type Turn = {
  readonly first: Measured;
  readonly next: Measured;
  readonly restore: Measured;
  readonly firstStored: number;
  readonly nextStored: number;
  readonly firstWriting: Writing;
  readonly nextWriting: readonly Writing[];
};

export type TurnOptions = {
  readonly place: Workplace;
  readonly seed: number;
  /** Next backups of a guest that writes. */
  readonly writings: number;
  /** Looks at what was restored. */
  readonly check: (folder: string) => Promise<void>;
};

export async function takeTurn(contender: Contender, options: TurnOptions): Promise<Turn> {
  const { place, seed, writings } = options;
  const { guest } = contender;
  const say = (what: string): void => tell(`live: ${contender.name}: ${what}`);
  await contender.prepare();
  const first = await timed(contender.backUp('first'));
  const firstStored = contender.storedBytes();
  say(`first ${first.seconds.toFixed(2)} s`);
  await guest.sh(churnScript(seed, place.scale.changedMib * 1024 ** 2));
  const next = await timed(contender.backUp('next'));
  const nextStored = contender.storedBytes() - firstStored;
  say(`next ${next.seconds.toFixed(2)} s`);
  const folder = freshFolder(place, 'restored');
  const restore = await timed(contender.restore(folder));
  say(`restore ${restore.seconds.toFixed(2)} s`);
  await options.check(folder);
  freshFolder(place, 'restored');

  const nextWriting: Writing[] = [];
  for (let count = 0; count < writings; count += 1) {
    nextWriting.push(await whileWriting(contender, 'next'));
  }
  say(`frozen ${nextWriting.map(({ gapMs }) => gapMs.toFixed(0)).join(', ')} ms`);
  await contender.prepare();
  const firstWriting = await whileWriting(contender, 'first');
  return { first, next, restore, firstStored, nextStored, firstWriting, nextWriting };
}

async function timed(command: Command): Promise<Measured> {
  settleDisk();
  return await runCommand(command);
}

/** The guest writes before, for about as long, and during the backup. */
async function whileWriting(contender: Contender, level: 'first' | 'next'): Promise<Writing> {
  const { guest } = contender;
  await guest.sh(START_METER);
  await sleep(1000); // It starts.
  const clock = async (): Promise<string> => (await guest.sh(GUEST_CLOCK)).trim();
  const idleFrom = await clock();
  await sleep(3000);
  const from = await clock();
  const { stdout } = await runCommand(contender.backUp(level));
  const to = await clock();
  const idle = await meter(contender, idleFrom, from);
  const busy = await meter(contender, from, to);
  await guest.sh(STOP_METER);
  return {
    idleRate: idle.rate,
    rate: busy.rate,
    idleGapMs: idle.gapMs,
    gapMs: busy.gapMs,
    frozenMs: contender.frozenMs(stdout),
  };
}

async function meter(
  { guest }: Contender,
  from: string,
  to: string,
): Promise<{ readonly rate: number; readonly gapMs: number }> {
  const [count, gapMs] = (await guest.sh(readMeter(from, to))).trim().split(' ').map(Number);
  return { rate: count! / (Number(to) - Number(from)), gapMs: gapMs! };
}
