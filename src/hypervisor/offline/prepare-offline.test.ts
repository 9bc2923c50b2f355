import assert from 'node:assert/strict';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSource, prepareSource } from '#disk';
import type { PreparedBackup } from '../hypervisor.ts';
import { Backups, has, imageWithPoint } from './testing/backups.ts';
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
  const [disk] = await snapshot.disks();
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
    (await snapshot.disks())[0]!.dirty!.map(({ offset }) => offset / MIB),
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

test('a backing file outside the folder is refused, or shown by us where it is allowed', async (t) => {
  const [folder, elsewhere] = [await imageFolder(t), await imageFolder(t)];
  const backing = await createImage(join(elsewhere, 'base.qcow2'), 8 * MIB);
  await writeAsVm(backing, 'write -P 3 0 64k');
  const path = await createImage(join(folder, 'top.qcow2'), { backing });
  await assert.rejects(new Backups(path).prepare(), has('DiskUnsupported', /outside its folder/));
  for (const rules of [{ allowedFiles: [backing] }, { allowOutside: true }]) {
    const prepared = await new Backups(path, rules).prepare();
    const snapshot = await prepared.snapshot();
    const [{ location } = assert.fail()] = await snapshot.disks();
    const source = await prepareSource({ location, clock });
    const reader = await openSource(source.spec, { clock });
    const start = Buffer.alloc(4096);
    await reader.read(0, start);
    assert.ok(start.every((byte) => byte === 3));
    await reader.close();
    await source.close();
    await snapshot.release('failed');
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
