/** A VM of QEMU is brought back through `holdfast vm`, as a user does it: real guests from first to last. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { copyFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { bootVm, connectHypervisor, findPoint, withRepository } from '#backup';
import { realClock } from '#base';
import { ended, fail, json, start, succeed, withoutPasswords, type Run } from '../cli/holdfast.ts';
import {
  assertCleanFileSystem,
  moreRecords,
  recordsIn,
  startWriting,
  writtenSoFar,
} from './records.ts';
import { RestoredGuest } from './restored-guest.ts';
import { guestFolder, startGuest, tinyGuestFolder } from './tiny-guest.ts';

withoutPasswords();

const UUID = '9c1b6a50-5f4e-4b43-9a53-7c7d3a3f6b11';
const MAC = '52:54:00:11:22:33';
const DATA_MIB = 192;

type Source = {
  readonly folder: string;
  readonly repository: string;
  /** How many records there were before the backup. */
  readonly records: number;
};

type Shown = {
  readonly name: string;
  readonly uuid?: string;
  readonly state: string;
  readonly disks: readonly { readonly name: string; readonly location: string }[];
  readonly networkCards: readonly { readonly mac: string }[];
};

type Restored = {
  readonly safetyPoint?: string;
  readonly oldImages?: readonly string[];
  readonly disks: readonly {
    readonly name: string;
    readonly path: string;
    readonly written: number;
  }[];
};

/** A point of a guest that writes records, with a second disk; the guest runs on where that is asked for. */
async function backedUp(t: TestContext, { runsOn }: { readonly runsOn: boolean }): Promise<Source> {
  const folder = await guestFolder(t);
  const repository = join(folder, 'repository');
  const disks = [join(folder, 'disk.qcow2'), join(folder, 'data.raw')];
  await copyFile(join(await tinyGuestFolder(), 'disk.qcow2'), disks[0]!);
  const data = ['if=/dev/urandom', `of=${disks[1]}`, 'bs=1M', `count=${DATA_MIB}`, 'status=none'];
  await promisify(execFile)('dd', data);
  await succeed(['repo', 'init', repository, '--no-encryption']);
  const card = ['virtio-net-pci', 'netdev=n0', `mac=${MAC}`, 'romfile='].join(',');
  const net = ['-netdev', 'user,id=n0,hostfwd=tcp:127.0.0.1:0-:22', '-device', card];
  const guest = await startGuest(t, { disks, args: ['-uuid', UUID, ...net] });
  await startWriting(guest);
  const records = await moreRecords(guest, 10);
  const { vms } = await json<{ readonly vms: readonly Shown[] }>([
    'vm',
    'list',
    '--connect',
    `qmp:${guest.qmpPath}`,
  ]);
  const connection = `qmp:${guest.qmpPath},agent=${guest.agentPath}`;
  const to = ['--repo', repository, '--item', 'web', '--no-encryption', '--connect', connection];
  await succeed(['vm', 'backup', vms[0]!.name, ...to, '--json']);
  if (!runsOn) await guest.kill();
  return { folder, repository, records };
}

function from({ repository }: Source, ...more: readonly string[]): readonly string[] {
  return ['web', '--repo', repository, '--no-encryption', ...more];
}

async function rawCopy(image: string): Promise<string> {
  const raw = `${image}.check`;
  await promisify(execFile)('qemu-img', ['convert', '-O', 'raw', image, raw]);
  // The guest was switched off as it ran: its journal is replayed as at its next start.
  await promisify(execFile)('/usr/sbin/e2fsck', ['-fp', raw]).catch((error: { code: number }) => {
    assert.ok(error.code <= 1, 'only the journal is replayed');
  });
  return raw;
}

function imagesIn(folder: string, names: readonly string[]): string[] {
  return names.filter((name) => /\.(qcow2|raw)$/.test(name)).map((name) => join(folder, name));
}

