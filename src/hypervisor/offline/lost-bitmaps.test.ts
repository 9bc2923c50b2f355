/** Every way in which an image that is off can lose its bitmap, or never have one. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Backups, has, imageWithPoint, reasonOf } from './testing/backups.ts';
import {
  addBitmap,
  bitmapsIn,
  createImage,
  holdAsVm,
  imageFolder,
  KIB,
  MIB,
  run,
  writeAsVm,
} from './testing/images.ts';

/** Runs `body` in a file system of 32 MiB. */
async function inSmallFileSystem(
  t: TestContext,
  body: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await imageFolder(t);
  await run('mount', '-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', folder);
  try {
    await body(folder);
  } finally {
    await run('umount', '-l', folder);
  }
}

test('a bitmap that QEMU could not save, because it was killed, is not used and goes', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  const vm = await holdAsVm(t, { path, format: 'qcow2' });
  await vm.kill();
  assert.deepEqual(Object.values(await bitmapsIn(path)), ['in-use auto']);
  assert.match(await reasonOf(t, backups), /killed/);
  assert.deepEqual(Object.values(await bitmapsIn(path)), ['auto']);
  const { dirty } = await backups.take(t);
  assert.deepEqual(dirty, []);
});

test('bitmaps of other repositories and products stay as they are', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  const foreign = `holdfast-${'f'.repeat(32)}-${backups.point}`;
  await addBitmap(path, foreign);
  await addBitmap(path, 'backup-vda', '--disable');
  await writeAsVm(path, 'write 1M 16k');
  await backups.take(t);
  await backups.take(t, 'failed');
  const flags = await bitmapsIn(path);
  assert.equal(Object.keys(flags).length, 3);
  assert.deepEqual([flags[foreign], flags['backup-vda']], ['auto', '']);
});

test('a resized image is compared', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  await run('qemu-img', 'resize', '-q', '-f', 'qcow2', path, '20M');
  assert.match(await reasonOf(t, backups), /resized from 16777216 to 20971520/);
  assert.deepEqual((await backups.take(t)).dirty, []);
});

test('an image that replaced another is compared, whatever bitmaps it has', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  await writeAsVm(path, 'write 1M 16k');
  await run('cp', '--sparse=always', path, `${path}.copy`);
  await writeAsVm(path, 'write 2M 16k');
  await run('mv', `${path}.copy`, path);
  assert.match(await reasonOf(t, backups), /another image than before/);
  await createImage(path, 16 * MIB);
  assert.match(await reasonOf(t, backups), /no bitmap/);
});

test('QEMU reverts no image that has bitmaps; snapshots that come or go since are seen', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  await run('qemu-img', 'snapshot', '-c', 'before', path);
  assert.match(await reasonOf(t, backups), /internal snapshots/);
  await writeAsVm(path, 'write 1M 16k');
  await assert.rejects(run('qemu-img', 'snapshot', '-a', 'before', path), /dirty bitmaps/);
  assert.deepEqual((await backups.take(t)).dirty, [[1 * MIB, 16 * KIB]]);
  await run('qemu-img', 'snapshot', '-d', 'before', path);
  assert.match(await reasonOf(t, backups), /internal snapshots/);
});

test('a chain of backing files is read as one disk; another backing file is seen', async (t) => {
  const folder = await imageFolder(t);
  await writeAsVm(await createImage(join(folder, 'base.qcow2'), 8 * MIB), 'write -P 1 0 64k');
  await createImage(join(folder, 'middle.qcow2'), { backing: 'base.qcow2' });
  const path = await createImage(join(folder, 'top.qcow2'), { backing: 'middle.qcow2' });
  const backups = new Backups(path);
  await backups.take(t);
  await writeAsVm(path, 'write -P 2 16k 16k');
  assert.deepEqual((await backups.take(t)).dirty, [[16 * KIB, 16 * KIB]]);
  await createImage(join(folder, 'base2.qcow2'), 8 * MIB);
  const middle = join(folder, 'middle.qcow2');
  await run('qemu-img', 'rebase', '-u', '-f', 'qcow2', '-F', 'qcow2', '-b', 'base2.qcow2', middle);
  assert.match(await reasonOf(t, backups), /other backing files/);
});

