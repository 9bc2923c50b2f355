import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../usage-error.ts';
import { checkNamesDisks, parseDiskName, parseDiskValues } from './disk-arguments.ts';
import { parseCount, parsePercent, parseSeconds, parseSize } from './size.ts';

test('sizes are accepted with and without unit', () => {
  assert.equal(parseSize('--x', '16KiB'), 16_384);
  assert.equal(parseSize('--x', '64K'), 65_536);
  assert.equal(parseSize('--x', '1MiB'), 1024 ** 2);
  assert.equal(parseSize('--x', '1 m'), 1024 ** 2);
  assert.equal(parseSize('--x', '4096'), 4096);
});

for (const text of ['', 'KiB', '16KB', '-1', '1.5M', '0x10', '16 Kilo']) {
  test(`"${text}" is not a size`, () => assert.throws(() => parseSize('--x', text), UsageError));
}

test('counts, seconds and percentages are checked', () => {
  assert.equal(parseCount('--x', '7'), 7);
  assert.equal(parseSeconds('--x', '0.5'), 500);
  assert.equal(parsePercent('--x', '12.5%'), 12.5);
  for (const text of ['-1', '1.5', 'x', ''])
    assert.throws(() => parseCount('--x', text), UsageError);
  for (const text of ['-1', 'x', '']) assert.throws(() => parseSeconds('--x', text), UsageError);
  for (const text of ['0', '101', 'x', ''])
    assert.throws(() => parsePercent('--x', text), UsageError);
});

test('a disk is everything before the first "=", its path everything after', () => {
  const disks = parseDiskValues('--disk', ['vda=/a=b.raw', 'sd.b-1=x']);
  assert.deepEqual(
    [...disks],
    [
      ['vda', '/a=b.raw'],
      ['sd.b-1', 'x'],
    ],
  );
});

for (const text of ['vda', 'vda=', '=x', 'v da=x', '../a=x', '-a=x']) {
  test(`"${text}" names no disk and path`, () =>
    assert.throws(() => parseDiskValues('--disk', [text]), UsageError));
}

test('a disk is named once', () => {
  assert.throws(() => parseDiskValues('--disk', ['a=1', 'a=2']), /names the disk a twice/);
});

test('an option may only speak of disks that are there', () => {
  const disks = new Map([['vda', 'x']]);
  checkNamesDisks('--format', new Map([['vda', 'raw']]), disks);
  assert.throws(() => checkNamesDisks('--format', new Map([['vdb', 'raw']]), disks), /vdb/);
});

test('names of disks are short and plain', () => {
  assert.equal(parseDiskName('vda'), 'vda');
  assert.throws(() => parseDiskName('a'.repeat(64)), UsageError);
});
