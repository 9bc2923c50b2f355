import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../usage-error.ts';
import { guestLoadOf } from './guest-load.ts';

test('the load of a guest is a percentage, and the time for it minutes; Azure’s where it is not given', () => {
  assert.deepEqual(guestLoadOf({ quiesce: true }), {});
  const [mostShare, waitMs] = [0.9, 140 * 60_000];
  assert.deepEqual(guestLoadOf({ quiesce: true, guestLoad: '90' }), {
    guestLoad: { mostShare, waitMs },
  });
  assert.deepEqual(guestLoadOf({ quiesce: true, guestLoad: '90%', guestWait: 5 }), {
    guestLoad: { mostShare, waitMs: 5 * 60_000 },
  });
});

test('what contradicts itself is wrong usage', () => {
  for (const options of [
    { quiesce: true, guestWait: 5 },
    { quiesce: false, guestLoad: '90' },
    { quiesce: true, guestLoad: '900' },
  ]) {
    assert.throws(() => guestLoadOf(options), UsageError);
  }
});
