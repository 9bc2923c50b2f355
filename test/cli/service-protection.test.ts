/** VMs protected, backed up and restored by a service, by its commands. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ended, MEBIBYTE, noise, start, TerminalSession } from './holdfast.ts';
import { addVm, areSame, serviceProcess } from './service-process.ts';

const service = await serviceProcess();
const { text, json, fails, folder, images, variables } = service;
const web = addVm(service, 'web', 48 * MEBIBYTE);
addVm(service, 'db');
const store = join(folder, 'restored');

type Point = { readonly id: string; readonly origin: string; readonly expiryTime: string };
type Job = {
  readonly id: string;
  readonly status: string;
  readonly operation: string;
  readonly point?: Point;
  readonly properties: Readonly<Record<string, string>>;
  readonly tasks: readonly { readonly name: string; readonly status: string }[];
};

test('a VM is protected by the only vault and its default policy', async () => {
  await text('host', 'add', 'lab', '--connect', `images:${images}`);
  await fails(['protect', 'web'], 1, /there is no vault yet: holdfast vault create/);
  await text('vault', 'create', 'v1');
  await text('storage-account', 'add', 'store', '--path', store);
  await fails(
    ['backup', 'web'],
    1,
    /lab\/web is not protected: holdfast protect lab\/web protects it/,
  );
  await fails(['protect', 'web', '--policy', 'none'], 1, /no policy none; there is DefaultPolicy/);
  await fails(['protect', 'web', '--exclude-lun', '7'], 1, /\[UserErrorInvalidDiskSelection\]/);
  assert.match(
    await text('protect', 'web'),
    /^lab\/web is protected in lab\/v1 by the policy DefaultPolicy\.\nIts first backup: holdfast backup lab\/web\n$/,
  );
  assert.match(await text('vm', 'list'), /^web +lab +off +2 +first backup pending +lab\/v1 +-$/m);
});

test('a backup on a terminal shows what it does, then the point', async () => {
  const session = new TerminalSession(['backup', 'web', '--data', service.data]);
  assert.equal(await session.end(), 0, session.shown);
  assert.match(
    session.shown.replaceAll('\r\u001B[K', '<redrawn>'),
    /<redrawn>[^\r\n]*(Backup of lab\/web|backing up|taking a snapshot)/,
  );
  assert.match(
    session.shown,
    /Recovery point \d+ of lab\/web, taken in .*\r\nCrash-consistent; .* added to the repository; expires \d{4}-/,
  );
});

test('points and jobs are listed and shown', async () => {
  const job = await json<Job>('backup', 'web', '--expires', '90d');
  assert.deepEqual([job.status, job.operation], ['Completed', 'Backup']);
  assert.deepEqual(
    job.tasks.map(({ name, status }) => [name, status]),
    [
      ['Take Snapshot', 'Completed'],
      ['Transfer data to vault', 'Completed'],
    ],
  );
  const { points } = await json<{ points: Point[] }>('points', 'web');
  assert.equal(points.length, 2);
  assert.equal(points[0]?.id, job.point?.id, 'the newest first');
  const days = (Date.parse(points[0]!.expiryTime) - Date.now()) / 86_400_000;
  assert.equal(Math.round(days), 90);
  assert.match(
    await text('points', 'web'),
    /^POINT +TAKEN +CONSISTENCY +ORIGIN +ADDED TO REPOSITORY +EXPIRES\n(.*\n){2}\n2 points of lab\/web in lab\/v1\.\n$/,
  );
  assert.match(await text('points', 'web', '--until', '2020-01-01'), /no recovery points/);

  const { jobs } = await json<{ jobs: Job[] }>('jobs', '--operation', 'Backup', '--vm', 'web');
  assert.deepEqual(
    jobs.map(({ status }) => status),
    ['Completed', 'Completed'],
  );
  const { stderr, code } = await service.run('jobs', 'list', '--operation', 'Bakup');
  assert.match(stderr, /'Bakup' is invalid. Allowed choices are Backup, GroupBackup, Restore,/);
  assert.equal(code, 2);
  await fails(['jobs', 'list', '--last', '0'], 2, /write a whole number from 1/);
  await fails(['jobs', 'list', '--vm', 'nope'], 1, /no VM nope; there .*\[ResourceNotFound\]/);
  await fails(['export', 'web', 'latest', '--for', '0m'], 2, /--for .*at least a minute/);
  assert.match(await text('jobs'), /^JOB +OPERATION +VM +STATUS +BEGUN +TOOK +VAULT\n/);
  assert.match(
    await text('jobs', 'list', '--last', '1'),
    /\n\n2 older jobs: --last 3 shows all\.\n$/,
  );
  const shown = await text('jobs', 'show', job.id.slice(0, 8));
  assert.match(shown, /^Operation: +Backup of lab\/web$/m);
  assert.match(shown, /^Transfer data to vault +Completed/m);
  await fails(['jobs', 'stop', job.id], 1, /cancelable state.*\[UserErrorJobNotCancellable\]/);
  await fails(
    ['jobs', 'show', 'nope'],
    1,
    /no job nope; holdfast jobs list shows them \[ResourceNotFound\]/,
  );
  await fails(['backup', 'web', '--expires', 'soon'], 2, /--expires "soon" is no date/);
  await fails(
    ['backup', 'web', '--expires', '2020-01-01'],
    1,
    /\[UserErrorInvalidRecoveryPointExpiry\]/,
  );
});

test('without waiting a job is begun, waited for, and cancelled', async () => {
  const begun = await json<Job>('backup', 'web', '--no-wait');
  const done = await json<Job>('jobs', 'wait', begun.id);
  assert.equal(done.status, 'Completed');
  // Far more than is written before the answer to "stop".
  const image = openSync(join(web, 'a-system.raw'), 'r+');
  for (let at = 0; at < 900; at += 100)
    writeSync(image, noise(100 * MEBIBYTE, at + 3), 0, 100 * MEBIBYTE, at * MEBIBYTE);
  const child = start(['backup', 'web', '--json'], { variables, password: null });
  const result = ended(child);
  const running = await runningJob(child);
  const stopped = await json<Job>('jobs', 'stop', running);
  assert.equal(stopped.status, 'Cancelled');
  const { code, stderr } = await result;
  assert.match(stderr, /^holdfast: the job Backup of lab\/web was cancelled.*\[\w+\]\n$/);
  assert.equal(code, 1);
});

/** The job that a command has begun and waits for. */
async function runningJob(command: ChildProcess): Promise<string> {
  for (;;) {
    const { jobs } = await json<{ jobs: Job[] }>('jobs', '--status', 'InProgress');
    if (jobs[0] !== undefined) return jobs[0].id;
    assert.equal(command.exitCode, null, 'the command has ended, and no job was seen running');
  }
}

