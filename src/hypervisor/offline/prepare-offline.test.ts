import assert from 'node:assert/strict';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isHoldfastError } from '#base';
import { openSource, prepareSource } from '#disk';
import type { PreparedBackup } from '../hypervisor.ts';
import { Backups } from './testing/backups.ts';
import {
  addBitmap,
  bitmapsIn,
  clock,
  createImage,
  holdAsVm,
  imageFolder,
  KIB,
  MIB,
  run,
  writeAsVm,
} from './testing/images.ts';

async function imageWithPoint(t: TestContext): Promise<{ path: string; backups: Backups }> {
  const folder = await imageFolder(t);
  const path = await createImage(join(folder, 'disk one.qcow2'), 16 * MIB);
  await writeAsVm(path, 'write -P 7 0 1M');
  const backups = new Backups(path);
  const { disk, dirty } = await backups.take(t);
  assert.deepEqual(
    [disk.tracking, disk.untracked, dirty],
    [{ kind: 'initial' }, undefined, undefined],
  );
  return { path, backups };
}

async function reasonOf(t: TestContext, backups: Backups): Promise<string> {
  const { disk, dirty } = await backups.take(t);
  assert.equal(disk.tracking.kind, 'compare');
  assert.equal(dirty, undefined);
  return disk.tracking.reason;
}

/** Ends the one qemu-nbd that has the image open. */
async function endHolder(path: string): Promise<void> {
  const holders: number[] = [];
  for (const entry of await readdir('/proc')) {
    // Processes come and go meanwhile.
    const command = await readFile(join('/proc', entry, 'cmdline'), 'utf8').catch(() => '');
    const [program, ...args] = command.split('\0');
    if (program === 'qemu-nbd' && args.includes(path)) holders.push(Number(entry));
  }
  assert.equal(holders.length, 1);
  process.kill(holders[0]!);
}

const has =
  (code: string, text: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(isHoldfastError(error), String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, text);
    return true;
  };

test('an increment knows exactly the blocks that were written since its base', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  await writeAsVm(
    path,
    'write -P 1 1M 16k',
    'write -P 2 5M 1k',
    'write -z 8M 32k',
    'discard 12M 64k',
  );
  const { disk, dirty } = await backups.take(t);
  assert.deepEqual(disk.tracking, { kind: 'bitmap', base: backups.bases[1]!.point });
  assert.deepEqual(dirty, [
    [1 * MIB, 16 * KIB],
    [5 * MIB, 16 * KIB],
    [8 * MIB, 32 * KIB],
    [12 * MIB, 64 * KIB],
  ]);
  const none = await backups.take(t);
  assert.deepEqual(none.dirty, []);
  assert.deepEqual(Object.keys(await bitmapsIn(path)).length, 1);
});

test('a snapshot is read by its path, and keeps every writer out until its release', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  const prepared = await backups.prepare();
  const snapshot = await prepared.snapshot();
  const [disk] = snapshot.disks;
  assert.deepEqual([disk!.location, disk!.format], [path, 'qcow2']);
  await assert.rejects(run('qemu-io', '-f', 'qcow2', '-c', 'write 0 1k', path), /"write" lock/);
  const source = await prepareSource({ location: path, format: 'qcow2', clock });
  const reader = await openSource(source.spec, { clock });
  const start = Buffer.alloc(4096);
  await reader.read(0, start);
  assert.ok(start.every((byte) => byte === 7));
  await reader.close();
  await source.close();
  await snapshot.release('committed');
  await snapshot.release('failed');
  await prepared.close();
  await writeAsVm(path, 'write 0 1k');
});

test('after a failure the old bitmap goes on, and the next increment has the changes of both', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  const before = await bitmapsIn(path);
  await writeAsVm(path, 'write 1M 16k');
  await backups.take(t, 'failed');
  assert.deepEqual(await bitmapsIn(path), before);
  await writeAsVm(path, 'write 3M 16k');
  const { dirty } = await backups.take(t);
  assert.deepEqual(dirty, [
    [1 * MIB, 16 * KIB],
    [3 * MIB, 16 * KIB],
  ]);
});

test('preparing and closing changes nothing', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  const before = [await readFile(path), (await stat(path)).mtimeMs];
  const prepared = await backups.prepare();
  await prepared.close();
  await prepared.close();
  assert.deepEqual([await readFile(path), (await stat(path)).mtimeMs], before);
});

test('closing ends a snapshot that nobody released', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  const before = await bitmapsIn(path);
  const prepared = await backups.prepare();
  await prepared.snapshot();
  await prepared.close();
  assert.deepEqual(await bitmapsIn(path), before);
  await writeAsVm(path, 'write 0 1k');
});

test('what was begun and never ended is merged back by the next backup', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  const [old] = Object.keys(await bitmapsIn(path));
  await writeAsVm(path, 'write 1M 16k');
  await addBitmap(path, backups.bitmap);
  await writeAsVm(path, 'write 2M 16k');
  // As a backup of the running VM does between adding the new one and its commit.
  await run('qemu-img', 'bitmap', '--disable', path, old!);
  await writeAsVm(path, 'write 3M 16k');
  backups.forget();
  const prepared = await backups.prepare();
  assert.deepEqual(await bitmapsIn(path), { [old!]: 'auto' });
  assert.match(backups.warnings.join(), /a backup was killed/);
  const snapshot = await prepared.snapshot();
  assert.deepEqual(
    snapshot.disks[0]!.dirty!.map(({ offset }) => offset / MIB),
    [1, 2, 3],
  );
  await snapshot.release('committed');
});

