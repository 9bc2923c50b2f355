import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeSecret } from './secret-hash.ts';

test('a secret never begins with a dash, which az would take for an option', () => {
  for (const first of [0xf8, 0xfb, 0x00, 0xff]) {
    const secret = makeSecret((sizeBytes) => Buffer.alloc(sizeBytes, first));
    assert.match(secret, /^[A-Za-z0-9_][\w-]{42}$/);
  }
});