test('a VM is restored beside the one that it is a copy of', async (t) => {
  const source = await backedUp(t, { runsOn: true });
  const restored = await RestoredGuest.in(t, source.folder, 'r');
  const { directory, connection } = restored;
  const show = async (): Promise<Shown> => await json<Shown>(['vm', 'show', 'web2', ...connection]);

  await t.test('started, it answers its agent with every record, as another VM', async () => {
    const as = ['--as', 'web2', '--start', '--dir', directory, ...connection];
    const { stdout, stderr } = await succeed(['vm', 'restore', ...from(source, ...as), '--json']);
    assert.deepEqual((JSON.parse(stdout) as { vm: unknown }).vm, { name: 'web2', isStarted: true });
    assert.match(stderr, /hostfwd=.* left out/);
    await restored.answers();
    const count = Number(await restored.sh('wc -l < /data/records'));
    assert.ok(count >= source.records, `${count} of ${source.records}`);
    const vm = await show();
    assert.equal(vm.state, 'running');
    assert.notEqual(vm.uuid, UUID);
    assert.match(vm.uuid ?? '', /^[0-9a-f]{8}-/);
    assert.notEqual(vm.networkCards[0]?.mac, MAC);
    assert.deepEqual(
      vm.disks.map(({ name }) => name),
      ['vd0', 'vd1'],
    );
    assert.ok(vm.disks.every(({ location }) => location.startsWith(directory)));
  });

  await t.test('while it runs its disks are not replaced, and its name is taken', async () => {
    const replace = ['--replace', '--dir', join(directory, 'again'), ...connection];
    const itself = ['web2', '--repo', source.repository, '--no-encryption'];
    await backUp(source, connection);
    await fail(['vm', 'restore', ...itself, ...replace], { code: 2, says: /needs --point/ });
    const [point] = await pointsOf(source, 'web2');
    const named = ['vm', 'restore', ...itself, ...replace, '--point', point!];
    await fail(named, { code: 1, says: /VmNotShutDown/ });
    const as = ['--as', 'web2', '--dir', directory, ...connection];
    await fail(['vm', 'restore', ...from(source, ...as)], { code: 1, says: /VmExists/ });
  });

  await t.test('off, it is put back to a point, in new images and in its own', async () => {
    await restored.sh('echo later > /data/later; sync');
    await restored.shutDown();
    assert.equal((await show()).state, 'off');
    const itself = ['web2', '--repo', source.repository, '--no-encryption', ...connection];
    const point = (await pointsOf(source, 'web2'))[0]!;
    const replaced = await json<Restored>([
      'vm',
      'restore',
      ...itself,
      '--point',
      point,
      '--replace',
      '--dir',
      join(directory, 'n'),
    ]);
    assert.equal(replaced.oldImages?.length, 2);
    assert.ok(replaced.oldImages.every((path) => existsSync(path)));
    const used = (await show()).disks.map(({ location }) => location);
    assert.deepEqual(
      used,
      replaced.disks.map(({ path }) => path),
    );
    await promisify(execFile)(join(directory, 'web2.start.sh'));
    await restored.answers();
    assert.equal(await restored.sh('ls /data/later 2>/dev/null | wc -l'), '0\n');
    await restored.sh('echo more > /data/more; sync');
    await restored.shutDown();
    const again = await json<Restored>([
      'vm',
      'restore',
      ...itself,
      '--point',
      point,
      '--replace',
      '--in-place',
    ]);
    assert.deepEqual(
      again.disks.map(({ path }) => path),
      used,
    );
    assert.ok(again.disks[0]!.written < 64 << 20, 'only where they differ');
    const raw = await rawCopy(used[0]!);
    await assertCleanFileSystem(raw);
    assert.ok((await recordsIn(raw)) >= source.records);
    const safe = await json<{ readonly disks: readonly unknown[] }>([
      'repo',
      'show',
      source.repository,
      again.safetyPoint!,
      '--no-encryption',
    ]);
    assert.equal(safe.disks.length, 2);
  });

  await t.test('only its disks, or some of them, are restored', async () => {
    const folder = join(source.folder, 'images');
    const { disks } = await json<Restored>(['vm', 'restore', ...from(source, '--dir', folder)]);
    assert.deepEqual(
      disks.map(({ name }) => name),
      ['vd0', 'vd1'],
    );
    const one = join(source.folder, 'one');
    const system = ['--disk', 'vd0', '--dir', one];
    await succeed(['vm', 'restore', ...from(source, ...system)]);
    assert.equal((await readdir(one)).length, 1);
    const raw = await rawCopy(disks[0]!.path);
    assert.ok((await recordsIn(raw)) >= source.records);
  });
});

