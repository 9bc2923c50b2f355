import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { examine } from '../doctor/doctor.ts';
import { discoverHost } from '../hosts/discovery.ts';
import { getVm } from '../hosts/vms.ts';
import { changeItem } from '../items/change-item.ts';
import type { Item } from '../items/items.ts';
import { listPoints } from '../points/points.ts';
import { WEB } from '../testing/aged-vm.ts';
import { addStore, backedUpVm, STORE } from '../testing/backed-up-vm.ts';
import { fillDisk, onOwnDisk, remount } from '../testing/own-disk.ts';
import { endOf, GROUP, type TestService } from '../testing/test-service.ts';
import type { RestoreRequest } from './restore-request.ts';
import { startRestore } from './start-restore.ts';

type Restorable = {
  readonly made: TestService;
  readonly item: Item;
  readonly point: string;
  readonly account: string;
  readonly content: Buffer;
};

async function restorable(t: TestContext): Promise<Restorable> {
  const { made, item, points, folder } = await backedUpVm(t);
  const account = await addStore(made);
  const content = readFileSync(join(folder, 'a.raw'));
  return { made, item, point: points[0]!, account, content };
}

async function restored({ made, item }: Restorable, request: RestoreRequest) {
  const { jobId } = await startRestore(made.service(), WEB, request);
  return await endOf(made.service(), item.vaultId, jobId);
}

/** As if the service had been killed just before the job's end was written. */
async function runAgain({ made, item }: Restorable, jobId: string) {
  await made.service().catalogue.change(async (change) => {
    const row = { status: 'InProgress', endedAt: null, leaseOwner: 'dead', leaseUntil: 1 };
    await change.updateTable('jobs').set(row).where('id', '=', jobId).execute();
  });
  await made.restart();
  return await endOf(made.service(), item.vaultId, jobId);
}

function bytesOf(made: TestService, path: string, format: string): Buffer {
  const raw = join(made.data, '..', 'bytes.raw');
  execFileSync('qemu-img', ['convert', '-f', format, '-O', 'raw', path, raw]);
  return readFileSync(raw);
}

/** Disks and a new VM, each with the content of the point. */
async function restoresAll(whole: Restorable, vmName: string): Promise<void> {
  const { made, point, content } = whole;
  const disks = await restored(whole, { kind: 'disks', point, account: STORE });
  assert.equal(disks.status, 'Completed', JSON.stringify(disks));
  const [image] = disks.properties['Restored Files']!.split(', ');
  assert.deepEqual(bytesOf(made, image!, 'qcow2'), content);
  const vm = { kind: 'new-vm', hostKey: GROUP, vmName, starts: false } as const;
  const vmJob = await restored(whole, { ...vm, point, account: STORE });
  assert.equal(vmJob.status, 'Completed', JSON.stringify(vmJob));
}

test('disks and a new VM are restored from a vault whose disk cannot be written', async (t) => {
  const whole = await restorable(t);
  await onOwnDisk(whole.made, whole.item.vaultId, async (repository) => {
    remount(repository, 'ro');
    await restoresAll(whole, 'copy');
  });
});

test('disks and a new VM are restored from a vault whose disk is full, and its reserve is left', async (t) => {
  const whole = await restorable(t);
  await onOwnDisk(whole.made, whole.item.vaultId, async (repository) => {
    fillDisk(repository);
    await restoresAll(whole, 'copy');
    assert.ok(statSync(join(repository, 'reserve')).size > 0);
  });
});

test('no connection to a host is held while images are written: QMP serves one client', async (t) => {
  const whole = await restorable(t);
  const { made, point, account } = whole;
  const { hosts } = made.service();
  const { use } = hosts;
  const images = (): number =>
    readdirSync(account, { recursive: true }).filter((name) => String(name).endsWith('.qcow2'))
      .length;
  const seen: [number, number][] = [];
  t.mock.method(hosts, 'use', (async (hostKey, work) => {
    const before = images();
    try {
      return await use(hostKey, work);
    } finally {
      seen.push([before, images()]);
    }
  }) satisfies typeof use);
  const vm = { kind: 'new-vm', hostKey: GROUP, vmName: 'copy', starts: false } as const;
  const job = await restored(whole, { ...vm, point, account: STORE });
  assert.equal(job.status, 'Completed');
  assert.ok(seen.some(([before]) => before === 0) && seen.some(([before]) => before === 1));
  for (const [before, after] of seen) assert.equal(before, after);
});

test('a new VM that was made before a kill keeps its disks when the job is run again', async (t) => {
  const whole = await restorable(t);
  const { made, point } = whole;
  const job = await restored(whole, {
    kind: 'new-vm',
    point,
    account: STORE,
    hostKey: GROUP,
    vmName: 'copy',
    starts: false,
  });
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  const again = await runAgain(whole, job.id);
  assert.equal(again.status, 'Completed', JSON.stringify(again));
  assert.equal(again.properties['Target VM'], 'copy');
  await discoverHost(made.service(), GROUP);
  const copy = await getVm(made.service().catalogue.read, { group: GROUP, name: 'copy' });
  const [disk] = copy.facts.disks;
  assert.deepEqual(bytesOf(made, disk!.location, disk!.format), whole.content);
});

