/**
 * One history, in a process of its own, on a service of its own: `history-child.ts SEED STEPS`. Says how often each
 * action was one; of a step that fails its story, and ends at once with 1.
 */
import os from 'node:os';
import { syncBuiltinESMExports } from 'node:module';
import { inspect } from 'node:util';
import { seeded } from '../../src/service/testing/seeded.ts';
import { History } from './history.ts';
import { World } from './world.ts';

/** Steps that are told when one fails. */
const TOLD = 60;

// A backup of a few blocks needs one thread, and starting it is most of what it costs.
os.availableParallelism = () => 1;
syncBuiltinESMExports();

const [seed, steps] = process.argv.slice(2).map(Number) as [number, number];
const ends: (() => unknown)[] = [];
let step = -1;
let story: readonly string[] = [];
try {
  const random = seeded(seed);
  const draw = (limit: number): number => Math.floor(random(limit));
  const start = Date.UTC(2026, draw(12), 1 + draw(28), draw(24), draw(60));
  const after = (end?: unknown): void => void ends.push(end as () => unknown);
  const history = new History(await World.open({ after }, start), draw);
  story = history.story;
  await history.begin();
  for (step = 0; step < steps; step += 1) await history.step();
  for (const end of ends.toReversed()) await end();
  process.stdout.write(`${JSON.stringify(history.counts)}\n`);
} catch (error) {
  const told = story.slice(-TOLD).join('\n  ');
  const again = `HOLDFAST_TEST_SEED=${seed} HOLDFAST_TEST_STEPS=${step + 1}`;
  console.error(`seed ${seed}, step ${step} (again: ${again}):\n  ${told}\n${inspect(error)}`);
  // What still runs would keep the process alive.
  process.exit(1);
}
