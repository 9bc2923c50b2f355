import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freeMemory } from './free-memory.ts';

test('a large buffer is given back with all views of it', () => {
  const large = Buffer.alloc(1 << 20);
  const view = large.subarray(5, 10);
  freeMemory(view);
  assert.equal(large.length, 0);
  assert.equal(view.length, 0);
});

test('small buffers, which share memory with others, and shared memory are left alone', () => {
  const small = Buffer.from('small');
  freeMemory(small);
  assert.equal(small.toString(), 'small');
  const shared = new Uint8Array(new SharedArrayBuffer(1 << 20) as unknown as ArrayBuffer);
  freeMemory(shared);
  assert.equal(shared.length, 1 << 20);
});
