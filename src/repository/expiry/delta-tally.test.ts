import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { DeltaTally } from './delta-tally.ts';

test('nothing is lost where several page loads find the tally full at once', async () => {
  const tally = new DeltaTally(4);
  const expected = new Map<string, number>();
  try {
    for (let round = 0; round < 6; round += 1) {
      for (let count = 0; count < 5; count += 1) {
        const id = randomBytes(16);
        tally.add(id, round + 1);
        expected.set(id.toString('hex'), round + 1);
      }
      await Promise.all([tally.spill(), tally.spill(), tally.spill()]);
    }
    const found = new Map<string, number>();
    for await (const { id, delta } of tally.sums()) found.set(id.toString('hex'), delta);
    assert.deepEqual(found, expected);
  } finally {
    await tally.close();
  }
});
