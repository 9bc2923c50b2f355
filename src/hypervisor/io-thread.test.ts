import assert from 'node:assert/strict';
import { test } from 'node:test';
import { threadRefusal } from './io-thread.ts';

test('a disk with an I/O thread is refused in every QEMU that can end of it', () => {
  for (const [major, minor] of [
    [0, 0],
    [7, 2],
    [8, 2],
    [9, 0],
  ] as const) {
    assert.match(threadRefusal({ major, minor }) ?? '', /I\/O thread.*exclude it/);
  }
  assert.equal(threadRefusal({ major: 9, minor: 1 }), undefined);
  assert.equal(threadRefusal({ major: 10, minor: 0 }), undefined);
});
