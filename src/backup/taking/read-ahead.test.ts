import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HoldfastError } from '#base';
import type { DiskSource } from '#disk';
import { ReadAhead, type Piece } from './read-ahead.ts';

const BLOCK = 4096;
const SIZE = 64 * 1024 * 1024;

/** A disk whose byte at an offset is told by its block, that answers out of order and remembers how much was asked. */
class SlowDisk implements DiskSource {
  readonly sizeBytes = SIZE;
  readonly description = 'slow';
  readonly #failsAt: number | undefined;
  underWay = 0;
  most = 0;
  reads = 0;

  constructor(failsAt?: number) {
    this.#failsAt = failsAt;
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    this.reads += 1;
    this.underWay += 1;
    this.most = Math.max(this.most, this.underWay);
    for (let turn = (this.reads * 7) % 5; turn >= 0; turn -= 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.underWay -= 1;
    if (offsetBytes === this.#failsAt) throw new HoldfastError('DiskReadFailed', 'no');
    target.fill(byteAt(offsetBytes));
  }

  async dataExtents(): Promise<[]> {
    return [];
  }

  async close(): Promise<void> {}
}

function byteAt(offset: number): number {
  return 1 + ((offset / BLOCK) % 251);
}

function piecesOf(lengths: readonly number[]): Piece[] {
  let offset = 0;
  return lengths.map((length) => {
    const piece = { offset, length };
    offset += Math.ceil(length / BLOCK) * BLOCK;
    return piece;
  });
}

async function assertNext(ahead: ReadAhead, { offset, length }: Piece): Promise<void> {
  const bytes = await ahead.next();
  assert.equal(bytes.length, Math.ceil(length / BLOCK) * BLOCK);
  // Others are read while it is used.
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(bytes.subarray(0, length).every((byte) => byte === byteAt(offset)));
  assert.ok(bytes.subarray(length).every((byte) => byte === 0));
}

test('pieces come whole and in order, whatever their lengths, list after list', async () => {
  const lengths = fc.array(
    fc.oneof(fc.integer({ min: 1, max: 1024 * 1024 }), fc.constantFrom(BLOCK, 1024 * 1024)),
    { maxLength: 30 },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(lengths, { maxLength: 3 }), async (lists) => {
      const ahead = new ReadAhead(BLOCK);
      const disk = new SlowDisk();
      for (const pieces of lists.map(piecesOf)) {
        ahead.start(disk, pieces);
        for (const piece of pieces) await assertNext(ahead, piece);
        await ahead.settle();
      }
    }),
    { numRuns: 60 },
  );
});

test('of small pieces sixteen are asked for at once, of the longest four', async () => {
  for (const [length, most] of [
    [BLOCK, 16],
    [1024 * 1024, 4],
  ] as const) {
    const ahead = new ReadAhead(BLOCK);
    const disk = new SlowDisk();
    const pieces = piecesOf(Array.from({ length: 40 }, () => length));
    ahead.start(disk, pieces);
    assert.equal(disk.underWay, most);
    for (const piece of pieces) await assertNext(ahead, piece);
    assert.equal(disk.most, most);
    await ahead.settle();
  }
});

test('a read that fails is thrown in its turn, and nothing is under way after the settling', async () => {
  const pieces = piecesOf(Array.from({ length: 40 }, () => BLOCK));
  const ahead = new ReadAhead(BLOCK);
  const disk = new SlowDisk(pieces[5]!.offset);
  ahead.start(disk, pieces);
  for (const piece of pieces.slice(0, 5)) await assertNext(ahead, piece);
  await assert.rejects(ahead.next(), { code: 'DiskReadFailed' });
  await ahead.settle();
  assert.equal(disk.underWay, 0);
  ahead.start(disk, pieces.slice(6));
  await assertNext(ahead, pieces[6]!);
  await ahead.settle();
});
