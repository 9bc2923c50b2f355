/**
 * VMs that the service boots from points of a real guest on QEMU: moved while they write, tried and discarded, gone on
 * with after the service was killed; and a point exported over NBD through such kills.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { ended, fail, start, succeed, withoutPasswords } from '../cli/holdfast.ts';
import { moreRecords, recordsIn, startWriting, writtenSoFar } from './records.ts';
import { RestoredGuest } from './restored-guest.ts';
import { servingJobs, type Job } from './serving-jobs.ts';
import { Serving } from './serving.ts';
import { guestFolder, startGuest, tinyGuestFolder, type TinyGuest } from './tiny-guest.ts';
import { rawCopy } from './vm-source.ts';

withoutPasswords();

const NOTE = 'holdfast-boot.json';
const DATA_MIB = 256;
/** More than a job may be tried. */
const KILLS = 4;

const serving = new Serving();
const { variables, holdfast, jobNow, until } = servingJobs(serving);

/** As by a crash of its machine, and started again. */
async function killService(): Promise<void> {
  await serving.stop('SIGKILL');
  rmSync(join(serving.data, 'state.json'));
  await serving.start();
}

type Lab = {
  readonly vm: string;
  /** Where the host's sockets are, and its VM's. */
  readonly runDir: string;
  readonly account: string;
  /** The second disk as it was at the point. */
  readonly data: string;
  /** How many records there were before the point. */
  readonly records: number;
  readonly original: TinyGuest;
};

/** A guest that writes records, backed up by the service, and running on. */
async function backedUp(t: TestContext): Promise<Lab> {
  const runDir = await guestFolder(t);
  const disks = [join(runDir, 'disk.qcow2'), join(runDir, 'data.raw')];
  await copyFile(join(await tinyGuestFolder(), 'disk.qcow2'), disks[0]!);
  const fill = ['if=/dev/urandom', `of=${disks[1]}`, 'bs=1M', `count=${DATA_MIB}`, 'status=none'];
  await promisify(execFile)('dd', fill);
  const guest = await startGuest(t, { disks, runDir });
  await startWriting(guest);
  const records = await moreRecords(guest, 10);
  const vm = basename(runDir);
  const account = join(runDir, 'restored');
  const connect = `qmp:${guest.qmpPath},agent=${guest.agentPath}`;
  await serving.start();
  for (const args of [
    ['host', 'add', 'live', '--connect', connect],
    ['vault', 'create', 'v1'],
    ['storage-account', 'add', 'store', '--path', account, '--group', 'live'],
    ['protect', vm],
    ['backup', vm],
  ]) {
    await succeed(args, { variables });
  }
  return { vm, runDir, account, data: disks[1]!, records, original: guest };
}