async function backUp(source: Source, connection: readonly string[]): Promise<void> {
  await succeed([
    'vm',
    'backup',
    'web2',
    '--repo',
    source.repository,
    '--no-encryption',
    ...connection,
  ]);
}

async function pointsOf({ repository }: Source, item: string): Promise<readonly string[]> {
  const { points } = await json<{ readonly points: readonly { readonly id: string }[] }>([
    'repo',
    'points',
    repository,
    '--item',
    item,
    '--no-encryption',
  ]);
  return points.map(({ id }) => id);
}

/** Started, and told to stop as soon as it has said `until`. */
async function interrupted(args: readonly string[], until: RegExp): Promise<Run> {
  const child = start(args);
  let said = '';
  const listen = (text: Buffer): void => {
    said += text.toString();
    if (!until.test(said)) return;
    child.stderr.off('data', listen);
    child.kill('SIGINT');
  };
  child.stderr.on('data', listen);
  child.stdin.end();
  return await ended(child);
}

test('a VM boots from a point and is moved to its own disks while it writes', async (t) => {
  const source = await backedUp(t, { runsOn: false });

  await t.test('moved, it runs on without Holdfast, and lacks no record', async (tt) => {
    const booted = await RestoredGuest.in(tt, source.folder, 'b');
    const { directory, connection } = booted;
    const child = start([
      'vm',
      'boot',
      ...from(source),
      '--as',
      'b',
      '--dir',
      directory,
      ...connection,
      '--json',
    ]);
    child.stdin.end();
    const over = ended(child);
    await startWritingOn(booted);
    const { code, stdout, stderr } = await over;
    assert.equal(code, 0, stderr);
    assert.ok((JSON.parse(stdout) as { seconds: number }).seconds > 0);
    assert.ok(!(await booted.drivers()).includes('nbd'), 'nothing is read from the point any more');
    const seen = await moreRecords(booted, 10);
    await booted.shutDown();
    const [system] = imagesIn(directory, await readdir(directory)).filter((path) =>
      path.includes('osdisk'),
    );
    const info = await promisify(execFile)('qemu-img', ['info', '--output=json', system!]);
    assert.equal(
      (JSON.parse(info.stdout) as Record<string, unknown>)['backing-filename'],
      undefined,
    );
    const raw = await rawCopy(system!);
    assert.ok((await recordsIn(raw)) >= seen);
  });

  await t.test('moved while it writes, it lacks no record, though its power is cut', async (tt) => {
    const booted = await RestoredGuest.in(tt, source.folder, 'm');
    const clock = realClock();
    const options = { clock, random: randomBytes };
    const hypervisor = await connectHypervisor(booted.connection[1]!, options);
    const caller = {
      ...options,
      version: 'test',
      warn: () => {},
      process: { host: 'test', pid: process.pid, command: 'test' },
    };
    const request = {
      location: source.repository,
      access: 'read' as const,
      waitMs: 10_000,
      caller,
    };
    const { path, seen } = await withRepository(request, async (repository) => {
      const vm = await bootVm({
        repository,
        point: await findPoint(repository, 'latest', 'web'),
        directory: booted.directory,
        newVm: { name: 'm', identity: 'new', networks: 'none', hypervisor },
        clock,
        warn: (message) => assert.fail(message),
      });
      await startWritingOn(booted);
      const before = await writtenSoFar(booted);
      const told: number[] = [];
      await vm.move(({ doneBytes }) => told.push(doneBytes));
      await vm.close();
      assert.ok(told.length > 0, 'its progress is told');
      assert.ok((await writtenSoFar(booted)) > before, 'it wrote meanwhile');
      assert.ok(!(await booted.drivers()).includes('nbd'));
      const after = await moreRecords(booted, 5);
      await vm.powerOff();
      return { path: vm.images[0]!.path, seen: after };
    });
    await hypervisor.close();
    assert.equal(await booted.isRunning, false);
    assert.ok((await recordsIn(await rawCopy(path))) >= seen);
  });

  await t.test('a trial ends with Ctrl-C, and nothing of it is left', async (tt) => {
    const trial = await RestoredGuest.in(tt, source.folder, 't');
    const { directory, connection } = trial;
    const args = [
      'vm',
      'boot',
      ...from(source),
      '--as',
      'trial',
      '--trial',
      '--dir',
      directory,
      ...connection,
    ];
    const child = start(args);
    child.stdin.end();
    const over = ended(child);
    await trial.answers();
    child.kill('SIGINT');
    const { code, stderr } = await over;
    assert.ok(code === 0 || code === 130, stderr);
    assert.equal(await trial.isRunning, false);
    assert.deepEqual(await readdir(directory), []);
  });

  await t.test(
    'Holdfast killed, it pauses without an error, and goes on once served',
    async (tt) => {
      const orphan = await RestoredGuest.in(tt, source.folder, 'k');
      const { directory, connection } = orphan;
      const as = ['--as', 'k', '--trial', '--dir', directory, ...connection];
      const child = start(['vm', 'boot', ...from(source, ...as)]);
      child.stdin.end();
      const killed = ended(child);
      await orphan.answers();
      child.kill('SIGKILL');
      await killed;
      let isRead = false;
      // Not waited for: the guest pauses in it.
      const read = orphan.sh('md5sum /dev/vdb; echo $?').finally(() => (isRead = true));
      await statusBecomes(orphan, 'io-error');
      const point = (await pointsOf(source, 'web'))[0]!;
      const servers = ['vd0', 'vd1'].map((disk) => {
        const at = ['--disk', disk, '--socket', join(directory, `${disk}.nbd`)];
        return start(['repo', 'serve', source.repository, point, '--no-encryption', ...at]);
      });
      const over = servers.map(async (server) => await ended(server));
      // The first read after a lost connection only begins a new one: the guest may pause again.
      while (!isRead) {
        await orphan.qmp(async (qmp) => {
          if (!(await qmp.execute('query-status')).running) await qmp.execute('cont');
        });
        await sleep(500);
      }
      const { stdout } = await promisify(execFile)('md5sum', [join(source.folder, 'data.raw')]);
      const sum = stdout.split(' ')[0]!;
      assert.equal(await read, `${sum}  /dev/vdb\n0\n`);
      assert.equal((await orphan.sh('dmesg | grep -ci "i/o error" || true')).trim(), '0');
      await orphan.kill();
      for (const server of servers) server.kill('SIGINT');
      await Promise.all(over);
    },
  );

  await t.test('Ctrl-C while it is moved: it is off, and its overlays are kept', async (tt) => {
    const moved = await RestoredGuest.in(tt, source.folder, 'c');
    const { directory, connection } = moved;
    const args = ['vm', 'boot', ...from(source), '--as', 'c', '--dir', directory, ...connection];
    const { code, stderr } = await interrupted(args, /copied while it runs/);
    assert.equal(code, 130, stderr);
    assert.match(stderr, /powered off; its overlays are kept/);
    assert.equal(await moved.isRunning, false);
    assert.equal(imagesIn(directory, await readdir(directory)).length, 2);
    const { state } = await json<Shown>(['vm', 'show', 'c', ...connection]);
    assert.equal(state, 'off');
  });
});

async function statusBecomes(guest: RestoredGuest, wanted: string): Promise<void> {
  for (;;) {
    const { status } = await guest.qmp(async (qmp) => await qmp.execute('query-status'));
    if (status === wanted) return;
    await sleep(100);
  }
}

/** The restored guest has the records of the old one, and writes on after them. */
async function startWritingOn(guest: RestoredGuest): Promise<void> {
  await guest.answers();
  const last = Number((await guest.sh('tail -n 1 /data/records | cut -d" " -f1')).trim());
  await startWriting(guest, last);
  await moreRecords(guest, 1);
}
