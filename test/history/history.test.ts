/**
 * Random histories through the API, on real repositories, against an independent model of the rules (model.ts,
 * rules.ts, calendar.ts, storage.ts, charges.ts). After each step all points with their tags, dates and states, items
 * and charges are compared, and the bytes of one point, read from the repository; previews with what then happened. One
 * step in fifty restores through the API; some are killed between a document and the catalogue.
 */
import os from 'node:os';
import { enableCompileCache, syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { History } from './history.ts';
import { World } from './world.ts';
import { seeded } from '../../src/service/testing/seeded.ts';

const isLong = process.env['HOLDFAST_TEST_LONG'] !== undefined;
const STEPS = Number(process.env['HOLDFAST_TEST_STEPS'] ?? (isLong ? 100_000 : 2000));
/** Of one history; then another begins, on a service of its own. */
const STEPS_AT_ONCE = 200;
/** Steps that are told when one fails. */
const TOLD = 60;

// A backup of a few blocks needs one thread, and starting it is most of what it costs.
os.availableParallelism = () => 1;
syncBuiltinESMExports();
enableCompileCache(join(import.meta.dirname, '../../node_modules/.cache/holdfast'));

test(`in ${STEPS} random steps through the API, points, tags, dates, states, bytes, charges and previews are as the rules say`, async (t) => {
  const first = Number(process.env['HOLDFAST_TEST_SEED'] ?? Date.now() % 1_000_000);
  t.diagnostic(`seeds from ${first} on; again: HOLDFAST_TEST_SEED=${first}`);
  for (let done = 0; done < STEPS; done += STEPS_AT_ONCE) {
    const steps = Math.min(STEPS_AT_ONCE, STEPS - done);
    const seed = first + done / STEPS_AT_ONCE;
    await t.test(`${steps} steps of the seed ${seed}`, async (one) => await live(one, seed, steps));
  }
});

/** One history, on a service of its own. */
async function live(t: TestContext, seed: number, steps: number): Promise<void> {
  const random = seeded(seed);
  const draw = (limit: number): number => Math.floor(random(limit));
  const start = Date.UTC(2026, draw(12), 1 + draw(28), draw(24), draw(60));
  const history = new History(await World.open(t, start), draw);
  await history.begin();
  for (let step = 0; step < steps; step += 1) {
    try {
      await history.step();
    } catch (error) {
      const told = history.story.slice(-TOLD).join('\n  ');
      const again = `HOLDFAST_TEST_SEED=${seed} HOLDFAST_TEST_STEPS=${step + 1}`;
      throw new Error(`seed ${seed}, step ${step} (again: ${again}):\n  ${told}`, {
        cause: error,
      });
    }
  }
  t.diagnostic(JSON.stringify(history.counts));
}