test('raw and other images keep no bitmap, and are compared', async (t) => {
  const folder = await imageFolder(t);
  for (const format of ['raw', 'vmdk', 'vdi', 'vhdx', 'vpc']) {
    const path = await createImage(join(folder, `disk.${format}`), 8 * MIB, format);
    const backups = new Backups(path, { format });
    const first = await backups.take(t);
    assert.deepEqual(first.disk.tracking, { kind: 'initial' });
    assert.match(first.disk.untracked!, new RegExp(`${format} images keep no bitmap`));
    assert.match(await reasonOf(t, backups), new RegExp(`${format} images keep no bitmap`));
  }
});

test('an image that may not be written is read by its bitmap, and gets no new one', async (t) => {
  await inSmallFileSystem(t, async (folder) => {
    const path = await createImage(join(folder, 'disk.qcow2'), 16 * MIB);
    const backups = new Backups(path);
    await backups.take(t);
    await writeAsVm(path, 'write 1M 16k');
    await run('mount', '-o', 'remount,ro', folder);
    for (const outcome of ['failed', 'committed', 'committed'] as const) {
      const { disk, dirty } = await backups.take(t, outcome);
      assert.deepEqual(disk.tracking, { kind: 'bitmap', base: backups.bases.at(-1)!.point });
      assert.match(disk.untracked!, /may not be written/);
      assert.deepEqual(dirty, [[1 * MIB, 16 * KIB]]);
    }
  });
});

test('where a bitmap has no room none is begun, and the old one is not lost', async (t) => {
  await inSmallFileSystem(t, async (folder) => {
    const path = await createImage(join(folder, 'disk.qcow2'), 16 * MIB);
    const backups = new Backups(path);
    await backups.take(t);
    await writeAsVm(path, 'write 1M 16k');
    await writeFile(join(folder, 'filler'), Buffer.alloc(28 * MIB));
    const before = await bitmapsIn(path);
    const { disk, dirty } = await backups.take(t);
    assert.equal(disk.tracking.kind, 'bitmap');
    assert.match(disk.untracked!, /no room beside the image/);
    assert.deepEqual(dirty, [[1 * MIB, 16 * KIB]]);
    assert.deepEqual(await bitmapsIn(path), before);
  });
});

test('a disk that fills up before the snapshot fails the backup, and the next one compares', async (t) => {
  await inSmallFileSystem(t, async (folder) => {
    const path = await createImage(join(folder, 'disk.qcow2'), 16 * MIB);
    const backups = new Backups(path);
    await backups.take(t);
    const prepared = await backups.prepare();
    await run('sh', '-c', 'cat /dev/zero >"$0" 2>/dev/null || true', join(folder, 'filler'));
    await assert.rejects(prepared.snapshot(), has('HypervisorFailed', /could not be stored/));
    await rm(join(folder, 'filler'));
    assert.match(await reasonOf(t, backups), /killed/);
    assert.deepEqual((await backups.take(t)).dirty, []);
  });
});

test('qcow2 of the oldest version is read without a bitmap, and the reason says what to do', async (t) => {
  const path = join(await imageFolder(t), 'old.qcow2');
  await run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'compat=0.10', path, '8M');
  const { disk } = await new Backups(path).take(t);
  assert.match(disk.untracked!, /compat=1.1/);
});

test('a base that is gone from the repository is not counted from', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  await writeAsVm(path, 'write 1M 16k');
  await backups.take(t);
  backups.bases.shift();
  assert.match(await reasonOf(t, backups), /no bitmap that counts/);
});
