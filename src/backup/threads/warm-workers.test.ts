import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CrewCalls } from './crew.ts';
import { Crew } from './crew.ts';
import { takeWorker, warmUp } from './warm-workers.ts';

const WORKER = new URL('../testing/obedient.worker.ts', import.meta.url);

test('threads started early are those that a crew works with, and it starts those that are missing', async () => {
  warmUp(WORKER, 2);
  warmUp(WORKER, 2);
  const [first, second, third] = [takeWorker(WORKER), takeWorker(WORKER), takeWorker(WORKER)];
  assert.equal(new Set([first, second, third]).size, 3);
  assert.ok(third.threadId > Math.max(first.threadId, second.threadId));
  for (const worker of [first, second, third]) await worker.terminate();
  warmUp(WORKER, 1);
  const crew = Crew.start<CrewCalls>({ url: WORKER, threads: 2, handlers: () => ({}) });
  await crew.each(async (port) => await port.call('close', undefined));
  await crew.end();
});
