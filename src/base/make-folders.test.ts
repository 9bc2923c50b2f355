import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeFolders } from './make-folders.ts';

test('missing folders are made, with their mode, and the first is told; what cannot be ends in an error', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-folders-'));
  t.after(() => rmSync(root, { recursive: true }));
  const path = join(root, 'a', 'b', 'c');
  assert.equal(await makeFolders(path, { mode: 0o700 }), join(root, 'a'));
  assert.equal(statSync(path).mode & 0o777, 0o700);
  assert.equal(await makeFolders(path), undefined);
  assert.equal(await makeFolders(`${path}/d/`), `${path}/d/`);
  const both = [makeFolders(join(root, 'x', 'y')), makeFolders(join(root, 'x', 'z'))];
  assert.equal((await Promise.all(both)).length, 2);
  writeFileSync(join(root, 'file'), '');
  await assert.rejects(makeFolders(join(root, 'file')), { code: 'EEXIST' });
  await assert.rejects(makeFolders(join(root, 'file', 'below')), { code: 'ENOTDIR' });
  symlinkSync(join(root, 'nowhere'), join(root, 'link'));
  await assert.rejects(makeFolders(join(root, 'link', 'below')), { code: 'ENOENT' });
  // The parent is there, and still it says ENOENT: for this `mkdir` with `recursive` never ends.
  await assert.rejects(makeFolders('/proc/holdfast/below'), { code: 'ENOENT' });
  chmodSync(path, 0o700);
});
