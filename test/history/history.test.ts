/**
 * Random histories through the API, on real repositories, against an independent model of the rules (model.ts,
 * group-model.ts, rules.ts, calendar.ts, storage.ts, charges.ts). After each step all points with their tags, dates and
 * states, items, consistency groups and charges are compared, and the bytes of one point, read from the repository;
 * previews with what then happened. One step in thirty restores through the API, to an account or in place of disks;
 * some are killed between a document and the catalogue, and now and then the catalogue is lost.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';

const isLong = process.env['HOLDFAST_TEST_LONG'] !== undefined;
const STEPS = Number(process.env['HOLDFAST_TEST_STEPS'] ?? (isLong ? 100_000 : 2000));
/** Of one history; then another begins, on a service of its own. */
const STEPS_AT_ONCE = 200;
const CHILD = join(import.meta.dirname, 'history-child.ts');
/** Of modules without their types: of the process, and of its threads. */
const CACHE = join(import.meta.dirname, '../../node_modules/.cache/holdfast');

test(`in ${STEPS} random steps through the API, points, tags, dates, states, bytes, charges and previews are as the rules say`, async (t) => {
  const first = Number(process.env['HOLDFAST_TEST_SEED'] ?? Date.now() % 1_000_000);
  t.diagnostic(`seeds from ${first} on; again: HOLDFAST_TEST_SEED=${first}`);
  for (let done = 0; done < STEPS; done += STEPS_AT_ONCE) {
    const steps = Math.min(STEPS_AT_ONCE, STEPS - done);
    const seed = first + done / STEPS_AT_ONCE;
    await t.test(`${steps} steps of the seed ${seed}`, async (one) => {
      one.diagnostic(await live(seed, { steps, signal: one.signal }));
    });
  }
});

/** @returns how often each action was one. */
async function live(
  seed: number,
  { steps, signal }: { readonly steps: number; readonly signal: AbortSignal },
): Promise<string> {
  const flags = ['--disable-warning=ExperimentalWarning', '--single-threaded-gc'];
  const child = spawn(process.execPath, [...flags, CHILD, String(seed), String(steps)], {
    env: { ...process.env, NODE_COMPILE_CACHE: CACHE },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  });
  const ended = once(child, 'exit');
  const [said, complaint] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = await ended;
  assert.equal(code, 0, complaint);
  return said.trim();
}
