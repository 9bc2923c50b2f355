/**
 * Backups of a running VM through `holdfast vm`, as a user of QEMU runs them: a real guest, its agent, its
 * file system, and a writer that never stops.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { fail, json, succeed, withoutPasswords } from '../cli/holdfast.ts';
import { assertCleanFileSystem, moreRecords, recordsIn, startWriting } from './records.ts';
import { guestFolder, startGuest, tinyGuestFolder, type TinyGuest } from './tiny-guest.ts';
import { assertNothingLeft, Site, type Taken } from './vm-site.ts';

withoutPasswords();

const MIB = 1024 * 1024;

function stepOf(taken: Taken, name: string): Taken['steps'][number] | undefined {
  return taken.steps.find((step) => step.name === name);
}

test('a running guest that writes all the time', async (t) => {
  const site = await Site.make(t);
  const { guest } = site;
  const listedBefore = await guestFiles(guest);
  await startWriting(guest);
  await moreRecords(guest, 5);
  const definitionBefore = await definitionOf(site);

  await t.test('a wrong password is refused before anything is put into the guest', async () => {
    const repository = join(site.folder, 'encrypted');
    await succeed(['repo', 'init', repository], { password: 'correct horse' });
    const to = [...site.connection, '--repo', repository];
    const args = ['vm', 'backup', await site.name(), ...to];
    await fail(args, { code: 1, says: /\[PasswordWrong\]/ }, { password: 'wrong' });
    assert.deepEqual(
      (await guestFiles(guest)).filter((path) => path.includes('holdfast')),
      [],
    );
  });

  const first = await site.backUp();

  await t.test(
    'M2 the first online backup installs the extension, and the guest shows it',
    async () => {
      assert.equal(stepOf(first, 'Install extension')?.outcome, 'succeeded');
      const files = await guestFiles(guest);
      assert.ok(
        files.some((path) => path.includes('/holdfast/VMSnapshotLinux/')),
        files.join('\n'),
      );
    },
  );

  await t.test('M4 a Linux guest is frozen and thawed through its agent, for milliseconds', () => {
    assert.equal(first.consistency, 'FileSystemConsistent');
    assert.ok(first.frozenMs !== undefined && first.frozenMs > 0);
    assert.equal(stepOf(first, 'Freeze')?.outcome, 'succeeded');
    assert.equal(stepOf(first, 'Thaw')?.outcome, 'succeeded');
    assert.equal(first.disks[0]!.tracking, 'initial');
  });

  await t.test(
    'M6 the snapshot and the transfer are two phases of the backup, each with its time',
    () => {
      const names = first.tasks.map(({ name }) => name);
      assert.deepEqual(names, ['Take Snapshot', 'Transfer data to vault']);
      const total = first.tasks.reduce((sum, { seconds }) => sum + seconds, 0);
      assert.ok(Math.abs(total - first.seconds) < 0.01, `${total} of ${first.seconds} s`);
    },
  );

  const before = await moreRecords(guest, 20);
  const second = await site.backUp();

  await t.test('M8 M18 an increment reads what the bitmap names, and the audit’s sample', () => {
    const [disk] = second.disks;
    assert.equal(disk!.tracking, 'bitmap');
    assert.ok(disk!.changed < 4 * MIB, `${disk!.changed} changed`);
    assert.ok(disk!.read < first.disks[0]!.read, 'less than everything');
  });

  await t.test('M9 the snapshot is gone when the point is there', async () => {
    await assertNothingLeft(guest, second.pointId);
    assert.deepEqual(
      (await site.show(second.pointId)).disks.map(({ name }) => name),
      ['vd0'],
    );
  });

  await t.test('M16 every point carries its consistency', async () => {
    for (const { pointId } of [first, second]) {
      assert.equal((await site.show(pointId)).consistency, 'FileSystemConsistent');
    }
    const unasked = await site.backUp('--no-quiesce');
    assert.equal(unasked.consistency, 'CrashConsistent');
    assert.equal(unasked.frozenMs, undefined);
  });

  await t.test(
    'M17 restored file systems are clean and hold every record up to the instant',
    async () => {
      for (const { pointId } of [first, second]) {
        const image = await site.restored(pointId);
        await assertCleanFileSystem(image);
        const records = await recordsIn(image);
        assert.ok(records >= (pointId === second.pointId ? before : 5), `${records} records`);
      }
    },
  );

  await t.test(
    'M11 the VM is as it was, and in the guest there is the extension only',
    async () => {
      assert.deepEqual(await definitionOf(site), definitionBefore);
      const added = (await guestFiles(guest)).filter((path) => !listedBefore.includes(path));
      assert.ok(added.length > 0);
      for (const path of added)
        assert.match(path, /^\/(?:var\/lib\/holdfast|run\/|data\/records|tmp)/);
    },
  );
});

test('M17 a restored point boots, and the guest goes on from there', async (t) => {
  const site = await Site.make(t);
  await startWriting(site.guest);
  await moreRecords(site.guest, 10);
  const { pointId } = await site.backUp();
  await site.guest.stop('quit');
  const image = await site.restored(pointId);
  const records = await recordsIn(image);
  const restored = await startGuest(t, { disks: [image] });
  await startWriting(restored);
  assert.match(await restored.sh('dmesg | grep -ci "ext4.*error" || true'), /^0/);
  assert.match(await restored.sh('head -n 1 /data/records | cut -c1-2'), /^1 /);
  assert.ok(records >= 10);
});

test('M18 QEMU is killed: the bitmap is gone, and the next backup compares by itself', async (t) => {
  const folder = await guestFolder(t);
  const disk = join(folder, 'disk.qcow2');
  await copyFile(join(await tinyGuestFolder(), 'disk.qcow2'), disk);
  const site = await Site.make(t, [disk]);
  await site.backUp();
  await site.guest.sh('echo one > /data/one; sync');
  await site.guest.kill();
  const again = new Site(site.folder, await startGuest(t, { disks: [disk] }));
  const [compared] = (await again.backUp()).disks;
  assert.equal(compared!.tracking, 'compare');
  assert.match(compared!.reason ?? '', /inconsistent|killed|ended/i);
  await again.guest.sh('echo two > /data/two; sync');
  const third = await again.backUp();
  assert.equal(third.disks[0]!.tracking, 'bitmap', 'and tracking goes on');
  const image = await again.restored(third.pointId);
  for (const [file, text] of [
    ['one', 'one\n'],
    ['two', 'two\n'],
  ] as const) {
    const { stdout } = await promisify(execFile)('debugfs', ['-R', `cat /${file}`, image], {
      env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` },
    });
    assert.equal(stdout, text);
  }
});

test('M19 a disk added to a live VM joins the next backup: a first copy of it, increments of the others', async (t) => {
  const folder = await guestFolder(t);
  const [system, data] = [join(folder, 'disk.qcow2'), join(folder, 'data.qcow2')];
  await copyFile(join(await tinyGuestFolder(), 'disk.qcow2'), system);
  await promisify(execFile)('qemu-img', ['create', '-q', '-f', 'qcow2', data, '64M']);
  const site = await Site.make(t, [system]);
  await site.backUp();
  await site.guest.stop();
  const grown = new Site(site.folder, await startGuest(t, { disks: [system, data] }));
  await grown.guest.sh(
    'dd if=/dev/urandom of=/dev/vdb bs=1M count=3 conv=fsync; echo x > /data/x; sync',
  );
  const { pointId, disks } = await grown.backUp();
  assert.deepEqual(
    disks.map(({ name, tracking }) => [name, tracking]),
    [
      ['vd0', 'bitmap'],
      ['vd1', 'initial'],
    ],
  );
  assert.ok(disks[0]!.changed < 4 * MIB);
  assert.equal(disks[1]!.changed, 3 * MIB);
  const image = await grown.restored(pointId, 'vd1');
  const written = await readFile(image);
  const inGuest = await grown.guest.sh('dd if=/dev/vdb bs=1M count=3 2>/dev/null | sha256sum');
  const { createHash } = await import('node:crypto');
  assert.equal(
    inGuest.split(' ')[0],
    createHash('sha256')
      .update(written.subarray(0, 3 * MIB))
      .digest('hex'),
  );
});

/** Everything in the guest but what the kernel makes up. */
async function guestFiles(guest: TinyGuest): Promise<string[]> {
  const text = await guest.sh(
    'find / -xdev -type f 2>/dev/null; find /data /run /var /etc /tmp -type f 2>/dev/null',
  );
  return [...new Set(text.trim().split('\n'))].sort();
}

/** Without its state, how its changes are tracked, and the extension, which is looked at in the guest. */
async function definitionOf(site: Site): Promise<unknown> {
  const shown = await json<Record<string, unknown>>([
    'vm',
    'show',
    await site.name(),
    ...site.connection,
  ]);
  const { state: _state, tracking: _tracking, extension: _extension, ...definition } = shown;
  return definition;
}
