import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isHoldfastError } from '#base';
import { openMasterKey } from './master-key.ts';

const random = (sizeBytes: number): Buffer => randomBytes(sizeBytes);

async function place(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-master-'));
  t.after(async () => await rm(folder, { recursive: true }));
  return join(folder, 'master.key');
}

test('what was sealed opens again after a restart, for the same purpose only', async (t) => {
  const path = await place(t);
  const made = await openMasterKey(path, { random, mayCreate: true });
  const sealed = made.seal(Buffer.from('secret'), 'vault v1');
  const again = await openMasterKey(path, { random, mayCreate: true });
  assert.equal(again.unseal(sealed, 'vault v1').toString(), 'secret');
  for (const wrong of [() => again.unseal(sealed, 'vault v2'), () => again.unseal('AQID', 'x')]) {
    assert.throws(wrong, (error) => isHoldfastError(error, 'MasterKeyWrong'));
  }
});

test('a flipped bit anywhere in a sealed key is refused', async (t) => {
  const key = await openMasterKey(await place(t), { random, mayCreate: true });
  const sealed = Buffer.from(key.seal(Buffer.from('secret'), 'v'), 'base64');
  for (let bit = 0; bit < sealed.length * 8; bit += 1) {
    const flipped = Buffer.from(sealed);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    assert.throws(() => key.unseal(flipped.toString('base64'), 'v'), /cannot be unwrapped/);
  }
});

test('the file is for its owner alone, and made so again', async (t) => {
  const path = await place(t);
  await openMasterKey(path, { random, mayCreate: true });
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  await chmod(path, 0o644);
  await openMasterKey(path, { random, mayCreate: false });
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

test('a missing or short key is refused where it must not be made', async (t) => {
  const path = await place(t);
  await assert.rejects(openMasterKey(path, { random, mayCreate: false }), /put the master key/);
  await writeFile(path, 'short');
  await assert.rejects(openMasterKey(path, { random, mayCreate: true }), /has 5 bytes/);
});
