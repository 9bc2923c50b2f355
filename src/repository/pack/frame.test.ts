import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { isHoldfastError } from '#base';
import { compressFrame, decompressFrame } from './frame.ts';
import { content } from './pack-fixture.ts';

const damaged = (error: unknown): boolean => isHoldfastError(error, 'ObjectDamaged');

test('what compresses and what does not both come back', () => {
  for (const raw of [
    content('a', 262_144),
    content('b', 1024),
    randomBytes(262_144),
    randomBytes(1),
  ]) {
    const frame = compressFrame(raw);
    assert.equal(frame.rawLength, raw.length);
    assert.ok(frame.bytes.length <= raw.length);
    assert.deepEqual(decompressFrame(frame), raw);
  }
  assert.equal(compressFrame(randomBytes(4096)).codec, 0);
  assert.equal(compressFrame(content('c', 4096)).codec, 1);
});

test('a frame of another length is damage', () => {
  const raw = content('a', 8192);
  const { bytes } = compressFrame(raw);
  for (const rawLength of [1024, 8191, 8193, 16_384]) {
    assert.throws(() => decompressFrame({ codec: 1, bytes, rawLength }), damaged);
    assert.throws(() => decompressFrame({ codec: 0, bytes: raw, rawLength }), damaged);
  }
  for (let length = 0; length < bytes.length; length += 97) {
    const cut = bytes.subarray(0, length);
    assert.throws(() => decompressFrame({ codec: 1, bytes: cut, rawLength: 8192 }), damaged);
  }
});

test('a frame that would unpack to much more, or wants a large window, is refused', () => {
  const bomb = zstdCompressSync(Buffer.alloc(64 * 2 ** 20));
  const large = { codec: 1, bytes: bomb } as const;
  const before = process.memoryUsage().arrayBuffers;
  assert.throws(() => decompressFrame({ ...large, rawLength: 262_144 }), damaged);
  assert.ok(process.memoryUsage().arrayBuffers - before < 2 ** 20);
  assert.throws(() => decompressFrame({ ...large, rawLength: 1024 }), damaged);
});
