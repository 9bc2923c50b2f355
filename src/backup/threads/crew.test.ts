import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { ObedientCalls } from '../testing/obedient.worker.ts';
import { Crew } from './crew.ts';

const WORKER = new URL('../testing/obedient.worker.ts', import.meta.url);

function crewOf(t: TestContext, threads: number): Crew<ObedientCalls> {
  const crew = Crew.start<ObedientCalls>({ url: WORKER, threads, handlers: () => ({}) });
  t.after(async () => await crew.end());
  return crew;
}

test('jobs are handed out until there are none, each once', async (t) => {
  const crew = crewOf(t, 3);
  let next = 0;
  const results: number[] = [];
  await crew.work<number>({
    next: async () => (next < 50 ? next++ : undefined),
    run: async (port, job) => void results.push(await port.call('square', job)),
  });
  assert.deepEqual(
    results.toSorted((a, b) => a - b),
    Array.from({ length: 50 }, (_, at) => at * at),
  );
});

test('a pause lets every thread end its job and take no other', async (t) => {
  const crew = crewOf(t, 2);
  let taken = 0;
  await crew.work<number>({
    next: async () => taken++,
    run: async (port, job) => void (await port.call('square', job)),
    isPaused: () => taken >= 10,
  });
  assert.ok(taken === 10 || taken === 11);
});

test('the failure of one stops the others and is thrown when all are idle', async (t) => {
  const crew = crewOf(t, 3);
  const jobs: ('fail' | 'wait')[] = ['wait', 'fail', 'wait'];
  const work = crew.work<'fail' | 'wait'>({
    next: async () => jobs.pop(),
    run: async (port, job) =>
      job === 'fail' ? await port.call('fail', 'it failed') : await port.call('wait', undefined),
  });
  await assert.rejects(work, { message: 'it failed' });
});

test('a thread that crashes fails its calls with what it crashed of', async (t) => {
  const crew = crewOf(t, 2);
  const [first, second] = crew.ports;
  const waiting = assert.rejects(second!.call('wait', undefined), { message: 'stopped' });
  await assert.rejects(
    crew.each(async (port) => {
      if (port === first) await port.call('crash', 'out of luck');
    }),
    { message: 'out of luck' },
  );
  await waiting;
  await assert.rejects(first!.call('square', 2), { message: 'out of luck' });
  await crew.end();
});