test('jobs wait alone waits for all that run', async () => {
  assert.equal(await text('jobs', 'wait'), 'No job runs.\n');
  const begun = [
    await json<Job>('backup', 'web', '--no-wait'),
    await json<Job>('restore', 'web', '--no-wait'),
  ];
  const { jobs } = await json<{ jobs: Job[] }>('jobs', 'wait');
  const ids = begun.map(({ id }) => id);
  const waited = jobs.filter(({ id }) => ids.includes(id));
  assert.ok(waited.length > 0, 'there was something to wait for');
  for (const { id } of begun) {
    assert.equal((await json<Job>('jobs', 'show', id)).status, 'Completed');
  }
});

test('Ctrl-C ends the waiting, not the job', async () => {
  const child = start(['backup', 'web'], { variables, password: null });
  const result = ended(child);
  const running = await runningJob(child);
  child.kill('SIGINT');
  const { code, stderr } = await result;
  assert.equal(code, 130);
  assert.match(stderr, new RegExp(`the job ${running} goes on: holdfast jobs wait ${running}`));
  assert.equal((await json<Job>('jobs', 'wait', running)).status, 'Completed');
});

test('disks are restored to the storage account: all, or those that were chosen', async () => {
  await fails(
    ['restore', 'web', '123'],
    1,
    /no recovery point 123 .*\[BMSUserErrorRecoveryPointNotFound\]/,
  );
  await fails(['restore', 'web', '--host', 'lab'], 2, /belong to --as/);
  await fails(['restore', 'web', '--as', 'x', '--replace'], 2, /contradict each other/);
  const job = await json<Job>('restore', 'web');
  const target = job.properties['Target Folder']!;
  const names = readdirSync(target);
  assert.equal(names.filter((name) => name.endsWith('.qcow2')).length, 2);
  const system = names.find((name) => name.includes('osdisk'))!;
  assert.ok(areSame(join(target, system), join(web, 'a-system.raw')));
  const chosen = await text(
    'restore',
    'web',
    'latest',
    '--only-os-disk',
    '--storage-account',
    'store',
  );
  assert.match(
    chosen,
    /^Point \d+ of lab\/web, taken .*, is restored in .*\nTarget Folder: \/.*\nRestored Files: [^,]*osdisk[^,]*(, .*vmconfig\.json)?\n$/,
  );
});

