/** Random histories against the model (history.ts); `npm run test:long` runs fifty times as many steps. */
import { test } from 'node:test';
import { RandomHistory } from './history.ts';

const isLong = process.env['HOLDFAST_TEST_LONG'] !== undefined;
const STEPS_A_HISTORY = 100;
const HISTORIES = isLong ? 1000 : 20;

test(`${HISTORIES * STEPS_A_HISTORY} random steps lose no block`, async (t) => {
  const first = Number(process.env['HOLDFAST_TEST_SEED'] ?? Date.now() % 1_000_000);
  t.diagnostic(`seeds ${first} to ${first + HISTORIES - 1}; again: HOLDFAST_TEST_SEED=${first}`);
  const counts = new Map<string, number>();
  for (let seed = first; seed < first + HISTORIES; seed += 1) {
    const done = await RandomHistory.run({ seed, steps: STEPS_A_HISTORY, checkEvery: 5 });
    for (const [name, count] of done) counts.set(name, (counts.get(name) ?? 0) + count);
  }
  t.diagnostic(Array.from(counts, ([name, count]) => `${name} ${count}`).join(', '));
});
