import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toldElsewhere } from './told-elsewhere.ts';

test('what fails is told to whoever waits for it, and to nobody else', async () => {
  const failing = toldElsewhere(Promise.reject(new Error('broken')));
  // An unhandled rejection would fail this test.
  await new Promise((resolve) => setImmediate(resolve));
  await assert.rejects(failing, /^Error: broken$/);
  assert.equal(await toldElsewhere(Promise.resolve(1)), 1);
});