test('where the commit was the last that happened, the new bitmap counts and the old one goes', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  await writeAsVm(path, 'write 1M 16k');
  const prepared = await backups.prepare();
  await addBitmap(path, backups.bitmap, '-g', '16K');
  backups.commit(prepared.disks[0]!);
  await writeAsVm(path, 'write 2M 16k');
  const { disk, dirty } = await backups.take(t);
  assert.deepEqual(disk.tracking, { kind: 'bitmap', base: backups.bases[1]!.point });
  assert.deepEqual(dirty, [[2 * MIB, 16 * KIB]]);
  assert.equal(Object.keys(await bitmapsIn(path)).length, 1);
});

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

test('a VM that runs and shuts down in order keeps its bitmap', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  const vm = await holdAsVm(t, { path, format: 'qcow2' });
  await assert.rejects(backups.prepare(), has('DiskInUse', /back it up through its hypervisor/));
  await vm.stop();
  await writeAsVm(path, 'write 1M 16k');
  assert.deepEqual((await backups.take(t)).dirty, [[1 * MIB, 16 * KIB]]);
});

test('a VM that is started between preparing and the snapshot keeps its disk, and nothing is left', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  const before = await bitmapsIn(path);
  const prepared = await backups.prepare();
  const vm = await holdAsVm(t, { path, format: 'qcow2' });
  await assert.rejects(prepared.snapshot(), has('DiskInUse', /in use/));
  await vm.stop();
  assert.deepEqual(await bitmapsIn(path), before);
});

test('a VM that runs again at the release keeps a bitmap too many until its next backup', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  const prepared = await backups.prepare();
  const snapshot = await prepared.snapshot();
  await endHolder(path);
  await assert.rejects(snapshot.lost);
  const vm = await holdAsVm(t, { path, format: 'qcow2' });
  await snapshot.release('committed');
  assert.match(backups.warnings.join(), /next backup removes/);
  backups.commit(prepared.disks[0]!);
  await vm.stop();
  assert.equal(Object.keys(await bitmapsIn(path)).length, 2);
  const { disk } = await backups.take(t);
  assert.deepEqual(disk.tracking, { kind: 'bitmap', base: backups.bases[1]!.point });
  assert.equal(Object.keys(await bitmapsIn(path)).length, 1);
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

test('an image that replaced another has no bitmap, or one that is right for it', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  await writeAsVm(path, 'write 1M 16k');
  await run('cp', '--sparse=always', path, `${path}.copy`);
  await writeAsVm(path, 'write 2M 16k');
  await run('mv', `${path}.copy`, path);
  assert.deepEqual((await backups.take(t)).dirty, [[1 * MIB, 16 * KIB]]);
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

test('a backing file outside the folder is refused, or shown by us where it is allowed', async (t) => {
  const [folder, elsewhere] = [await imageFolder(t), await imageFolder(t)];
  const backing = await createImage(join(elsewhere, 'base.qcow2'), 8 * MIB);
  await writeAsVm(backing, 'write -P 3 0 64k');
  const path = await createImage(join(folder, 'top.qcow2'), { backing });
  await assert.rejects(new Backups(path).prepare(), has('DiskUnsupported', /outside its folder/));
  for (const rules of [{ allowedFolders: [elsewhere] }, { allowOutside: true }]) {
    const prepared = await new Backups(path, rules).prepare();
    const snapshot = await prepared.snapshot();
    const source = await prepareSource({ location: snapshot.disks[0]!.location, clock });
    const reader = await openSource(source.spec, { clock });
    const start = Buffer.alloc(4096);
    await reader.read(0, start);
    assert.ok(start.every((byte) => byte === 3));
    await reader.close();
    await source.close();
    await snapshot.release('failed');
  }
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

test('a raw image of a running VM is in use', async (t) => {
  const path = await createImage(join(await imageFolder(t), 'disk.raw'), 8 * MIB, 'raw');
  await holdAsVm(t, { path, format: 'raw' });
  await assert.rejects(
    new Backups(path, { format: 'raw' }).prepare(),
    has('DiskInUse', /back it up through its hypervisor/),
  );
});

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

test('bitmaps that a hypervisor keeps books of are only read, those of a killed backup too', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  const [old] = Object.keys(await bitmapsIn(path));
  await writeAsVm(path, 'write 1M 16k');
  await addBitmap(path, backups.bitmap);
  await run('qemu-img', 'bitmap', '--disable', path, old!);
  await writeAsVm(path, 'write 2M 16k');
  const keeping = new Backups(path, { keepsBitmaps: true });
  keeping.bases = backups.bases;
  keeping.forget();
  keeping.forget();
  const before = await readFile(path);
  const { disk, dirty } = await keeping.take(t);
  assert.ok((await readFile(path)).equals(before));
  assert.match(disk.untracked!, /no checkpoint/);
  assert.deepEqual(dirty, [
    [1 * MIB, 16 * KIB],
    [2 * MIB, 64 * KIB],
  ]);
});

test('a snapshot says so when the process that holds the image ends', async (t) => {
  const { path, backups } = await imageWithPoint(t);
  const prepared: PreparedBackup = await backups.prepare();
  const snapshot = await prepared.snapshot();
  await endHolder(path);
  await assert.rejects(snapshot.lost, has('DiskUnavailable', /disk one/));
  await snapshot.release('failed');
});
