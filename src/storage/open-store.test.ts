import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { HoldfastError, isHoldfastError } from '#base';
import { checkObjectName, isObjectName, MemoryDisk, openStore } from './index.ts';
import { bytes, readText, rejects } from './object-store.contract.ts';
import type { CreateOutcome, ObjectStore } from './object-store.ts';
import { probeStore } from './store-probe.ts';

async function inFolder(body: (root: string) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-open-'));
  try {
    await body(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

test('create makes the folder with its parents; probing leaves no object behind', () =>
  inFolder(async (root) => {
    const path = join(root, 'deep/er/repo');
    const store = await openStore(path, { create: true });
    assert.equal(store.location, path);
    assert.deepEqual(readdirSync(path), ['.unfinished']);
    assert.deepEqual(readdirSync(join(path, '.unfinished')), []);
    await store.createIfAbsent('a', bytes('x'));
    await store.close();
    for (const location of [path, pathToFileURL(path).href]) {
      const again = await openStore(location);
      assert.equal(await readText(again, 'a'), 'x');
      await again.close();
    }
    assert.deepEqual(readdirSync(path), ['.unfinished', 'a']);
  }));

test('a store opened for reading refuses changes and writes nothing', () =>
  inFolder(async (root) => {
    const store = await openStore(root, { readOnly: true });
    await rejects('StoreReadOnly', store.createIfAbsent('a', bytes('x')));
    await store.close();
    assert.deepEqual(readdirSync(root), []);
  }));

test('a folder that is not there is RepositoryNotFound, with the path and what makes one', () =>
  inFolder(async (root) => {
    const path = join(root, 'none');
    await assert.rejects(openStore(path), (error) => {
      assert.ok(isHoldfastError(error, 'RepositoryNotFound'));
      assert.ok(error.message.includes(path) && error.message.includes('holdfast repo init'));
      return true;
    });
    assert.deepEqual(readdirSync(root), []);
  }));

test('a file, another kind of storage and an empty location are refused in one line', () =>
  inFolder(async (root) => {
    const file = join(root, 'file');
    writeFileSync(file, 'x');
    await rejects('StoreUnsupported', openStore(file));
    await rejects('StoreUnsupported', openStore(file, { create: true }));
    await rejects('StoreUnsupported', openStore(join(file, 'below'), { create: true }));
    await rejects('ArgumentInvalid', openStore(''));
    for (const location of ['s3://bucket/prefix', 'azblob://container/prefix', 'ftp://host/']) {
      await assert.rejects(openStore(location, { create: true }), (error) => {
        assert.ok(isHoldfastError(error, 'StoreUnsupported'));
        assert.match(error.message, /use a folder/);
        assert.ok(!error.message.includes('\n'));
        return true;
      });
    }
    const later = openStore('s3://bucket/prefix');
    await assert.rejects(later, /s3:\/\/ comes later; use a folder/);
  }));

test('the probe refuses a store that breaks the contract, and says how', async () => {
  const inner = new MemoryDisk().store();
  const broken = Object.assign(Object.create(inner) as ObjectStore, {
    location: 'a store that overwrites',
    delete: (name: string) => inner.delete(name),
    createIfAbsent: async (name: string, content: Uint8Array): Promise<CreateOutcome> => {
      await inner.delete(name);
      return inner.createIfAbsent(name, content);
    },
  });
  await assert.rejects(probeStore(broken), (error) => {
    assert.ok(isHoldfastError(error, 'StoreUnsupported'));
    assert.match(error.message, /a store that overwrites .* only if it is absent/);
    return true;
  });
  for await (const { name } of inner.list('')) assert.fail(`${name} is left`);
});

test('the probe leaves no object, neither on a sound store nor on one that reads wrongly', async () => {
  const sound = new MemoryDisk();
  await probeStore(sound.store());
  assert.equal(sound.objects.size + sound.unfinished.size, 0);
  const wrong = new MemoryDisk();
  wrong.plan = { atCall: 3, kind: 'bitFlip' };
  await rejects('StoreUnsupported', probeStore(wrong.store()));
  assert.equal(wrong.objects.size + wrong.unfinished.size, 0);
});

test('names of objects are lowercase segments that neither begin nor end with a dot', () => {
  const good = ['a', 'repository.json', 'packs/0f/a_b-c.d', 'a..b', '-', `${'x/'.repeat(99)}yy`];
  for (const name of good) {
    assert.ok(isObjectName(name), name);
    checkObjectName(name);
  }
  const bad = ['.', '..', 'a/..', 'a.', 'a./b', 'a+b', 'a~b', 'a\n', '\\a', 'x'.repeat(201)];
  for (const name of bad) {
    assert.ok(!isObjectName(name), name);
    assert.throws(() => checkObjectName(name), HoldfastError);
  }
});
