/** Waiting for guests as time passes; that they are asked rightly is shown in `#hypervisor` and through the API. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, isHoldfastError, toldElsewhere } from '#base';
import { awaitGuests, type LoadLook } from './guest-wait.ts';

const MINUTE_MS = 60_000;
const AZURE = { mostShare: 0.9, waitMs: 140 * MINUTE_MS };
const QUIET: LoadLook = { steps: [], busy: [] };
const BUSY: LoadLook = { steps: [], busy: ['web: 97 % of its CPU in use'] };

/** @param quietAtMs when the guest has less to do; each look takes half a second. */
function bench(quietAtMs: number, more: object = {}) {
  const clock = new FakeClock();
  const startMs = clock.monotonicMs();
  const phases: string[] = [];
  let looks = 0;
  const look = async (): Promise<LoadLook> => {
    looks += 1;
    await clock.sleep(500);
    return clock.monotonicMs() - startMs >= quietAtMs ? QUIET : BUSY;
  };
  const waiting = awaitGuests(look, {
    limit: AZURE,
    clock,
    onProgress: ({ phase }) => void phases.push(phase),
    ...more,
  });
  void toldElsewhere(waiting); // Given to the caller below.
  return {
    waiting,
    phases,
    looks: () => looks,
    /** How much has passed when it is over. */
    run: async (): Promise<number> => {
      let isOver = false;
      const over = (): void => void (isOver = true);
      waiting.then(over, over);
      for (;;) {
        await new Promise((resolve) => setImmediate(resolve));
        if (isOver) return clock.monotonicMs() - startMs;
        clock.advance(500);
      }
    },
  };
}

test('a guest that is quiet is looked at once, and nothing is said of waiting', async () => {
  const { run, looks, phases, waiting } = bench(0);
  assert.equal(await run(), 500);
  assert.equal(looks(), 1);
  assert.deepEqual(phases, []);
  assert.equal(await waiting, QUIET);
});

test('it is looked again every some seconds, and goes on when the guest has less to do', async () => {
  const { run, phases, waiting } = bench(10 * MINUTE_MS);
  const passedMs = await run();
  assert.ok(passedMs >= 10 * MINUTE_MS && passedMs < 11 * MINUTE_MS, String(passedMs));
  assert.equal(await waiting, QUIET);
  assert.match(phases[0]!, /^waiting, for 140 min at most.*web: 97 % of its CPU .*\(limit 90 %\)$/);
  assert.match(phases.at(-1)!, /^waiting, for 131 min at most/);
});

test('when its time is up it fails, after a last look; what was waited before counts', async () => {
  const over = bench(Infinity);
  const passedMs = await over.run();
  assert.ok(passedMs >= AZURE.waitMs && passedMs <= AZURE.waitMs + 1000, String(passedMs));
  const isBusy = (error: unknown): boolean =>
    isHoldfastError(error, 'ExtensionFailedTimeoutGuestBusy') &&
    /too busy for 140 min: web: 97 %.*limit 90 %/.test(error.message);
  await assert.rejects(over.waiting, isBusy);

  const again = bench(Infinity, { waitedMs: 139 * MINUTE_MS });
  assert.ok((await again.run()) <= MINUTE_MS + 1000);
  await assert.rejects(again.waiting, isBusy);

  const atLast = bench(AZURE.waitMs);
  await atLast.run();
  assert.equal(await atLast.waiting, QUIET, 'the last look is at the end of the time');
});

test('without time it is looked once', async () => {
  const { run, looks, waiting } = bench(Infinity, { limit: { ...AZURE, waitMs: 0 } });
  await run();
  assert.equal(looks(), 1);
  await assert.rejects(waiting, /the guest was too busy: web/);
});

test('cancelled it ends at once, while it looks and while it waits', async () => {
  for (const turns of [0, 10]) {
    const cancelling = new AbortController();
    const { run, waiting, looks } = bench(Infinity, { signal: cancelling.signal });
    const running = run();
    for (let turn = 0; turn < turns; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    cancelling.abort(new Error('enough'));
    assert.ok((await running) < 15_000);
    assert.equal(looks(), 1);
    await assert.rejects(waiting, (error) => isHoldfastError(error, 'Cancelled'));
  }
});
