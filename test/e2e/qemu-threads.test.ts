/**
 * VMs whose disks have I/O threads, by QMP: on a QEMU that must not show such disks over NBD they are pushed.
 * The contract, a guest that writes all the time, and what goes wrong meanwhile.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import type { Progress } from '#base';
import { inTinyFileSystem } from '../repository/tiny-file-system.ts';
import { BackupHistory, newPoint, type TakenDisk } from './backup-history.ts';
import { assertOneInstant, startPairs } from './both-disks.ts';
import { expectBitmaps, expectTracking, hypervisorContract } from './hypervisor.contract.ts';
import { qemuSubject, THREADS, type QemuSubject } from './qemu-subject.ts';

const MIB = 1024 * 1024;
const INCREMENTS = 20;

async function threadedSubject(t: TestContext): Promise<QemuSubject> {
  return await qemuSubject(t, { guest: { args: THREADS } });
}

function historyOf(subject: QemuSubject, scratchDir = subject.scratchDir): BackupHistory {
  return new BackupHistory({ ...subject, scratchDir });
}

/** Of a guest that stands still, the content of its images as qemu-img reads it. */
async function assertAsInImages(
  subject: QemuSubject,
  taken: ReadonlyMap<string, TakenDisk>,
): Promise<void> {
  for (const [at, image] of subject.images.entries()) {
    const copy = join(subject.guest.runDir, 'as-in-image.raw');
    const format = image.endsWith('.raw') ? 'raw' : 'qcow2';
    const args = ['convert', '-U', '-f', format, '-O', 'raw', image, copy];
    await promisify(execFile)('qemu-img', args);
    assert.ok((await readFile(copy)).equals(taken.get(`vd${at}`)!.content), `vd${at}`);
  }
}

hypervisorContract('qemu with I/O threads', threadedSubject);

test('with I/O threads: each point has the content of the images, bit for bit, and an increment holds what changed', async (t) => {
  const subject = await threadedSubject(t);
  const history = historyOf(subject);
  const { guest } = subject;
  const standingStill = async (): Promise<ReadonlyMap<string, TakenDisk>> => {
    await guest.sh('sync');
    await guest.qmp('stop');
    const taken = await history.take();
    await assertAsInImages(subject, taken);
    await guest.qmp('cont');
    return taken;
  };
  expectTracking(await standingStill(), 'initial');
  // New data, zeros over data, and trimmed: all are changes.
  await guest.sh('dd if=/dev/urandom of=/data/new bs=64k count=12 conv=fsync 2>&1');
  await guest.sh('dd if=/dev/zero of=/data2/bin/blob0.dat bs=64k count=3 conv=notrunc,fsync 2>&1');
  await guest.sh('rm /data/bin/blob1.dat; sync; fstrim /data || true');
  const second = await standingStill();
  expectTracking(second, 'bitmap');
  const held = second.get('vd1')!.dirty!.reduce((sum, { length }) => sum + length, 0);
  assert.ok(held >= 3 * 65_536 && held < 4 * MIB, `vd1: ${held} bytes`);
  for (const { dirty } of (await standingStill()).values()) {
    assert.ok(dirty!.reduce((sum, { length }) => sum + length, 0) < 2 * MIB);
  }
  await expectBitmaps(subject, 1);
});

test('with I/O threads: under a guest that writes all the time every point is of one instant, over both disks', async (t) => {
  const subject = await threadedSubject(t);
  const history = historyOf(subject);
  await startPairs(subject.guest);
  expectTracking(await history.take(), 'initial');
  let newest = 0;
  for (let round = 1; round <= INCREMENTS; round += 1) {
    const taken = await history.take();
    expectTracking(taken, 'bitmap');
    const disks = { first: taken.get('vd0')!.content, second: taken.get('vd1')!.content };
    const now = await assertOneInstant(disks, join(subject.guest.runDir, 'look.raw'));
    assert.ok(now > newest, `round ${round}: ${now} records, ${newest} before`);
    newest = now;
  }
});

test('with I/O threads: a VM that its owner paused is still paused after the snapshot', async (t) => {
  const subject = await threadedSubject(t);
  const history = historyOf(subject);
  await history.take();
  await subject.change();
  await subject.guest.qmp('stop');
  expectTracking(await history.take(), 'bitmap');
  assert.equal((await subject.hypervisor.find(subject.vm)).state, 'paused');
});

test('with I/O threads: a scratch folder that is too small is refused, one that gets full loses the snapshot only', async (t) => {
  const subject = await threadedSubject(t);
  await inTinyFileSystem('24m', async (root) => {
    const history = historyOf(subject, root);
    await assert.rejects(history.prepare(), { code: 'StoreFull', message: /must copy disks/ });
  });
  await inTinyFileSystem('120m', async (root) => {
    const history = historyOf(subject, root);
    await history.take();
    await subject.change();
    await subject.guest.sh('dd if=/dev/urandom of=/data/new bs=1M count=30 conv=fsync 2>&1');
    const prepared = await history.prepare();
    const filler = join(root, 'filler');
    await promisify(execFile)('sh', ['-c', 'dd if=/dev/zero of="$0" bs=1M || true', filler]);
    const snapshot = await prepared.snapshot();
    await assert.rejects(snapshot.lost, { code: 'StoreFull', message: /the VM runs on/ });
    await assert.rejects(snapshot.disks(), { code: 'StoreFull' });
    // The guest writes over what could not be copied.
    await subject.change();
    assert.equal((await subject.hypervisor.find(subject.vm)).state, 'running');
    await snapshot.release('failed');
    await prepared.close();
    await rm(filler);
    await subject.guest.sh('sync');
    await subject.guest.qmp('stop');
    const taken = await history.take();
    expectTracking(taken, 'bitmap');
    await assertAsInImages(subject, taken);
    await subject.guest.qmp('cont');
    await expectBitmaps({ ...subject, scratchDir: subject.scratchDir }, 1);
  });
});

test('with I/O threads: cancelled or without QEMU while it copies, the snapshot ends and nothing of it is left', async (t) => {
  const subject = await threadedSubject(t);
  const history = historyOf(subject);
  await history.take();
  await subject.change();
  const stop = new AbortController();
  const prepared = await history.prepare(newPoint(), { signal: stop.signal });
  const snapshot = await prepared.snapshot();
  stop.abort();
  await assert.rejects(snapshot.disks(), { code: 'Cancelled' });
  await snapshot.release('failed');
  await expectBitmaps(subject, 1);
  expectTracking(await history.take(), 'bitmap');

  const last = await (await history.prepare()).snapshot();
  await subject.guest.kill();
  await assert.rejects(
    (async () => {
      await last.disks();
      // It may all have been copied: then it can be read, and only its end finds no QEMU.
      await subject.hypervisor.list();
    })(),
    { code: 'HypervisorUnavailable' },
  );
  await last.release('failed');
});

test('with I/O threads: progress is told in bytes', async (t) => {
  const subject = await threadedSubject(t);
  const told: Progress[] = [];
  const prepared = await historyOf(subject).prepare();
  const snapshot = await prepared.snapshot();
  await snapshot.disks({ onProgress: (progress) => told.push(progress) });
  await snapshot.release('failed');
  assert.equal(told.at(-1)?.phase, 'copying vd0, vd1');
  assert.equal(told.at(-1)?.doneBytes, told.at(-1)?.totalBytes);
  assert.ok((told.at(-1)?.totalBytes ?? 0) > 0);
});
