/** What a folder promises beyond the contract: crashes, full disks, lost mounts, honest messages. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  mkdirSync,
  truncateSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import { openStore } from './index.ts';
import { LocalFolder } from './local-folder.ts';
import {
  bytes,
  listAll,
  readText,
  rejects,
  testObjectStoreContract,
} from './object-store.contract.ts';

testObjectStoreContract('a local folder', async () => {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-store-'));
  const store = await LocalFolder.open(root);
  const other = await LocalFolder.open(root);
  const release = async (): Promise<void> => {
    await store.close();
    await other.close();
    rmSync(root, { recursive: true });
  };
  return { store, other, release };
});

async function inFolder(body: (store: LocalFolder, root: string) => Promise<void>): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-store-'));
  const store = await LocalFolder.open(root);
  try {
    await body(store, root);
  } finally {
    await store.close();
    rmSync(root, { recursive: true, force: true });
  }
}

test('what a killed writer leaves is invisible, and discardUnfinished removes it', () =>
  inFolder(async (store, root) => {
    const script = `
      import { LocalFolder } from ${JSON.stringify(new URL('./local-folder.ts', import.meta.url).href)};
      const store = await LocalFolder.open(${JSON.stringify(root)});
      const writer = await store.openWriter('packs/ab/dead');
      await writer.write(Buffer.alloc(5 * 1024 * 1024, 1));
      process.kill(process.pid, 'SIGKILL');`;
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', script]);
    assert.equal(child.signal, 'SIGKILL', child.stderr.toString());
    assert.equal(readdirSync(join(root, '.unfinished')).length, 1);
    assert.deepEqual(await listAll(store, ''), []);
    assert.equal(await store.size('packs/ab/dead'), undefined);
    await store.discardUnfinished('packs/cd/');
    assert.equal(readdirSync(join(root, '.unfinished')).length, 1);
    await store.discardUnfinished('packs/ab/dead');
    assert.deepEqual(readdirSync(join(root, '.unfinished')), []);
  }));

test('finished and refused puts leave no temporary file behind', () =>
  inFolder(async (store, root) => {
    await store.createIfAbsent('a', bytes('1'));
    await store.createIfAbsent('a', bytes('2'));
    for (const name of ['a', 'b']) {
      const writer = await store.openWriter(name);
      await writer.write(bytes('3'));
      await writer
        .commit()
        .catch((error: unknown) => assert.ok(isHoldfastError(error, 'ObjectExists')));
    }
    assert.deepEqual(readdirSync(join(root, '.unfinished')), []);
  }));

test('objects and folders are readable by their owner only', () =>
  inFolder(async (store, root) => {
    await store.createIfAbsent('keys/1', bytes('secret'));
    assert.equal(statSync(join(root, 'keys/1')).mode & 0o777, 0o600);
    assert.equal(statSync(join(root, 'keys')).mode & 0o777, 0o700);
  }));

/** Runs `body` in a file system of 1 MiB of its own; `remount` changes its mount options. */
async function inTinyFileSystem(
  body: (root: string, remount: (options: string) => void) => Promise<void>,
): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-tiny-'));
  execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', root]);
  try {
    await body(root, (options) => execFileSync('/bin/mount', ['-o', `remount,${options}`, root]));
  } finally {
    execFileSync('/bin/umount', [root]);
    rmSync(root, { recursive: true });
  }
}

test('a really full file system is StoreFull with what and where, and keeps what it holds', () =>
  inTinyFileSystem(async (root) => {
    const store = await LocalFolder.open(root);
    await store.createIfAbsent('log/1', bytes('kept'));
    const writer = await store.openWriter('packs/ab/big');
    const message = await fill(async () => {
      await writer.write(Buffer.alloc(700_000, 1));
      await writer.write(Buffer.alloc(700_000, 1));
      await writer.commit();
    });
    assert.ok(message.endsWith(`no space left in the store: ${root}`), message);
    await writer.abort();
    const refused = await fill(() => store.createIfAbsent('log/2', Buffer.alloc(2_000_000, 1)));
    assert.ok(refused.endsWith(`: ${root}`), refused);
    assert.equal(await store.size('packs/ab/big'), undefined);
    assert.deepEqual(readdirSync(join(root, '.unfinished')), []);
    assert.equal(await store.createIfAbsent('log/2', bytes('fits')), 'created');
    assert.equal(await readText(store, 'log/1'), 'kept');
    await store.close();
  }));

