import assert from 'node:assert/strict';
import { test } from 'node:test';
import { orCancelled } from './or-cancelled.ts';

const never = new Promise<never>(() => {});

test('work gives its result, and its failure, as without a signal', async () => {
  const { signal } = new AbortController();
  assert.equal(await orCancelled(Promise.resolve(7), signal), 7);
  assert.equal(await orCancelled(Promise.resolve(7), undefined), 7);
  await assert.rejects(orCancelled(Promise.reject(new Error('no')), signal), /^Error: no$/);
});

test('an abort ends the wait, before it and meanwhile; the work may fail then, unseen', async () => {
  await assert.rejects(orCancelled(never, AbortSignal.abort()), { code: 'Cancelled' });
  const cancel = new AbortController();
  const { promise, reject } = Promise.withResolvers<never>();
  const waiting = orCancelled(promise, cancel.signal);
  cancel.abort();
  await assert.rejects(waiting, { code: 'Cancelled' });
  reject(new Error('late'));
  await new Promise((resolve) => setImmediate(resolve));
});
