import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readPasswordFile } from './find-password.ts';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-password-'));
after(() => rmSync(folder, { recursive: true }));

function file(content: string | Buffer): string {
  const path = join(folder, 'password');
  writeFileSync(path, content);
  return path;
}

test('the line end that editors add is no part of the password', async () => {
  assert.equal(await readPasswordFile(file('secret')), 'secret');
  assert.equal(await readPasswordFile(file('secret\n')), 'secret');
  assert.equal(await readPasswordFile(file('secret\r\n')), 'secret');
});

test('spaces and letters of any script are part of the password', async () => {
  assert.equal(await readPasswordFile(file(' päss wörd \n')), ' päss wörd ');
});

const MISTAKES: readonly (readonly [string, string | Buffer, RegExp])[] = [
  ['empty', '\n', /holds no password/],
  ['of two lines', 'secret\nother\n', /more than one line/],
  ['too large', 'x'.repeat(65_537), /too large/],
  ['not text', Buffer.from([0xff, 0xfe]), /not a text file/],
];

for (const [what, content, complaint] of MISTAKES) {
  test(`a password file that is ${what} is refused, and what it holds is not shown`, async () => {
    await assert.rejects(readPasswordFile(file(content)), (error: Error) => {
      assert.match(error.message, complaint);
      assert.ok(!error.message.includes('secret'));
      return true;
    });
  });
}

test('a password file that cannot be read is named with the reason', async () => {
  await assert.rejects(readPasswordFile(join(folder, 'none')), /none": there is no such file/);
  await assert.rejects(readPasswordFile(folder), /it is a folder/);
});
