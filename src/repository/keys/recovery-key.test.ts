import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';

import { isHoldfastError } from '#base';

import { formatRecoveryKey, parseRecoveryKey, requireRecoveryKey } from './recovery-key.ts';

const GOLDEN_RECOVERY =
  'HFRK-000G-40R4-0M30-E209-185G-R38E-1W81-24GK-2GAH-C5RR-34D1-P70X-3RFS-FZS0';

const keys = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes));
const fixed = formatRecoveryKey(Buffer.from([...Array(32).keys()]));

test('what is printed is for ever the same', () => {
  assert.equal(fixed, GOLDEN_RECOVERY);
});

test('what is printed reads back, however it is typed', () => {
  fc.assert(
    fc.property(keys, (key) => {
      const text = formatRecoveryKey(key);
      const typed = [
        text,
        text.toLowerCase(),
        text.replaceAll('-', ' '),
        text.replaceAll('-', ''),
        text.slice('HFRK-'.length),
        ` ${text.replaceAll('0', 'o').replaceAll('1', 'l')}\n`,
        text.replaceAll('-', '–'),
      ];
      for (const variant of typed)
        assert.deepEqual(parseRecoveryKey(variant), { kind: 'key', key });
    }),
  );
});

test('every mistyped character and every swap of neighbours is found', () => {
  const digits = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
  for (let i = 'HFRK-'.length; i < fixed.length; i += 1) {
    if (fixed[i] === '-') continue;
    for (const digit of digits) {
      if (digit === fixed[i]) continue;
      assert.equal(parseRecoveryKey(fixed.slice(0, i) + digit + fixed.slice(i + 1)).kind, 'typo');
    }
    const [a = '', b = ''] = fixed.slice(i, i + 2);
    if (b === '' || b === '-' || a === b) continue;
    assert.equal(parseRecoveryKey(fixed.slice(0, i) + b + a + fixed.slice(i + 2)).kind, 'typo');
  }
});

test('a key cut short says how much is there', () => {
  assert.throws(
    () => requireRecoveryKey(fixed.slice(0, -4)),
    (error) => isHoldfastError(error, 'ArgumentInvalid') && /52 of 56/.test(error.message),
  );
  assert.throws(() => requireRecoveryKey(`${fixed.slice(0, -1)}!`), /"!" is not a character/);
});

test('a password is not taken for a recovery key', () => {
  fc.assert(fc.property(fc.string(), (text) => parseRecoveryKey(text).kind !== 'key'));
  assert.equal(parseRecoveryKey('correct horse battery staple').kind, 'other');
});
