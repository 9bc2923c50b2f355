/** What `holdfast vm list` and `holdfast doctor` say of VMs whose backups fail, and of VMs that are gone. */
import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { addVm, serviceProcess } from './service-process.ts';

const service = await serviceProcess();
const { text, json, fails, images } = service;
for (const vm of ['web', 'db', 'odd']) addVm(service, vm);

type Vm = {
  readonly name: string;
  readonly state: string;
  readonly protection: readonly {
    readonly lastBackupStatus?: string;
    readonly lastBackupTime?: string;
    readonly lastRecoveryPoint?: string;
  }[];
};

async function listed(name: string): Promise<Vm> {
  const { vms } = await json<{ readonly vms: readonly Vm[] }>('vm', 'list');
  const found = vms.filter((vm) => vm.name === name);
  assert.equal(found.length, 1);
  return found[0]!;
}

const away = (vm: string): string => join(images, `.${vm}`);

test('a failed backup never stands for one: the newest point is shown, and when the last try failed', async () => {
  await text('host', 'add', 'lab', '--connect', `images:${images}`);
  await text('vault', 'create', 'v1');
  await text('protect', 'web');
  await text('backup', 'web');
  const date = '\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d';
  assert.match(await text('vm', 'list'), new RegExp(`^web +lab +off .* ${date}$`, 'm'));
  const [before] = (await listed('web')).protection;
  assert.equal(before!.lastBackupStatus, 'Completed');

  renameSync(join(images, 'web'), away('web'));
  await fails(['backup', 'web'], 1, /doesn't exist \(VMNotFoundV2\).*\[UserErrorVmNotFoundV2\]/);
  renameSync(away('web'), join(images, 'web'));
  await text('host', 'refresh', 'lab');
  const failed = `^web +lab +off .* protected +lab/v1 +${date} \\(last try failed [-\\d: ]+\\)$`;
  assert.match(await text('vm', 'list'), new RegExp(failed, 'm'));
  assert.match(await text('vm', 'show', 'web'), /^Last backup: +Failed\nFailed at: +\d{4}-/m);
  const [after] = (await listed('web')).protection;
  assert.equal(after!.lastBackupStatus, 'Failed');
  assert.equal(after!.lastRecoveryPoint, before!.lastRecoveryPoint);
  assert.ok(after!.lastBackupTime! > before!.lastBackupTime!);
  assert.match(
    await text('doctor'),
    /^warning: lab\/web: its newest backup failed at .* \[UserErrorVmNotFoundV2\]; its newest recovery point is of .*\n {2}mend .* holdfast backup lab\/web$/m,
  );

  await text('backup', 'web');
  assert.match(await text('vm', 'list'), new RegExp(`^web +lab +off .* ${date}$`, 'm'));
});

test('a protected VM that is gone is listed as gone, also before its first point, and the doctor warns of it', async () => {
  await text('protect', 'db');
  for (const vm of ['web', 'db', 'odd']) renameSync(join(images, vm), away(vm));
  await text('host', 'refresh', 'lab');
  const list = await text('vm', 'list');
  assert.match(list, /^web +lab +gone +0 +protected +lab\/v1 +\d{4}-/m);
  assert.match(list, /^db +lab +gone +0 +first backup pending +lab\/v1 +-$/m);
  assert.match(list, /\n2 VMs\.\n$/, 'nothing is kept of the one that was not protected');
  assert.equal((await listed('db')).state, 'gone');
  const doctor = await text('doctor');
  for (const vm of ['web', 'db'])
    assert.match(doctor, new RegExp(`^warning: lab/${vm}: it is protected, and not among`, 'm'));
  renameSync(away('db'), join(images, 'db'));
  await text('backup', 'db');
  assert.match(await text('vm', 'list'), /^db +lab +off +2 +protected +lab\/v1 +\d{4}-/m);
});
