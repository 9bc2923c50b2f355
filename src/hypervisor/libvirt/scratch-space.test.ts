import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { checkScratchSpace, scratchNeeds } from './scratch-space.ts';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

test('small disks need their size, others a gigabyte, large ones a tenth', () => {
  assert.equal(scratchNeeds([100 * MIB, 28 * MIB]).neededBytes, 128 * MIB);
  assert.equal(scratchNeeds([5 * GIB]).neededBytes, GIB);
  assert.equal(scratchNeeds([50 * GIB, 50 * GIB]).neededBytes, 10 * GIB);
  assert.equal(scratchNeeds([100 * MIB]).reserveBytes, 25 * MIB);
  assert.equal(scratchNeeds([100 * GIB]).reserveBytes, 256 * MIB);
});

test('too little room says how much is there and how much is needed', async () => {
  await checkScratchSpace(tmpdir(), { neededBytes: 1, reserveBytes: 0 });
  await assert.rejects(checkScratchSpace(tmpdir(), { neededBytes: 2 ** 60, reserveBytes: 0 }), {
    code: 'StoreFull',
    message: /MiB free and needs 1099511627776 MiB/,
  });
});
