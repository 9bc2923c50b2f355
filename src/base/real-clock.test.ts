import assert from 'node:assert/strict';
import { test } from 'node:test';
import { realClock } from './real-clock.ts';

test('the real clock sleeps at least as long as asked', async () => {
  const clock = realClock();
  const startMs = clock.monotonicMs();
  await clock.sleep(20);
  assert.ok(clock.monotonicMs() - startMs >= 19);
});

test('a sleep that is aborted rejects with the reason of the signal', async () => {
  const reason = new Error('enough');
  const controller = new AbortController();
  const sleeping = realClock().sleep(60_000, controller.signal);
  controller.abort(reason);
  await assert.rejects(sleeping, reason);
});

test('the wall time is in milliseconds since 1970', () => {
  assert.ok(realClock().nowMs() > Date.UTC(2025, 0, 1));
});
