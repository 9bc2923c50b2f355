/**
 * VMs of libvirt whose disks have I/O threads, on a QEMU that must not show such disks over NBD: libvirt pushes
 * them. Whether each point is of one instant, and what goes wrong meanwhile.
 */
import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { BackupHistory } from './backup-history.ts';
import { assertOneInstant, startPairs } from './both-disks.ts';
import { expectTracking } from './hypervisor.contract.ts';
import {
  emptyDisk,
  libvirtFolder,
  startLibvirtGuest,
  systemDisk,
  tool,
  virsh,
  type LibvirtGuest,
} from './libvirt-guest.ts';
import {
  checkpoints,
  isRefused,
  killedBackup,
  nameOf,
  Points,
  REPOSITORY,
  takeFull,
} from './libvirt-points.ts';

const INCREMENTS = 20;

/** Two disks with file systems, the same at first. */
async function twoFileSystems(t: TestContext): Promise<LibvirtGuest> {
  const folder = await libvirtFolder(t);
  const first = { ...(await systemDisk(folder)), hasThread: true };
  const second = { ...first, path: join(folder, 'second.qcow2') };
  await copyFile(first.path, second.path);
  return await startLibvirtGuest(t, { folder, disks: [first, second] });
}

/** Beside the system's disk one with so much noise that copying it takes a while. */
async function slowGuest(t: TestContext, sizeMiB: number): Promise<LibvirtGuest> {
  const folder = await libvirtFolder(t);
  const first = { ...(await systemDisk(folder)), hasThread: true };
  const second = await emptyDisk(folder, { name: 'b', format: 'qcow2', size: `${sizeMiB}M` });
  const raw = join(folder, 'noise.raw');
  await tool('dd', 'if=/dev/urandom', `of=${raw}`, 'bs=1M', `count=${sizeMiB}`, 'status=none');
  await tool('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'qcow2', raw, second.path);
  await rm(raw);
  return await startLibvirtGuest(t, { folder, disks: [first, second] });
}

/** All of the second disk has been written: the next increment copies it. */
async function changeAll(guest: LibvirtGuest): Promise<void> {
  await guest.sh('dd if=/dev/zero bs=1M count=400 | tr "\\0" y | dd of=/dev/vdb bs=1M conv=fsync');
}

async function take(guest: LibvirtGuest, points: Points, scratch: string): Promise<string[]> {
  const prepared = await points.prepare(guest, scratch);
  const snapshot = await prepared.snapshot();
  await snapshot.disks();
  points.commit(prepared);
  await snapshot.release('committed');
  assert.deepEqual(await checkpoints(guest), [nameOf(prepared.point)]);
  assert.deepEqual(await readdir(scratch), []);
  return prepared.disks.map(({ tracking }) => tracking.kind);
}

await test('under a guest that writes all the time every point is of one instant, over both disks', async (t) => {
  const guest = await twoFileSystems(t);
  const scratchDir = join(guest.folder, 's');
  const history = new BackupHistory({ hypervisor: guest.hypervisor, vm: guest.name, scratchDir });
  await startPairs(guest);
  expectTracking(await history.take(), 'initial');
  let newest = 0;
  for (let round = 1; round <= INCREMENTS; round += 1) {
    const taken = await history.take();
    expectTracking(taken, 'bitmap');
    const disks = { first: taken.get('vda')!.content, second: taken.get('vdb')!.content };
    const now = await assertOneInstant(disks, join(guest.folder, 'look.raw'));
    assert.ok(now > newest, `round ${round}: ${now} records, ${newest} before`);
    newest = now;
  }
});

await test('an audited disk is copied whole, with what its bitmap counted beside it; the other holds its increment', async (t) => {
  const folder = await libvirtFolder(t);
  const first = { ...(await systemDisk(folder)), hasThread: true };
  const second = await emptyDisk(folder, { name: 'b', format: 'qcow2', size: '32M' });
  const guest = await startLibvirtGuest(t, { folder, disks: [first, second] });
  const points = new Points();
  await guest.sh('dd if=/dev/urandom of=/dev/vdb bs=64k count=20 seek=9 conv=fsync');
  await takeFull(points, guest);
  await guest.sh('dd if=/dev/urandom of=/dev/vdb bs=64k count=1 seek=5 conv=fsync');
  const scratchDir = join(folder, 's');
  const point = '200000000000000';
  const prepared = await guest.hypervisor.prepare({
    vm: guest.name,
    tracking: {
      repositoryId: REPOSITORY,
      point,
      bases: points.bases,
      otherBases: new Set(),
      audits: new Map([['vdb', 'it is time']]),
      blockSize: 16_384,
    },
    scratchDir,
    warn: () => {},
  });
  assert.deepEqual(
    prepared.disks.map(({ audit }) => audit),
    [undefined, 'it is time'],
  );
  const snapshot = await prepared.snapshot();
  const [vda, vdb] = await snapshot.disks();
  assert.equal(vda!.holdsDirtyOnly, true);
  assert.equal(vdb!.holdsDirtyOnly, undefined);
  assert.deepEqual(vdb!.dirty, [{ offset: 5 * 65_536, length: 65_536 }]);
  const compared = await tool('qemu-img', 'compare', '-U', vdb!.location, second.path);
  assert.match(compared, /identical/);
  await snapshot.release('committed');
  assert.deepEqual(await checkpoints(guest), [nameOf(point)]);
  assert.deepEqual(await readdir(scratchDir), []);
});

await test('Holdfast killed while libvirt copies: its job is ended, its checkpoint goes, and the increment counts on', async (t) => {
  const guest = await slowGuest(t, 1200);
  const points = new Points();
  const base = await takeFull(points, guest);
  const scratch = join(guest.folder, 's');
  // The first backup of another item copies all.
  await killedBackup(points.otherItem(), guest, scratch);
  assert.match(await virsh('backup-dumpxml', guest.name), /mode='push'/);
  assert.equal((await checkpoints(guest)).length, 2);
  const prepared = await points.prepare(guest, scratch);
  // On a busy machine its copy may just have ended by itself.
  assert.match(points.warnings.join('\n'), /ended the backup job|removed checkpoint/);
  assert.deepEqual(await checkpoints(guest), [nameOf(base)]);
  for (const { tracking } of prepared.disks) assert.deepEqual(tracking, { kind: 'bitmap', base });
  await prepared.close();
  await guest.sh('echo new >/data/new; sync');
  assert.deepEqual(await take(guest, points, scratch), ['bitmap', 'bitmap']);
});

await test('cancelled, or QEMU killed, while libvirt copies: nothing of it is left', async (t) => {
  const guest = await slowGuest(t, 1200);
  const points = new Points();
  const base = await takeFull(points, guest);
  const scratch = join(guest.folder, 's');
  await changeAll(guest);
  const stopped = await (await points.prepare(guest, scratch)).snapshot();
  const stop = new AbortController();
  const waiting = stopped.disks({ signal: stop.signal });
  stop.abort();
  await isRefused(waiting, 'Cancelled', /cancelled/);
  await stopped.release('failed');
  assert.deepEqual(await checkpoints(guest), [nameOf(base)]);
  assert.deepEqual(await readdir(scratch), []);
  assert.equal((await virsh('domjobinfo', guest.name)).includes('None'), true);

  // The first backup of another item copies all: it is still at it when QEMU is killed.
  const lost = await (await points.otherItem().prepare(guest, scratch)).snapshot();
  await guest.kill();
  await isRefused(lost.lost, 'HypervisorFailed', /shut down or killed/);
  await isRefused(lost.disks(), 'HypervisorFailed', /were not copied to their end/);
  await lost.release('failed');
  assert.deepEqual(await readdir(scratch), []);
});

await test('a scratch folder that gets full ends the copying and never the guest', async (t) => {
  const guest = await slowGuest(t, 400);
  const scratch = await mkdtemp('/tmp/holdfast-lv-');
  await tool('mount', '-t', 'tmpfs', '-o', 'size=700M', 'none', scratch);
  t.after(async () => {
    await tool('umount', '-l', scratch);
    await rm(scratch, { recursive: true });
  });
  const points = new Points();
  const base = await takeFull(points, guest);
  await changeAll(guest);
  const prepared = await points.prepare(guest, scratch);
  await tool('fallocate', '-l', '580M', join(scratch, 'filler'));
  const snapshot = await prepared.snapshot();
  await isRefused(snapshot.lost, 'StoreFull', /the VM runs on/);
  await snapshot.release('failed');
  assert.equal((await virsh('domstate', guest.name)).trim(), 'running');
  assert.equal((await guest.sh('echo alive')).trim(), 'alive');
  assert.deepEqual(await checkpoints(guest), [nameOf(base)]);
  await isRefused(points.prepare(guest, scratch), 'StoreFull', /needs \d+ MiB/);
  await rm(join(scratch, 'filler'));
  assert.deepEqual(await take(guest, points, scratch), ['bitmap', 'bitmap']);
});
