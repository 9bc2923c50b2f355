import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../usage-error.ts';
import { parseItemName } from './item-name.ts';

for (const name of [
  'web',
  'web-01.example.org',
  'My Windows 11 VM (old)',
  'Büro/Straße #3',
  'データベース',
  'می‌خواهم',
  '👩‍💻',
  '-x',
  '../x',
  'a'.repeat(200),
  '😀'.repeat(200),
]) {
  test(`an item may be called "${name.slice(0, 30)}"`, () =>
    assert.equal(parseItemName(name), name));
}

const REFUSED: readonly (readonly [string, string, RegExp])[] = [
  ['nothing', '', /is empty/],
  ['blanks only', ' \t\u3000', /is empty/],
  ['a line end', 'web\ndb', /cannot be seen or read \(U\+000A\)/],
  ['a line end behind it', 'web\n', /U\+000A/],
  ['a tab', 'web\tdb', /U\+0009/],
  ['an escape sequence', '\u001b[2Jweb', /U\+001B/],
  ['a C1 control character', 'web\u0085', /U\+0085/],
  ['a change of direction', 'web\u202edb', /U\+202E/],
  ['a space of no width', 'web\u200b', /U\+200B/],
  ['a line separator', 'web\u2028db', /U\+2028/],
  ['half a character', 'web\ud800', /U\+D800/],
  ['what was not UTF-8', 'web\ufffd', /U\+FFFD/],
  ['a blank before it', ' web', /" web" begins or ends with a blank/],
  ['a blank behind it', 'web\u00a0', /begins or ends with a blank/],
  ['201 characters', 'a'.repeat(201), /has 201 characters: at most 200/],
];

for (const [what, name, says] of REFUSED) {
  test(`an item may not be called so: ${what}`, () => {
    assert.throws(
      () => parseItemName(name),
      (error) => error instanceof UsageError && says.test(error.message),
    );
  });
}
