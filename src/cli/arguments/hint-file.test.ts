import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isHoldfastError } from '#base';
import { readHintFile } from './hint-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-hint-'));
after(() => rmSync(folder, { recursive: true }));

function hint(text: string): string {
  const path = join(folder, 'hint.json');
  writeFileSync(path, text);
  return path;
}

test('a hint is a list of extents', async () => {
  const path = hint(
    '[{"offset": 0, "length": 4096}, {"offset": 65536, "length": 1, "zero": true}]',
  );
  assert.deepEqual(await readHintFile(path), [
    { offset: 0, length: 4096 },
    { offset: 65_536, length: 1 },
  ]);
  assert.deepEqual(await readHintFile(hint('[]')), []);
});

const MISTAKES: readonly (readonly [string, RegExp])[] = [
  ['', /not JSON/],
  ['{"offset": 0, "length": 1}', /not a JSON array/],
  ['[{"offset": 0, "length": 1}, 7]', /entry 1: it is not \{"offset", "length"\}/],
  ['[null]', /entry 0: it is not/],
  ['[{"length": 1}]', /entry 0: "offset"/],
  ['[{"offset": -1, "length": 1}]', /entry 0: "offset"/],
  ['[{"offset": 0, "length": "1"}]', /entry 0: "length"/],
  ['[{"offset": 0.5, "length": 1}]', /entry 0: "offset"/],
  ['[{"offset": 9007199254740991, "length": 1}]', /entry 0: it ends beyond/],
];

for (const [text, complaint] of MISTAKES) {
  test(`the hint ${text === '' ? 'that is empty' : text} is refused with file, entry and reason`, async () => {
    const path = hint(text);
    await assert.rejects(readHintFile(path), (error) => {
      assert.ok(isHoldfastError(error, 'ArgumentInvalid'));
      assert.ok(error.message.includes(path));
      assert.match(error.message, complaint);
      return true;
    });
  });
}

test('a hint that is not there is named', async () => {
  await assert.rejects(
    readHintFile(join(folder, 'none.json')),
    /none\.json": there is no such file/,
  );
});