test('disks that were replaced before a kill stay in the VM, and the safety point is recorded', async (t) => {
  const whole = await restorable(t);
  const { made, point, item, content } = whole;
  const before = Buffer.alloc(1 << 20, 7);
  writeFileSync(join(made.images, 'web', 'a.raw'), before);
  const job = await restored(whole, { kind: 'replace', point, account: STORE });
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  const again = await runAgain(whole, job.id);
  assert.equal(again.status, 'Completed', JSON.stringify(again));
  const vm = await getVm(made.service().catalogue.read, WEB.vm);
  const [disk] = vm.facts.disks;
  assert.deepEqual(bytesOf(made, disk!.location, disk!.format), content);
  const points = await listPoints(made.service().catalogue.read, item.id);
  assert.deepEqual(
    points.map(({ origin }) => origin),
    ['safety', 'on-demand'],
  );
  const errors = (await examine(made.service())).filter(({ severity }) => severity === 'error');
  assert.deepEqual(errors, []);
});

test('a replacement that is killed after its safety point keeps that one beside the one of its next try', async (t) => {
  const whole = await restorable(t);
  const { made, point, item } = whole;
  writeFileSync(join(made.images, 'web', 'a.raw'), Buffer.alloc(1 << 20, 7));
  const job = await restored(whole, { kind: 'replace', point, account: STORE });
  const first = job.pointId!;
  // Neither recorded nor its disks in the VM: killed while the images were written.
  await changeItem(made.service(), item, async () => ({
    item: {},
    deletedPoints: [first],
    also: async () => undefined,
  }));
  rmSync(job.properties['Target Folder']!, { recursive: true });
  rmSync(join(made.images, 'web', 'vm.json'));
  const again = await runAgain(whole, job.id);
  assert.equal(again.status, 'Completed', JSON.stringify(again));
  const points = await listPoints(made.service().catalogue.read, item.id);
  assert.deepEqual(
    points.map(({ id, origin }) => [id, origin]),
    [
      [again.pointId, 'safety'],
      [first, 'safety'],
      [point, 'on-demand'],
    ],
  );
  const errors = (await examine(made.service())).filter(({ severity }) => severity === 'error');
  assert.deepEqual(errors, []);
});

test('a restore that failed or was cancelled leaves no folder; what was half written before a kill is written anew', async (t) => {
  const whole = await restorable(t);
  const { made, point, account, content } = whole;
  const request = { kind: 'disks', point, account: STORE } as const;
  const job = await restored(whole, request);
  const folder = job.properties['Target Folder']!;
  const image = job.properties['Restored Files']!.split(', ')[0]!;
  writeFileSync(image, 'half');
  const again = await runAgain(whole, job.id);
  const files = again.properties['Restored Files']!.split(', ').filter((file) =>
    file.endsWith('.qcow2'),
  );
  assert.deepEqual(bytesOf(made, files[0]!, 'qcow2'), content);
  assert.deepEqual(readdirSync(account), [basename(folder)]);
  // The next try of the same job is cancelled while it is still to begin.
  await made.service().catalogue.change(async (change) => {
    const row = { status: 'Cancelling', endedAt: null, properties: '{}', cancelRequestedAt: 1 };
    await change.updateTable('jobs').set(row).where('id', '=', job.id).execute();
  });
  await made.restart();
  assert.equal((await endOf(made.service(), whole.item.vaultId, job.id)).status, 'Cancelled');
  assert.deepEqual(readdirSync(account), []);
  assert.deepEqual(made.complaints, []);
});

test('a restore to an account whose folder is a file by now says so, and a queued one too', async (t) => {
  const whole = await restorable(t);
  const { made, item, point, account } = whole;
  const service = made.service();
  const request = { kind: 'disks', point, account: STORE } as const;
  const refused = { code: 'StorageAccountUnusable', message: /is no folder any more, but a file/ };
  rmSync(account, { recursive: true });
  writeFileSync(account, 'a file');
  await assert.rejects(startRestore(service, WEB, request), refused);
  rmSync(account);
  mkdirSync(account);
  const { jobId } = await startRestore(service, WEB, request);
  await endOf(service, item.vaultId, jobId);
  rmSync(account, { recursive: true });
  writeFileSync(account, 'a file');
  const { status, failure } = await runAgain(whole, jobId);
  assert.deepEqual([status, failure?.code], ['Failed', 'StorageAccountUnusable']);
  assert.equal(readFileSync(account, 'utf8'), 'a file');
});