test('a new VM is made of a point, and a VM gets its disks back', async () => {
  const made = await text('restore', 'web', '--as', 'web-copy');
  assert.match(made, /^Target VM: web-copy$/m);
  assert.match(await text('vm', 'list'), /^web-copy +lab +off +2 +none/m);
  await fails(
    ['restore', 'web', '--as', 'web2', '--network', 'default'],
    1,
    /'lab' is a folder of images, whose VMs have no network card .*'default'.*\[DefinitionUnsupported\]/,
  );
  await fails(['restore', 'web', '--as', 'a/b'], 2, /--as "a\/b" is not a name: .*\[Usage\]/);
  await fails(['restore', 'web', '--as', 'x', '--host', 'a/b'], 2, /--host "a\/b" is not a name/);
  await fails(['boot', 'web', '--as', 'a/b'], 2, /--as "a\/b" is not a name/);
  await fails(
    ['restore', 'web', '--as', 'db'],
    1,
    /There is a VM 'db' on the host 'lab'.*\[VmExists\]/,
  );

  const image = openSync(join(web, 'a-system.raw'), 'r+');
  writeSync(image, Buffer.alloc(MEBIBYTE), 0, MEBIBYTE, 0);
  await fails(['restore', 'web', '--replace'], 2, /give --yes to put the disks of lab\/web back/);
  const left = await text('restore', 'web', '--replace', '--yes');
  assert.match(
    left,
    /^The disks of lab\/web lie in the Target Folder now, in the storage account lab\/store/m,
  );
  const [, safety] = /^What was on them before is recovery point (\d+)\.$/m.exec(left) ?? [];
  const { points } = await json<{ points: Point[] }>('points', 'web');
  assert.equal(points.find(({ id }) => id === safety)?.origin, 'safety');
  assert.match(
    left,
    /^Disks before: \/.*a-system\.raw.*\n[\s\S]*^The images in Disks before are no longer used: delete them/m,
  );
  const asked = new TerminalSession(['restore', 'web', '--replace', '--data', service.data]);
  await asked.answer(/Go on\? \[y\/N\]/, 'n\n');
  assert.equal(await asked.end(), 130);
  assert.match(
    asked.shown,
    /becomes a recovery point first[\s\S]*the images that it has now stay where they are/,
  );
  const [, target = ''] = /^Target Folder: (.*)$/m.exec(left) ?? [];
  const system = readdirSync(target).find((name) => name.includes('osdisk'))!;
  assert.ok(!areSame(join(target, system), join(web, 'a-system.raw')));
});

