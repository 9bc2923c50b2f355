import assert from 'node:assert/strict';
import { test } from 'node:test';
import { showsThreadedDisks } from './io-thread.ts';

test('no QEMU that can end of it is asked to show a disk with an I/O thread', () => {
  for (const [major, minor, shows] of [
    [0, 0, false],
    [7, 2, false],
    [8, 2, false],
    [9, 0, false],
    [9, 1, true],
    [10, 0, true],
  ] as const) {
    assert.equal(showsThreadedDisks({ major, minor }), shows, `${major}.${minor}`);
  }
});
