import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  alignExtents,
  ExtentCollector,
  intersectExtents,
  normaliseExtents,
  subtractExtents,
  totalBytes,
  type Extent,
} from './extent.ts';

const DISK = 200;
const anyExtents = fc.array(
  fc
    .tuple(fc.nat(DISK - 1), fc.nat(30))
    .map(([offset, length]) => ({ offset, length: Math.min(length, DISK - offset) })),
  { maxLength: 20 },
);

/** The model: the set of bytes. */
function bytesOf(extents: readonly Extent[]): Set<number> {
  return new Set(
    extents.flatMap(({ offset, length }) => Array.from({ length }, (_, at) => offset + at)),
  );
}

function common(left: readonly Extent[], right: readonly Extent[]): Set<number> {
  const others = bytesOf(right);
  return new Set(sorted(bytesOf(left)).filter((at) => others.has(at)));
}

function sorted(bytes: Set<number>): number[] {
  return Array.from(bytes).toSorted((left, right) => left - right);
}

function assertIs(extents: readonly Extent[], bytes: Set<number>): void {
  assert.deepEqual(sorted(bytesOf(extents)), sorted(bytes));
  for (const [index, extent] of extents.entries()) {
    assert.ok(extent.length > 0);
    const next = extents[index + 1];
    assert.ok(next === undefined || extent.offset + extent.length < next.offset, 'not normal');
  }
}

test('normalising keeps exactly the bytes and makes the list normal', () => {
  fc.assert(
    fc.property(anyExtents, (extents) => assertIs(normaliseExtents(extents), bytesOf(extents))),
  );
});

test('intersection and difference agree with sets of bytes', () => {
  fc.assert(
    fc.property(anyExtents, anyExtents, (one, other) => {
      const left = normaliseExtents(one);
      const right = normaliseExtents(other);
      const others = bytesOf(right);
      assertIs(intersectExtents(left, right), common(left, right));
      assertIs(
        subtractExtents({ from: left, removed: right }),
        new Set(sorted(bytesOf(left)).filter((at) => !others.has(at))),
      );
    }),
  );
});

test('aligning covers every touched block and stops at the end of the disk', () => {
  fc.assert(
    fc.property(anyExtents, fc.integer({ min: 1, max: 64 }), (extents, blockBytes) => {
      const touched = new Set(sorted(bytesOf(extents)).map((at) => Math.floor(at / blockBytes)));
      const blocks = Array.from(touched, (block) => ({
        offset: block * blockBytes,
        length: Math.min(blockBytes, DISK - block * blockBytes),
      }));
      assertIs(alignExtents(extents, { blockBytes, sizeBytes: DISK }), bytesOf(blocks));
    }),
  );
});

test('the total is the number of bytes', () => {
  fc.assert(
    fc.property(anyExtents, (extents) => {
      assert.equal(totalBytes(normaliseExtents(extents)), bytesOf(extents).size);
    }),
  );
});

test('a collector is exact while there is room, and covers everything in bounded memory after that', () => {
  const exact = new ExtentCollector();
  const bounded = new ExtentCollector(100);
  for (let at = 0; at < 10_000; at += 1) {
    exact.add({ offset: at * 200_000, length: 4096 });
    bounded.add({ offset: at * 200_000, length: 4096 });
  }
  assert.equal(exact.extents().length, 10_000);
  assert.ok(bounded.extents().length <= 100);
  assert.equal(
    totalBytes(intersectExtents(exact.extents(), bounded.extents())),
    totalBytes(exact.extents()),
  );
});
