import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { imageIdentity } from './image-identity.ts';

test('an image stays the same by writing and renaming, and twins that change places are seen', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-identity-'));
  t.after(async () => await rm(folder, { recursive: true }));
  const [a, b, c] = ['a', 'b', 'c'].map((name) => join(folder, name)) as [string, string, string];
  for (const path of [a, b]) {
    await writeFile(path, 'x');
    await sleep(20);
    await appendFile(path, 'y'); // As every image has been written since it was made.
  }
  const [first, second] = [await imageIdentity(a), await imageIdentity(b)];
  assert.notEqual(first, second);
  await sleep(20);
  await appendFile(a, 'y');
  assert.equal(await imageIdentity(a), first, 'written');
  await rename(a, c);
  await rename(b, a);
  await rename(c, b);
  assert.equal(await imageIdentity(a), second);
  assert.equal(await imageIdentity(b), first);
});

test('an inode that is used again is another image', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-identity-'));
  t.after(async () => await rm(folder, { recursive: true }));
  const path = join(folder, 'a');
  await writeFile(path, 'x');
  await sleep(20);
  await appendFile(path, 'y');
  const before = await imageIdentity(path);
  await rm(path);
  await writeFile(path, 'x');
  await sleep(20);
  await appendFile(path, 'y');
  assert.notEqual(await imageIdentity(path), before);
});

test('what is no path of this host is its own name', async () => {
  for (const location of ['nbd://host/x', 'rbd:pool/x', '/not/there']) {
    assert.equal(await imageIdentity(location), location);
  }
});