test('the service boots a VM from a point of a guest on QEMU', async (t) => {
  const lab = await backedUp(t);
  const { vm, runDir, account, original } = lab;

  await t.test('beside the VM that runs on: that one is backed up meanwhile', async () => {
    const begun = await holdfast<Job>('boot', vm, '--as', 'beside', '--trial', '--no-wait');
    const { warnings = [] } = await until(begun.id, ({ properties }) => 'State' in properties);
    const [, address] = /beside is at (qmp:\S+)/.exec(warnings.join('\n')) ?? [];
    assert.ok(address !== undefined, warnings.join('\n'));
    const { vms } = await holdfast<{ readonly vms: readonly { readonly name: string }[] }>(
      'vm',
      'list',
      '--connect',
      address,
    );
    assert.deepEqual(
      vms.map(({ name }) => name),
      ['beside'],
    );
    await succeed(['backup', vm], { variables });
    assert.equal((await holdfast<Job>('jobs', 'stop', begun.id)).status, 'Cancelled');
    assert.deepEqual(readdirSync(account), []);
    await moreRecords(original, 1);
    await original.kill();
  });

  await t.test('killed while the VM is moved, it goes on; the VM lacks no record', async (tt) => {
    const guest = RestoredGuest.at(tt, runDir);
    const begun = await holdfast<Job>('boot', vm, '--as', 'moved', '--no-wait');
    const taken = /VmExists/;
    await fail(['boot', vm, '--as', 'moved'], { code: 1, says: taken }, { variables });
    const moving = await until(begun.id, ({ properties }) => properties['State'] !== undefined);
    const directory = moving.properties['Target Folder']!;
    assert.equal(dirname(directory), account);
    assert.ok(Number(moving.properties['Seconds until it was started']) > 0);
    await serving.stop('SIGKILL');
    assert.ok(existsSync(join(directory, NOTE)), 'it was not moved yet');
    const pid = await guest.pid();
    assert.ok(pid !== undefined);
    rmSync(join(serving.data, 'state.json'));
    await serving.start();
    await writeOn(guest);
    const done = await until(begun.id, ({ status }) => status !== 'InProgress');
    assert.match(done.status, /^Completed/, JSON.stringify(done));
    assert.equal(done.properties['State'], 'On its own disks');
    assert.equal(await guest.pid(), pid);
    assert.ok(!(await guest.drivers()).includes('nbd'), 'nothing is read from the point any more');
    const seen = await moreRecords(guest, 5);
    await serving.stop();
    await moreRecords(guest, 5);
    await guest.shutDown();
    assert.ok(seen > lab.records);
    const images = done.properties['Restored Files']!.split(', ');
    const system = images.find((path) => path.includes('osdisk'));
    assert.ok((await recordsIn(await rawCopy(system!))) >= seen);
    assert.ok(!readdirSync(directory).includes(NOTE));
    rmSync(directory, { recursive: true });
    rmSync(join(serving.data, 'state.json'), { force: true });
    await serving.start();
  });

  await t.test('a trial goes on through kills, and leaves nothing when it ends', async (tt) => {
    const guest = RestoredGuest.at(tt, runDir);
    const child = start(['boot', vm, '--as', 'tried', '--trial', '--storage-account', 'store'], {
      variables,
    });
    let told = '';
    child.stderr.on('data', (text: Buffer) => (told += text.toString()));
    const over = ended(child);
    while (!told.includes('Ctrl-C ends the trial')) await sleep(50);
    await writeOn(guest);
    child.kill('SIGINT');
    const { code, stdout, stderr } = await over;
    assert.equal(code, 0, stderr);
    assert.match(stdout, /tried was powered off and discarded/);
    assert.equal(await guest.isRunning, false);
    assert.deepEqual(readdirSync(account), []);

    const begun = await holdfast<Job>('boot', vm, '--as', 'tried', '--trial', '--no-wait');
    await until(begun.id, ({ properties }) => properties['State'] === 'Booted');
    await writeOn(guest);
    let seen = 0;
    for (let times = 0; times < KILLS; times += 1) {
      await killService();
      seen = Math.max(seen, await moreRecords(guest, 2));
      await until(begun.id, ({ properties }) => properties['State'] === 'Booted');
    }
    assert.ok((await writtenSoFar(guest)) >= seen);
    const stopped = await holdfast<Job>('jobs', 'stop', begun.id);
    assert.equal(stopped.status, 'Cancelled', JSON.stringify(stopped));
    assert.match((await jobNow(begun.id)).properties['State']!, /^Discarded/);
    assert.equal(await guest.isRunning, false);
    assert.deepEqual(readdirSync(account), []);
  });

  await t.test('cancelled before it is moved, it is discarded, killed or not', async (tt) => {
    const guest = RestoredGuest.at(tt, runDir);
    const begun = await holdfast<Job>('boot', vm, '--as', 'unwanted', '--no-wait');
    await until(begun.id, ({ properties }) => properties['State'] !== undefined);
    await succeed(['jobs', 'stop', begun.id, '--no-wait'], { variables });
    await killService();
    const { status, properties } = await until(begun.id, (job) => job.status === 'Cancelled');
    assert.deepEqual([status, properties['Remains']], ['Cancelled', undefined]);
    assert.equal(await guest.isRunning, false);
    assert.deepEqual(readdirSync(account), []);
  });

  await t.test('a point is exported through kills of the service, until Ctrl-C', async () => {
    const child = start(['export', vm, '--json', '--for', '2h'], { variables });
    const told = Promise.withResolvers<string>();
    child.stdout.once('data', (text: Buffer) => told.resolve(text.toString()));
    const over = ended(child);
    const { id, disks } = JSON.parse(await told.promise) as {
      readonly id: string;
      readonly disks: readonly { readonly lun?: number; readonly uri: string }[];
    };
    assert.deepEqual(
      disks.map(({ lun }) => lun),
      [undefined, 0],
    );
    const { uri } = disks[1]!;
    const copy = join(runDir, 'copy.raw');
    await promisify(execFile)('nbdcopy', [uri, copy]);
    const same = async (one: string): Promise<unknown> =>
      await promisify(execFile)('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', one, lab.data]);
    await same(copy);
    child.kill('SIGINT');
    assert.equal((await over).code, 0);
    assert.equal((await jobNow(id)).status, 'Cancelled');
    assert.deepEqual(readdirSync(join(serving.data, 'exports')), []);

    const left = await holdfast<Job>('export', vm, '--no-wait');
    const uris = Object.entries(left.properties).filter(([name]) => name.startsWith('NBD URI'));
    for (let times = 0; times < KILLS; times += 1) {
      await killService();
      const socket = decodeURIComponent(uris[0]![1].split('?socket=')[1]!);
      await promisify(execFile)('sh', [
        '-c',
        'until nbdinfo --size "$0" 2>/dev/null; do sleep 0.1; done',
        uris.at(-1)![1],
      ]);
      assert.ok(existsSync(socket));
    }
    await same(uris.find(([name]) => name.endsWith('LUN 0'))![1]);
    assert.equal((await holdfast<Job>('jobs', 'stop', left.id)).status, 'Cancelled');
    assert.deepEqual(readdirSync(join(serving.data, 'exports')), []);
  });
});

async function writeOn(guest: RestoredGuest): Promise<void> {
  await guest.answers();
  const last = Number((await guest.sh('tail -n 1 /data/records | cut -d" " -f1')).trim());
  await startWriting(guest, last);
  await moreRecords(guest, 1);
}
