/** What goes wrong around a backup by QMP: Holdfast killed, scratch space full, others at the same disks. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Hypervisor } from '#hypervisor';
import { inTinyFileSystem } from '../repository/tiny-file-system.ts';
import { BackupHistory, newPoint } from './backup-history.ts';
import { expectBitmaps, expectTracking } from './hypervisor.contract.ts';
import type { KilledBackup } from './killed-backup.ts';
import { connectTo, qemuSubject, type QemuSubject } from './qemu-subject.ts';

function historyOf(subject: QemuSubject, scratchDir = subject.scratchDir): BackupHistory {
  return new BackupHistory({ ...subject, scratchDir });
}

/** Runs a backup in another process, which is killed when it has come so far. @returns its point. */
async function killBackup(
  subject: QemuSubject,
  {
    history,
    ...how
  }: Pick<KilledBackup, 'until' | 'mechanism'> & { readonly history: BackupHistory },
): Promise<string> {
  const { guest, vm, scratchDir } = subject;
  const point = newPoint();
  const work: KilledBackup = {
    uri: `qmp:${guest.qmpPath}`,
    vm,
    scratchDir,
    repositoryId: history.repositoryId,
    point,
    bases: [...history.bases],
    otherBases: [...history.otherBases],
    ...how,
  };
  const script = join(import.meta.dirname, 'killed-backup.ts');
  const child = spawn(process.execPath, [script, JSON.stringify(work)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [output] = (await once(child.stdout, 'data')) as [Buffer];
  assert.equal(output.toString(), 'there\n');
  child.kill('SIGKILL');
  await once(child, 'close');
  return point;
}

for (const mechanism of ['filter', 'job', 'push'] as const) {
  for (const until of ['prepared', 'snapshot', 'disks'] as const) {
    test(`a backup by ${mechanism} that was killed (${until}): the next one removes it and misses nothing`, async (t) => {
      const subject = await qemuSubject(t, { mechanism });
      const before = historyOf(subject);
      await before.take();
      await subject.change();
      await subject.hypervisor.close();
      await killBackup(subject, { history: before, until, mechanism });
      assert.notDeepEqual((await subject.traces()).others, []);
      await subject.change();

      const history = before.through(await connectTo(t, subject.guest, mechanism));
      await subject.change();
      expectTracking(await history.take(), 'bitmap');
      assert.match(history.warnings.join('\n'), /was killed/);
      await expectBitmaps(subject, 1);
      await subject.change();
      expectTracking(await history.take(), 'bitmap');
    });
  }
}

test('a backup of one item that was killed costs neither it nor another item of the repository a change', async (t) => {
  const subject = await qemuSubject(t);
  const web = historyOf(subject);
  const copy = web.otherItem();
  await web.take();
  await subject.change();
  await copy.take();
  await subject.change();
  await subject.hypervisor.close();
  await killBackup(subject, { history: copy, until: 'snapshot', mechanism: 'filter' });
  await subject.change();

  const hypervisor = await connectTo(t, subject.guest);
  const [webAgain, copyAgain] = [web.through(hypervisor), copy.through(hypervisor)];
  expectTracking(await webAgain.take({ outcome: 'failed' }), 'bitmap');
  assert.match(webAgain.warnings.join('\n'), /its bitmap was merged back/);
  await expectBitmaps(subject, 2);
  await subject.change();
  expectTracking(await copyAgain.take(), 'bitmap');
  await expectBitmaps(subject, 2);
  expectTracking(await webAgain.take({ outcome: 'failed' }), 'bitmap');
});

test('a backup that was killed between its commit and its release: its bitmaps count on', async (t) => {
  const subject = await qemuSubject(t);
  const before = historyOf(subject);
  await before.take();
  await subject.change();
  await subject.hypervisor.close();
  const point = await killBackup(subject, {
    history: before,
    until: 'snapshot',
    mechanism: 'filter',
  });

  const hypervisor = await connectTo(t, subject.guest);
  const history = before.through(hypervisor);
  // Nothing was written since: another history reads the same content, and stands for the lost commit.
  const same = await new BackupHistory({ ...subject, hypervisor }).take({ outcome: 'failed' });
  history.commit(point, same);
  await subject.change();
  const taken = await history.take();
  for (const { tracking } of taken.values())
    assert.deepEqual(tracking, { kind: 'bitmap', base: point });
  await expectBitmaps(subject, 1);
});

test('a VM that a killed backup left standing still goes on with the next one', async (t) => {
  const subject = await qemuSubject(t);
  await subject.guest.qmp('blockdev-add', { driver: 'null-co', 'node-name': 'holdfast-stopped' });
  await subject.guest.qmp('stop');
  await historyOf(subject).take();
  assert.equal((await subject.hypervisor.find(subject.vm)).state, 'running');
  await expectBitmaps(subject, 1);
});

for (const mechanism of ['filter', 'job'] as const) {
  test(`by ${mechanism}: scratch space that is full loses the snapshot, and the guest writes on`, async (t) => {
    const subject = await qemuSubject(t, { mechanism });
    await historyOf(subject).take();
    await inTinyFileSystem('8m', async (root) => {
      const history = historyOf(subject, root);
      const prepared = await history.prepare();
      const snapshot = await prepared.snapshot();
      await snapshot.disks();
      await subject.guest.sh(
        'dd if=/dev/zero of=/data/bin/blob0.dat bs=1M count=32 conv=notrunc,fsync',
      );
      await subject.guest.sh(
        'dd if=/dev/zero of=/data2/bin/blob0.dat bs=1M count=32 conv=notrunc,fsync',
      );
      await assert.rejects(snapshot.lost, (error: Error) => {
        assert.match(error.message, /the snapshot is lost, the VM runs on.*bytes left/);
        return true;
      });
      await subject.change();
      assert.equal((await subject.hypervisor.find(subject.vm)).state, 'running');
      await snapshot.release('failed');
      await prepared.close();
      assert.deepEqual((await subject.traces()).others, []);
    });
    expectTracking(await historyOf(subject).take(), 'initial');
  });
}

test('scratch space that is full before the start is refused', async (t) => {
  const subject = await qemuSubject(t);
  await inTinyFileSystem('1m', async (root) => {
    await assert.rejects(historyOf(subject, root).prepare(), { code: 'StoreFull' });
  });
  await expectBitmaps(subject, 0);
});

test('a VM is busy: its disks are mirrored, it migrates, its NBD server serves others, it is backed up', async (t) => {
  const subject = await qemuSubject(t);
  const { guest } = subject;
  const busy = async (reason: RegExp): Promise<void> => {
    await assert.rejects(
      historyOf(subject).prepare(),
      (error: Error & { readonly code?: string }) => {
        assert.equal(error.code, 'VmBusy');
        assert.match(error.message, reason);
        return true;
      },
    );
    assert.deepEqual((await subject.traces()).others, []);
  };

  const target = join(guest.runDir, 'mirror.raw');
  const mirror = { 'job-id': 'm0', device: 'disk0', target, sync: 'full', speed: 1, format: 'raw' };
  await guest.qmp('drive-mirror', mirror);
  await busy(/block job m0 \(mirror/);
  await guest.qmp('block-job-cancel', { device: 'm0', force: true });
  await untilGone(async () => (await guest.qmp('query-jobs')) as readonly unknown[]);

  await guest.qmp('migrate-set-parameters', { 'max-bandwidth': 100_000 });
  await guest.qmp('migrate', { uri: 'exec:cat >/dev/null' });
  await busy(/is being migrated/);
  await guest.qmp('migrate_cancel');
  await untilGone(async () => {
    const { status } = (await guest.qmp('query-migrate')) as { readonly status: string };
    return status === 'cancelled' ? [] : [status];
  });

  const addr = { type: 'unix', data: { path: join(guest.runDir, 'other.sock') } };
  await guest.qmp('nbd-server-start', { addr });
  await busy(/another program uses QEMU's NBD server/);
  await guest.qmp('nbd-server-stop');

  const prepared = await historyOf(subject).prepare();
  await assert.rejects(historyOf(subject).prepare(), { code: 'VmBusy' });
  await prepared.close();
  expectTracking(await historyOf(subject).take(), 'initial');
});

test('a second connection does not take a living backup for a dead one', async (t) => {
  const subject = await qemuSubject(t);
  const history = historyOf(subject);
  const other: Hypervisor = await connectTo(t, {
    ...subject.guest,
    qmpPath: join(subject.guest.runDir, 'mon.sock'),
  });
  const elsewhere = new BackupHistory({ ...subject, hypervisor: other });
  const prepared = await history.prepare();
  await assert.rejects(elsewhere.prepare(), { code: 'VmBusy' });
  const snapshot = await prepared.snapshot();
  await assert.rejects(elsewhere.prepare(), { code: 'VmBusy' });
  await snapshot.release('failed');
  expectTracking(await elsewhere.take(), 'initial');
  // The fixture wants its socket back.
  await other.close();
});

async function untilGone(list: () => Promise<readonly unknown[]>): Promise<void> {
  while ((await list()).length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
}