test('protection is stopped, resumed, deleted and undeleted', async () => {
  await fails(['unprotect', 'web'], 2, /--retain .*--by-policy .*--delete-data/);
  assert.match(
    await text('unprotect', 'web', '--by-policy'),
    /its points expire by the policy, the last one stays/,
  );
  await fails(['backup', 'web'], 1, /\[UserErrorProtectionStopped\]/);
  assert.match(
    await text('resume', 'web'),
    /lab\/web is backed up again by the policy DefaultPolicy/,
  );
  await text('policy', 'create', 'nightly', '--daily', '02:00', '--keep-daily', '9');
  await text('protect', 'web', '--policy', 'nightly');
  assert.match(
    await text('unprotect', 'lab/web', '--retain'),
    /its points are kept until they are deleted/,
  );
  assert.match(await text('points', 'web'), /^\d+ .* never$/m);
  await fails(
    ['vault', 'set', 'v1', '--soft-delete', 'always'],
    2,
    /give --yes to turn soft .* on/,
  );
  await text('vault', 'set', 'v1', '--immutability', 'on');
  const pinned = ['point', 'pin', 'web', 'latest'];
  await fails(pinned, 2, /give --yes to pin .*in an immutable vault nobody can unpin it/);
  await text('vault', 'set', 'v1', '--immutability', 'off');
  await fails(['unprotect', 'web', '--delete-data'], 2, /give --yes to stop the protection/);
  const question = new TerminalSession([
    'unprotect',
    'web',
    '--delete-data',
    '--data',
    service.data,
  ]);
  await question.answer(/Go on\? \[y\/N\]/, 'n\n');
  assert.equal(await question.end(), 130);
  assert.match(question.shown, /nothing was changed \[Cancelled\]/);
  assert.match(
    await text('unprotect', 'web', '--delete-data', '--yes'),
    /are soft-deleted until \d{4}-.*; holdfast undelete/,
  );
  await fails(['resume', 'web'], 1, /\[UserErrorItemSoftDeleted\]/);
  assert.match(await text('points', 'web'), /^\d+ .* soft-deleted/m);
  await fails(['vault', 'delete', 'v1'], 2, /delete the vault lab\/v1 \(for \d+ days it can be/);
  assert.match(
    await text('vault', 'delete', 'v1', '--yes'),
    /^Vault lab\/v1 is soft-deleted until \d{4}-.*; "holdfast vault undelete lab\/v1" brings it back\.$/m,
  );
  assert.match(await text('vault', 'list'), /^v1 +lab +\d{4}-.* [-0-9a-f]{36}$/m);
  await fails(['vault', 'undelete', 'v7'], 1, /no soft-deleted vault v7; there is lab\/v1/);
  await fails(
    ['vault', 'show', 'v1'],
    1,
    /lab\/v1 is soft-deleted until .*holdfast vault undelete lab\/v1 /,
  );
  assert.match(await text('vault', 'undelete', 'V1'), /^Vault lab\/v1 is back/);
  assert.doesNotMatch(await text('vault', 'list'), /SOFT-DELETED/);
  assert.match(await text('undelete', 'web'), /are back, its protection is stopped/);
  assert.match(await text('resume', 'web'), /is backed up again by the policy nightly\.$/m);
});

test('who did what is listed, newest first', async () => {
  const shown = await text('activities', '--last', '5');
  assert.match(
    shown,
    /^TIME +WHO +DID +WITH +DETAILS\n.* admin +ConfigureBackup +lab\/web +vault: lab\/v1, policy: nightly\n.* admin +Undelete +lab\/web +vault: lab\/v1\n.* admin +undelete vault +lab\/v1\n.* admin +delete vault +lab\/v1 .*\n.* admin +DeleteBackupData +lab\/web +vault: lab\/v1.*\n$/,
  );
  const { activities } = await json<{ activities: { action: string }[] }>('activities');
  assert.ok(activities.some(({ action }) => action === 'put host'));
});

test('a QMP socket where nobody listens is refused as a host, or added where its VM will come', async () => {
  const uri = `qmp:${join(folder, 'nowhere.sock')}`;
  await fails(['host', 'add', 'vm1', '--connect', uri], 1, /a VM that is off .*--allow-absent/);
  assert.match(
    await text('host', 'add', 'vm1', '--connect', uri, '--allow-absent'),
    /0 VMs found .*\nIts VMs cannot be listed: no QEMU listens/,
  );
  await text('host', 'remove', 'vm1');
});

test('a job that fails says why, with its code', async () => {
  await text('protect', 'db', '--policy', 'DefaultPolicy');
  rmSync(join(images, 'db'), { recursive: true });
  await fails(
    ['backup', 'db'],
    1,
    /the job Backup of lab\/db failed: .*VMNotFoundV2.*\[UserErrorVmNotFoundV2\]/,
  );
});
