/**
 * One VM, backed up through QEMU while it runs and as a folder of images while it is off: its bitmap counts
 * on from one to the other, whatever happened between.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { realClock } from '#base';
import { totalBytes } from '#disk';
import type { Hypervisor } from '#hypervisor';
import { connectImages } from '../../src/hypervisor/images/connect-images.ts';
import { BackupHistory, newPoint } from './backup-history.ts';
import { expectTracking } from './hypervisor.contract.ts';
import { connectTo } from './qemu-subject.ts';
import { guestFolder, startGuest, tinyGuestFolder, type TinyGuest } from './tiny-guest.ts';

const run = promisify(execFile);

type World = {
  readonly runDir: string;
  readonly image: string;
  readonly scratchDir: string;
  /** Starts the VM, again. */
  readonly start: () => Promise<{ readonly guest: TinyGuest; readonly qemu: Hypervisor }>;
  /** Connects to the folder; `vm` is what QEMU calls the VM. */
  readonly off: (vm: string) => Promise<Hypervisor>;
};

/** A guest's disk with a backing file and an internal snapshot, in a folder of images. */
async function makeWorld(t: TestContext): Promise<World> {
  const runDir = await guestFolder(t);
  const [folder, scratchDir] = [join(runDir, 'images'), join(runDir, 'scratch')];
  await mkdir(join(folder, 'vm'), { recursive: true });
  await mkdir(scratchDir);
  await copyFile(join(await tinyGuestFolder(), 'disk.qcow2'), join(folder, 'base.qcow2'));
  const image = join(folder, 'vm', 'disk.qcow2');
  const backing = ['-b', '../base.qcow2', '-F', 'qcow2'];
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...backing, image]);
  await run('qemu-img', ['snapshot', '-c', 'before', image]);
  return {
    runDir,
    image,
    scratchDir,
    start: async () => {
      const guest = await startGuest(t, { disks: [image], runDir });
      return { guest, qemu: await connectTo(t, guest) };
    },
    off: async (name) => {
      const disks = [{ name: 'vd0', file: 'disk.qcow2' }];
      const description = { name, disks, allowedFiles: ['../base.qcow2'] };
      await writeFile(join(folder, 'vm', 'vm.json'), JSON.stringify(description));
      return await connectImages({ folder, clock: realClock() });
    },
  };
}

async function nameOf(qemu: Hypervisor): Promise<string> {
  const [vm] = await qemu.list();
  return vm!.name;
}

async function change(guest: TinyGuest): Promise<void> {
  await guest.sh('dd if=/dev/urandom of=/data/new bs=64k count=12 conv=fsync 2>&1');
}

async function bitmapsIn(image: string): Promise<string[]> {
  const { stdout } = await run('qemu-img', ['info', '--output=json', '-f', 'qcow2', image]);
  const info = JSON.parse(stdout) as {
    'format-specific': { data: { bitmaps?: { name: string; flags: string[] }[] } };
  };
  return (info['format-specific'].data.bitmaps ?? []).map(({ flags }) => flags.join(' '));
}

test('a bitmap counts on from a running VM to one that is off, and back', async (t) => {
  const { image, scratchDir, start, off } = await makeWorld(t);
  const first = await start();
  const vm = await nameOf(first.qemu);
  const running = new BackupHistory({ hypervisor: first.qemu, vm, scratchDir });
  expectTracking(await running.take(), 'initial');
  await change(first.guest);
  await first.qemu.close();
  await first.guest.stop('acpi');

  const images = await off(vm);
  const stopped = running.through(images);
  const increment = await stopped.take();
  expectTracking(increment, 'bitmap');
  const { dirty = [], sizeBytes } = increment.get('vd0')!;
  assert.ok(totalBytes(dirty) > 0 && totalBytes(dirty) < sizeBytes / 2);
  assert.deepEqual(await bitmapsIn(image), ['auto']);

  const second = await start();
  assert.equal((await images.find(vm)).state, 'running');
  await assert.rejects(
    images.prepare(requestOf(vm, scratchDir)),
    /back it up through its hypervisor/,
  );
  await change(second.guest);
  const again = stopped.through(second.qemu);
  expectTracking(await again.take(), 'bitmap');
  await second.qemu.close();

  // As when the host crashes: QEMU could not save its bitmaps.
  await second.guest.kill();
  const crashed = await again.through(images).take();
  expectTracking(crashed, 'compare');
  assert.match(JSON.stringify(crashed.get('vd0')!.tracking), /killed/);
});

test('a VM that ends amid its backup is backed up off without losing a change', async (t) => {
  const { image, scratchDir, start, off } = await makeWorld(t);
  const { guest, qemu } = await start();
  const vm = await nameOf(qemu);
  const history = new BackupHistory({ hypervisor: qemu, vm, scratchDir });
  expectTracking(await history.take(), 'initial');
  await change(guest);
  const snapshot = await (await history.prepare()).snapshot();
  snapshot.lost.catch(() => {}); // It is lost below, on purpose.
  await change(guest);
  await guest.stop('quit');
  assert.equal((await bitmapsIn(image)).length, 2);
  await qemu.close();

  const stopped = history.through(await off(vm));
  expectTracking(await stopped.take(), 'bitmap');
  assert.match(stopped.warnings.join(), /merged back/);
  assert.deepEqual(await bitmapsIn(image), ['auto']);
});

function requestOf(vm: string, scratchDir: string): Parameters<Hypervisor['prepare']>[0] {
  const tracking = {
    repositoryId: 'a'.repeat(32),
    point: newPoint(),
    bases: new Map(),
    otherBases: new Set<string>(),
    blockSize: 65_536,
  };
  return { vm, tracking, scratchDir, warn: () => {} };
}
