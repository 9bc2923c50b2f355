import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GB, instanceBytes, instanceUnits, type InstanceDisk } from './instance-size.ts';

const system = (usedGb: number | undefined, sizeGb = 127): InstanceDisk => ({
  isSystem: true,
  sizeBytes: sizeGb * GB,
  usedBytes: usedGb === undefined ? undefined : usedGb * GB,
});
const data = (usedGb: number | undefined, sizeGb: number): InstanceDisk => ({
  ...system(usedGb, sizeGb),
  isSystem: false,
});
const BY_DATA = { halvesAll: false };

test('R76 an instance is small up to 50 GB, one unit up to 500 GB, then one for each 500 GB begun', () => {
  const cases: readonly [number, number, number][] = [
    [0, 1, 0],
    [50, 1, 0],
    [50.1, 0, 1],
    [500, 0, 1],
    [501, 0, 2],
    [1.3 * 1024, 0, 3],
    [2000, 0, 4],
    [8 * 1024, 0, 17],
  ];
  for (const [gb, small, standard] of cases) {
    assert.deepEqual(instanceUnits(gb * GB), { small, standard }, `${gb} GB`);
  }
  assert.deepEqual(instanceUnits(50 * GB + 1), { small: 0, standard: 1 });
});

test('R77 M26 the documents’ example: 17 GB and 30 GB on the disks, nothing on the temporary one, are 47 GB', () => {
  const disks = [system(17, 1023), data(30, 1023), data(0, 200)];
  assert.equal(instanceBytes(disks, BY_DATA), 47 * GB);
  assert.deepEqual(instanceUnits(47 * GB), { small: 1, standard: 0 });
});

test('R77 where the setting says so, half of the disks’ size counts of a crash-consistent point', () => {
  const disks = [system(17, 128), data(30, 1024)];
  assert.equal(instanceBytes(disks, { halvesAll: true }), 576 * GB);
});

test('R78 the system disk alone counts if it alone is backed up; with any data disk all of them do', () => {
  assert.equal(instanceBytes([system(17), data(undefined, 1024)], BY_DATA), 17 * GB);
  const some = [system(17), data(30, 1024), data(undefined, 200)];
  // Nobody has read the last one: half of its size stands for its data.
  assert.equal(instanceBytes(some, BY_DATA), (17 + 30 + 100) * GB);
});
