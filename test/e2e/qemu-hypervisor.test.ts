/** Backups of a real guest that writes all the time, by QMP: the instant, the changes, restarts and crashes. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import type { Hypervisor } from '#hypervisor';
import { BackupHistory, readDisk, type TakenDisk } from './backup-history.ts';
import { expectBitmaps, expectTracking } from './hypervisor.contract.ts';
import {
  connectTo,
  qemuSubject,
  THREADS,
  tracesIn,
  twoImages,
  type QemuSubject,
} from './qemu-subject.ts';
import { guestFolder, startGuest } from './tiny-guest.ts';

/**
 * Counts on both disks, first on `vd0` and then on `vd1`, each write durable before the next; and writes at
 * places all over them. So at every instant: vd1 <= vd0 <= vd1 + 1.
 */
const WRITER = `
n=0; while :; do n=$((n+1))
for d in vda vdb; do
  echo $n | dd of=/dev/$d bs=512 conv=notrunc,sync,fsync 2>/dev/null
done
dd if=/dev/urandom of=/dev/vda bs=4k count=3 seek=$((1 + n * 7919 % 16000)) conv=notrunc,fsync 2>/dev/null
dd if=/dev/urandom of=/dev/vdb bs=4k count=3 seek=$((1 + n * 6151 % 16000)) conv=notrunc,fsync 2>/dev/null
done`;

/** Two disks without file systems, for WRITER. */
async function bareImages(folder: string): Promise<readonly string[]> {
  const images = [join(folder, 'a.qcow2'), join(folder, 'b.raw')];
  await promisify(execFile)('qemu-img', ['create', '-q', '-f', 'qcow2', images[0]!, '64M']);
  await promisify(execFile)('qemu-img', ['create', '-q', '-f', 'raw', images[1]!, '64M']);
  return images;
}

async function writingSubject(
  t: TestContext,
  how?: 'filter' | 'job' | 'I/O threads',
): Promise<QemuSubject> {
  const runDir = await guestFolder(t);
  const disks = await bareImages(runDir);
  const args = how === 'I/O threads' ? THREADS : [];
  const mechanism = how === undefined || how === 'I/O threads' ? {} : { mechanism: how };
  const subject = await qemuSubject(t, { ...mechanism, guest: { runDir, disks, args } });
  await subject.guest.sh(`(${WRITER}) >/dev/null 2>&1 </dev/null &`);
  return subject;
}

function historyOf(
  subject: QemuSubject,
  hypervisor: Hypervisor = subject.hypervisor,
): BackupHistory {
  const { vm, scratchDir } = subject;
  return new BackupHistory({ hypervisor, vm, scratchDir });
}

/** The counter at the start of a disk. */
function counted(taken: ReadonlyMap<string, TakenDisk>, disk: string): number {
  const text = taken.get(disk)!.content.toString('latin1', 0, 16);
  return Number.parseInt(text.startsWith('\0') ? '0' : text, 10);
}

for (const how of ['filter', 'job', 'I/O threads'] as const) {
  test(`by ${how}: under a guest that writes, every snapshot is one instant and no change is missed`, async (t) => {
    const subject = await writingSubject(t, how);
    const history = historyOf(subject);
    let last = -1;
    for (const [round, outcome] of (
      ['committed', 'failed', 'committed', 'committed'] as const
    ).entries()) {
      let shown = new Map<string, Buffer>();
      const taken = await history.take({
        outcome,
        during: async (snapshot) => {
          const disks = (await snapshot.disks()).filter((disk) => disk.holdsDirtyOnly !== true);
          const again = await Promise.all(disks.map(readDisk));
          shown = new Map(disks.map(({ name }, at) => [name, again[at]!]));
        },
      });
      for (const [name, again] of shown) {
        const { content } = taken.get(name)!;
        assert.ok(content.equals(again), `${name} shows the same when read again`);
      }
      expectTracking(taken, round === 0 ? 'initial' : 'bitmap');
      const [a, b] = [counted(taken, 'vd0'), counted(taken, 'vd1')];
      assert.ok(b <= a && a <= b + 1, `one instant of both disks: ${a} and ${b}`);
      assert.ok(a > last, `the guest went on: ${a} after ${last}`);
      last = a;
      await expectBitmaps(subject, 1);
    }
    assert.equal((await subject.hypervisor.find(subject.vm)).state, 'running');
  });
}

test('a paused VM is backed up and stays paused', async (t) => {
  const subject = await writingSubject(t);
  const history = historyOf(subject);
  await history.take();
  await subject.guest.qmp('stop');
  const taken = await history.take();
  expectTracking(taken, 'bitmap');
  assert.equal((await subject.hypervisor.find(subject.vm)).state, 'paused');
  assert.equal(await subject.hypervisor.agent(subject.vm), undefined);
  for (const { dirty } of (await history.take()).values()) assert.deepEqual(dirty, []);
  await subject.guest.qmp('cont');
  await expectBitmaps(subject, 1);
});

