import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from './clock.ts';
import { pause } from './pause.ts';

test('a pause lasts its time, and ends without an error when its signal is aborted, also before it began', async () => {
  const clock = new FakeClock();
  let isOver = false;
  const whole = pause(clock, 100, undefined).then(() => (isOver = true));
  clock.advance(99);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isOver, false);
  clock.advance(1);
  await whole;
  const ended = new AbortController();
  const cut = pause(clock, 100, ended.signal);
  ended.abort();
  await cut;
  await pause(clock, 100, ended.signal);
});

test('what fails for another reason than the signal is thrown', async () => {
  const clock = {
    nowMs: () => 0,
    monotonicMs: () => 0,
    sleep: async () => await Promise.reject(new Error('broken')),
  };
  await assert.rejects(pause(clock, 1, new AbortController().signal), /broken/);
});
