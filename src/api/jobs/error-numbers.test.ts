import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERRORS } from '#base';
import { errorNumber, recommendationsFor } from './error-numbers.ts';

test('every code has a number of its own, which a client can hold; those of Azure are Azure’s', () => {
  const codes = Object.keys(ERRORS);
  const numbers = codes.map(errorNumber);
  assert.equal(new Set(numbers).size, codes.length);
  for (const number of numbers) assert.ok(number > 0 && number < 2 ** 31);
  assert.equal(errorNumber('UserErrorVmNotFoundV2'), 400_094);
  assert.equal(errorNumber('AzureVmOffline'), 380_008);
});

test('every code has something to do about it', () => {
  for (const code of Object.keys(ERRORS)) {
    const [first] = recommendationsFor(code);
    assert.match(first!, /\.$/);
  }
});