test('bitmaps of qcow2 survive a shutdown, those of raw end with QEMU; after a crash neither is trusted', async (t) => {
  const subject = await qemuSubject(t);
  const guest = { runDir: subject.guest.runDir, disks: subject.images };
  const history = historyOf(subject);
  await history.take();
  await subject.change();
  await subject.hypervisor.close();
  await subject.guest.stop();

  const second = await startGuest(t, guest);
  const afterShutdown = history.through(await connectTo(t, second));
  const taken = await afterShutdown.take();
  assert.equal(taken.get('vd0')?.tracking.kind, 'bitmap');
  assertCompares(taken, { disk: 'vd1', reason: /lives only as long as QEMU/ });
  await second.stop();

  const third = await startGuest(t, guest);
  await third.kill();
  const fourth = await startGuest(t, guest);
  const afterCrash = afterShutdown.through(await connectTo(t, fourth));
  const crashed = await afterCrash.take();
  assertCompares(crashed, { disk: 'vd0', reason: /killed while the bitmap was in use/ });
  assertCompares(crashed, { disk: 'vd1', reason: /lives only as long as QEMU/ });
  expectTracking(await afterCrash.take(), 'bitmap');

  await fourth.kill();
  const fifth = await startGuest(t, guest);
  const again = await afterCrash.through(await connectTo(t, fifth)).take();
  assertCompares(again, { disk: 'vd0', reason: /killed before it was saved/ });
  await expectBitmaps({ ...subject, traces: async () => await tracesIn(fifth) }, 1);
});

function assertCompares(
  taken: ReadonlyMap<string, TakenDisk>,
  expected: { readonly disk: string; readonly reason: RegExp },
): void {
  const tracking = taken.get(expected.disk)!.tracking;
  assert.ok(tracking.kind === 'compare', JSON.stringify(tracking));
  assert.match(tracking.reason, expected.reason);
}

test('QEMU gone while its snapshot is read: lost says so, and releasing is no error', async (t) => {
  const subject = await qemuSubject(t);
  const prepared = await historyOf(subject).prepare();
  const snapshot = await prepared.snapshot();
  await subject.guest.kill();
  await assert.rejects(snapshot.lost, /closed the connection|ECONNRESET|EPIPE/);
  await snapshot.release('failed');
  await snapshot.release('failed');
  await prepared.close();
  await assert.rejects(subject.hypervisor.list(), { code: 'HypervisorUnavailable' });
});

test('the agent is reached through its socket, frozen and thawed around the instant', async (t) => {
  const subject = await qemuSubject(t);
  const agent = await subject.hypervisor.agent(subject.vm);
  assert.ok(agent !== undefined);
  t.after(async () => await agent.close());
  const prepared = await historyOf(subject).prepare();
  assert.equal(await agent.execute('guest-fsfreeze-freeze', { timeoutMs: 60_000 }), 2);
  const snapshot = await prepared.snapshot();
  assert.equal(await agent.execute('guest-fsfreeze-thaw', { timeoutMs: 60_000 }), 2);
  await snapshot.release('failed');
  await agent.close();
  await subject.change();
});

test('the images of a guest keep their names, sizes, formats and serials', async (t) => {
  const runDir = await guestFolder(t);
  const images = await twoImages(runDir);
  const subject = await qemuSubject(t, {
    guest: {
      runDir,
      disks: images,
      args: [
        '-uuid',
        '9c1b6a50-5f4e-4b43-9a53-7c7d3a3f6b11',
        '-netdev',
        'user,id=net0',
        '-device',
        'virtio-net-pci,netdev=net0,mac=52:54:00:11:22:33,romfile=',
      ],
    },
  });
  const vm = await subject.hypervisor.find(subject.vm);
  assert.deepEqual(vm, {
    name: runDir.split('/').at(-1),
    uuid: '9c1b6a50-5f4e-4b43-9a53-7c7d3a3f6b11',
    state: 'running',
    disks: [
      {
        name: 'vd0',
        sizeBytes: 256 << 20,
        format: 'qcow2',
        location: images[0],
        serial: 'tg-disk0',
      },
      { name: 'vd1', sizeBytes: 256 << 20, format: 'raw', location: images[1], serial: 'tg-disk1' },
    ],
    firmware: 'bios',
    cores: 1,
    memoryBytes: 256 << 20,
    networkCards: [{ mac: '52:54:00:11:22:33', model: 'virtio-net-pci' }],
    hasAgentChannel: true,
  });
});