async function fill(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
  } catch (error) {
    assert.ok(isHoldfastError(error, 'StoreFull'), String(error));
    return error.message;
  }
  return assert.fail('the file system took more than it holds');
}

test('a file system mounted read-only refuses writes with StoreReadOnly and still reads', () =>
  inTinyFileSystem(async (root, remount) => {
    const writable = await LocalFolder.open(root);
    await writable.createIfAbsent('a', bytes('kept'));
    await writable.close();
    remount('ro');
    await rejects('StoreReadOnly', openStore(root));
    const store = await LocalFolder.open(root);
    await rejects('StoreReadOnly', store.createIfAbsent('b', bytes('x')));
    await rejects('StoreReadOnly', store.openWriter('b'));
    await rejects('StoreReadOnly', store.delete('a'));
    assert.equal(await readText(store, 'a'), 'kept');
    await store.close();
  }));

test('objects of an unmounted folder are out of reach, not absent', () =>
  inFolder(async (store, root) => {
    await store.createIfAbsent('log/1', bytes('x'));
    renameSync(root, `${root}-away`);
    try {
      await rejects('StoreFailed', store.size('log/1'));
      mkdirSync(root); // As an empty mount point would look.
      await rejects('StoreFailed', store.size('log/1'));
      await rejects('StoreFailed', store.read('log/2', { maxBytes: 1 }));
      await rejects('StoreFailed', store.delete('log/1'));
      await rejects('StoreFailed', listAll(store, ''));
      await rejects('StoreFailed', store.createIfAbsent('packs/aa/1', bytes('x')));
      assert.deepEqual(readdirSync(root), []);
    } finally {
      rmSync(`${root}-away`, { recursive: true });
    }
  }));

test('a folder that vanished from the store is made again', () =>
  inFolder(async (store, root) => {
    await store.createIfAbsent('packs/aa/1', bytes('x'));
    rmSync(join(root, 'packs'), { recursive: true });
    assert.equal(await store.createIfAbsent('packs/aa/2', bytes('y')), 'created');
    assert.equal(await readText(store, 'packs/aa/2'), 'y');
    assert.deepEqual(readdirSync(join(root, '.unfinished')), []);
  }));

test('files that are not objects are not listed', () =>
  inFolder(async (store, root) => {
    mkdirSync(join(root, 'Other'));
    mkdirSync(join(root, '.unfinished'), { recursive: true });
    const writer = await store.openWriter('a');
    await writer.write(bytes('x'));
    assert.deepEqual(await listAll(store, ''), []);
    await writer.abort();
  }));

test('many objects are read through few open files, each byte its own', () =>
  inFolder(async (store) => {
    const names = Array.from({ length: 60 }, (_, index) => `packs/${index}`);
    await Promise.all(names.map((name) => store.createIfAbsent(name, bytes(name))));
    const before = readdirSync('/proc/self/fd').length;
    const reads = Array.from({ length: 10 }, () => names).flat();
    const found = await Promise.all(reads.map((name) => readText(store, name)));
    assert.deepEqual(found, reads);
    assert.ok(readdirSync('/proc/self/fd').length - before <= 16 + 1);
    await store.close();
    assert.ok(readdirSync('/proc/self/fd').length <= before);
  }));

test('an object that was cut short at rest is damaged, not zero-filled', () =>
  inFolder(async (store, root) => {
    await store.createIfAbsent('a', bytes('0123456789'));
    assert.equal(await readText(store, 'a'), '0123456789');
    truncateSync(join(root, 'a'), 4);
    await rejects('ObjectDamaged', store.readRange('a', { offsetBytes: 0, lengthBytes: 10 }));
  }));

test('overlapping calls of one writer are a bug that is not let through', () =>
  inFolder(async (store) => {
    const writer = await store.openWriter('a');
    const first = writer.write(Buffer.alloc(5 * 1024 * 1024));
    await assert.rejects(writer.write(bytes('x')), { code: 'ERR_ASSERTION' });
    await first;
    await writer.abort();
  }));
