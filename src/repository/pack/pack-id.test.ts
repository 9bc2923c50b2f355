import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  counterOf,
  packIdOf,
  packName,
  parsePackName,
  sessionOf,
  sessionPrefix,
} from './pack-id.ts';

const session = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
const id = packIdOf({ session, counter: 0x01020304 });

test('a pack id is the session and a big-endian counter', () => {
  assert.equal(id.toString('hex'), '00112233445566778899aabbccddeeff01020304');
  assert.equal(counterOf(id), 0x01020304);
  assert.deepEqual(sessionOf(id), session);
  assert.throws(() => packIdOf({ session, counter: 2 ** 32 }));
});

test('the name of a pack begins with the prefix of its session and parses back', () => {
  assert.equal(packName(id), 'packs/00/00112233445566778899aabbccddeeff01020304');
  assert.ok(packName(id).startsWith(sessionPrefix(session)));
  assert.deepEqual(parsePackName(packName(id)), id);
});

test('names that are not of packs do not parse', () => {
  const hex = id.toString('hex');
  const others = [`packs/01/${hex}`, `packs/00/${hex}0`, `packs/00/${hex.slice(1)}`, `x/00/${hex}`];
  for (const name of [...others, `packs/00/${hex.toUpperCase()}`, '']) {
    assert.equal(parsePackName(name), undefined, name);
  }
});
