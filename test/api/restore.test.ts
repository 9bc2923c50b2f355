/** Restores through Azure's own API over https, the restored bytes compared. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { AzureIaaSVMJob } from '@azure/arm-recoveryservicesbackup';
import { putStorageAccount } from '#service';
import { addImages, GROUP, type TestService } from '../../src/service/testing/test-service.ts';
import { backupLab, type BackupLab } from './backup-lab.ts';

const R70 = /^web-(osdisk|datadisk-\d+)-\d{8}-\d{6}\.qcow2$/;
const NAMES = ['a', 'b', 'c'];

const threeDisks = (made: TestService): void =>
  void addImages(
    made,
    'web',
    NAMES.map((name) => ({ name, sizeBytes: 1 << 20 })),
  );

/** Protected, backed up once. @returns the point's name. */
async function backedUp(lab: BackupLab, vm = 'web'): Promise<string> {
  await lab.protect(vm);
  const job = await lab.ended(await lab.startBackup(vm));
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  return (await lab.points(vm))[0]!.name;
}

const filesOf = (job: AzureIaaSVMJob): readonly string[] => {
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  return job.extendedInfo!.propertyBag!['Restored Files']!.split(', ');
};

const same = (a: string, b: string): void =>
  void execFileSync('qemu-img', ['compare', '-q', '-f', 'raw', '-F', 'qcow2', a, b]);

const images = (lab: BackupLab): string => join(lab.made.images, 'web');

test('M24 R70 disks are restored to a storage account under their names: all, the system disk, chosen LUNs', async (t) => {
  const lab = await backupLab(t, threeDisks);
  const point = await backedUp(lab);
  const cases: readonly (readonly [number[] | undefined, readonly string[]])[] = [
    [undefined, ['a', 'b', 'c']],
    [[], ['a']],
    [[1], ['a', 'c']],
  ];
  for (const [luns, disks] of cases) {
    const asked = luns === undefined ? {} : { restoreDiskLunList: luns };
    const job = await lab.ended(await lab.jobOf(await lab.restore('web', point, asked)));
    assert.equal(job.operation, 'Restore');
    const bag = job.extendedInfo!.propertyBag!;
    assert.equal(bag['Target Storage Account Name'], 'sa1');
    assert.match(bag['Bytes in all']!, /^\d+$/);
    assert.match(bag['Bytes per second']!, /^\d+$/);
    const restored = filesOf(job).filter((path) => path.endsWith('.qcow2'));
    const folder = dirname(restored[0]!);
    assert.equal(dirname(folder), lab.accountFolder);
    assert.deepEqual(
      restored.map((path) => R70.exec(path.slice(folder.length + 1))?.[1]),
      disks.map((name) => (name === 'a' ? 'osdisk' : `datadisk-${NAMES.indexOf(name) - 1}`)),
    );
    for (const [index, name] of disks.entries()) {
      same(join(images(lab), `${name}.raw`), restored[index]!);
    }
    const others = readdirSync(folder).filter((name) => !name.endsWith('.qcow2'));
    assert.ok(others.length > 0, 'the definition of the VM lies beside its disks');
  }
});

test('an older point is restored as it was, while the VM has gone on', async (t) => {
  const lab = await backupLab(t, threeDisks);
  const point = await backedUp(lab);
  const path = join(images(lab), 'b.raw');
  const before = readFileSync(path);
  const image = openSync(path, 'r+');
  writeSync(image, Buffer.alloc(70_000, 7), 0, 70_000, 100_000);
  closeSync(image);
  await lab.ended(await lab.startBackup('web'));
  const job = await lab.ended(await lab.jobOf(await lab.restore('web', point, {})));
  const restored = filesOf(job).find((file) => file.includes('datadisk-0'))!;
  execFileSync('qemu-img', ['convert', '-O', 'raw', restored, `${restored}.raw`]);
  assert.deepEqual(readFileSync(`${restored}.raw`), before);
});

test('OriginalLocation replaces the disks of the VM that is there, and keeps what it had as a point', async (t) => {
  const lab = await backupLab(t, threeDisks);
  const point = await backedUp(lab);
  const path = join(images(lab), 'a.raw');
  const good = readFileSync(path);
  const image = openSync(path, 'r+');
  writeSync(image, Buffer.alloc(50_000, 9), 0, 50_000, 0);
  closeSync(image);
  const answer = await lab.restore('web', point, { recoveryType: 'OriginalLocation' });
  const job = await lab.ended(await lab.jobOf(answer));
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  const restored = filesOf(job).find((file) => /osdisk|a\.|\ba\b/.test(file))!;
  execFileSync('qemu-img', ['convert', '-O', 'raw', restored, `${lab.accountFolder}/a.check`]);
  assert.deepEqual(readFileSync(`${lab.accountFolder}/a.check`), good);
  assert.equal((await lab.points('web')).length, 2);
});

test('AlternateLocation makes a VM of another name, which is found at once', async (t) => {
  const lab = await backupLab(t, threeDisks);
  const point = await backedUp(lab);
  const asked = {
    recoveryType: 'AlternateLocation',
    targetVirtualMachineId: lab.vmId('web2'),
    targetResourceGroupId: lab.group,
  };
  const job = await lab.ended(await lab.jobOf(await lab.restore('web', point, asked)));
  const restored = filesOf(job).filter((file) => file.endsWith('.qcow2'));
  assert.equal(restored.length, 3);
  same(join(images(lab), 'a.raw'), restored[0]!);
  assert.equal(job.extendedInfo!.propertyBag!['Target VM'], 'web2');
  const vms = await lab.call('GET', `${lab.group}/providers/Microsoft.Compute/virtualMachines`);
  const names = vms.body.value.map(({ name }: { readonly name: string }) => name);
  assert.deepEqual(names, ['web', 'web2']);
});

test('a VM that is gone has no disks to replace, and comes back under its name', async (t) => {
  const lab = await backupLab(t, threeDisks);
  const point = await backedUp(lab);
  const original = join(lab.accountFolder, 'a.original');
  copyFileSync(join(images(lab), 'a.raw'), original);
  rmSync(images(lab), { recursive: true });
  const inPlace = await lab.restore('web', point, { recoveryType: 'OriginalLocation' });
  assert.deepEqual([inPlace.status, inPlace.body.error.code], [404, 'UserErrorVmNotFoundV2']);
  const asked = {
    recoveryType: 'AlternateLocation',
    targetVirtualMachineId: lab.vmId('web'),
  } as const;
  const job = await lab.ended(await lab.jobOf(await lab.restore('web', point, asked)));
  same(original, filesOf(job)[0]!);
  const backup = await lab.ended(await lab.startBackup('web'));
  // Its images are others now, which is told.
  assert.match(backup.status!, /^Completed/, JSON.stringify(backup));
  assert.equal((await lab.points('web')).length, 2);
  const again = await lab.restore('web', point, asked);
  assert.deepEqual([again.status, again.body.error.code], [409, 'VmExists']);
});

test('M22 restores to one account wait for each other, those to another go beside them', async (t) => {
  const lab = await backupLab(t, threeDisks, { settings: { restoresPerStorageAccount: 1 } });
  const folder = join(dirname(lab.made.data), 'other');
  mkdirSync(folder);
  await putStorageAccount(lab.service, { group: GROUP, name: 'sa2', path: folder });
  const point = await backedUp(lab);
  const sa2 = { storageAccountId: lab.accountId.replace(/sa1$/, 'sa2') };
  const ids: string[] = [];
  for (const asked of [{}, {}, {}, sa2, {}]) {
    ids.push(await lab.jobOf(await lab.restore('web', point, asked)));
  }
  const times = [];
  for (const id of ids) {
    const job = await lab.ended(id);
    assert.equal(job.status, 'Completed', JSON.stringify(job));
    const [{ startTime, endTime } = assert.fail('no task')] = job.extendedInfo!.tasksList!;
    times.push({ from: startTime!.getTime(), to: endTime!.getTime() });
  }
  const beside = times.splice(3, 1)[0]!;
  const inOrder = times.toSorted((a, b) => a.from - b.from);
  for (const [index, { from }] of inOrder.entries()) {
    if (index > 0) assert.ok(inOrder[index - 1]!.to <= from, 'two at once in one account');
  }
  assert.ok(beside.from < inOrder.at(-1)!.from, 'it waited for the queue of the other account');
});

test('a restore that cannot work is refused, and a validation says why without starting one', async (t) => {
  const lab = await backupLab(t, threeDisks);
  const point = await backedUp(lab);
  const other = lab.accountId.replace(/sa1$/, 'none');
  const newVm = { recoveryType: 'AlternateLocation' } as const;
  const refusals: readonly (readonly [object, number, string])[] = [
    [{ storageAccountId: other }, 404, 'ResourceNotFound'],
    [{ storageAccountId: 'sa1' }, 400, 'InvalidRequestContent'],
    [{ storageAccountId: '' }, 400, 'InvalidRequestContent'],
    [{ restoreDiskLunList: [5] }, 400, 'UserErrorInvalidDiskSelection'],
    [{ recoveryPointId: '123456789012345' }, 400, 'InvalidRequestContent'],
    [{ sourceResourceId: lab.vmId('other') }, 400, 'InvalidRequestContent'],
    [{ region: 'westeurope' }, 400, 'LocationNotAvailableForResourceType'],
    [{ originalStorageAccountOption: true }, 400, 'NotSupported'],
    [{ encryptionDetails: { encryptionEnabled: true } }, 400, 'NotSupported'],
    [{ identityInfo: { isSystemAssignedIdentity: true } }, 400, 'NotSupported'],
    [{ zones: ['1'] }, 400, 'NotSupported'],
    [{ diskEncryptionSetId: '/x' }, 400, 'NotSupported'],
    [{ objectType: 'IaasVMRestoreWithRehydrationRequest' }, 400, 'NotSupported'],
    [newVm, 400, 'InvalidRequestContent'],
    [{ ...newVm, targetVirtualMachineId: lab.vmId('web') }, 409, 'VmExists'],
    // The host `lab` is a folder of images.
    [
      { ...newVm, targetVirtualMachineId: lab.vmId('x'), startVirtualMachine: true },
      400,
      'DefinitionUnsupported',
    ],
    [
      { ...newVm, targetVirtualMachineId: lab.vmId('x').replace(`/${GROUP}/`, '/nohost/') },
      404,
      'ResourceNotFound',
    ],
    [{ targetResourceGroupId: lab.group.replace(/lab$/, 'none') }, 404, 'ResourceGroupNotFound'],
    [{ colour: 'blue' }, 400, 'InvalidRequestContent'],
  ];
  for (const [asked, status, code] of refusals) {
    const answer = await lab.restore('web', point, asked);
    assert.deepEqual(
      [answer.status, answer.body.error.code],
      [status, code],
      JSON.stringify(asked),
    );
  }
  const unknown = await lab.restore('web', '123456789012345', {});
  assert.equal(unknown.status, 404);
  assert.equal(unknown.body.error.code, 'BMSUserErrorRecoveryPointNotFound');

  const validate = async (luns: number[]) =>
    await lab.client.operation.validate('v1', GROUP, {
      id: lab.vault,
      properties: {
        objectType: 'ValidateIaasVMRestoreOperationRequest',
        restoreRequest: {
          objectType: 'IaasVMRestoreRequest',
          recoveryPointId: point,
          recoveryType: 'RestoreDisks',
          sourceResourceId: lab.vmId('web'),
          storageAccountId: lab.accountId,
          restoreDiskLunList: luns,
        },
      },
    });
  assert.deepEqual((await validate([0])).validateOperationResponse?.validationResults, []);
  const [fault] = (await validate([9])).validateOperationResponse?.validationResults ?? [];
  assert.equal(fault?.code, 'UserErrorInvalidDiskSelection');
  const jobs = await lab.call(
    'GET',
    `${lab.vault}/backupJobs?$filter=operation eq 'Restore'`.replaceAll(' ', '+'),
  );
  assert.deepEqual(jobs.body.value, []);
  for (const action of ['provisionInstantItemRecovery', 'revokeInstantItemRecovery', 'move']) {
    const path = `${lab.itemPath('web')}/recoveryPoints/${point}/${action}`;
    const { status, body } = await lab.call('POST', path, {});
    assert.deepEqual([status, body.error.code], [400, 'NotSupported']);
  }
});

test('points are listed newest first, and by their time', async (t) => {
  const lab = await backupLab(t, threeDisks);
  await backedUp(lab);
  await lab.ended(await lab.startBackup('web'));
  const [newest, oldest, ...others] = await lab.points('web');
  assert.deepEqual(others, []);
  assert.ok(newest!.point.recoveryPointTime! >= oldest!.point.recoveryPointTime!);
  const path = `${lab.itemPath('web')}/recoveryPoints?$filter=`;
  const listed = async (filter: string) =>
    (await lab.call('GET', path + encodeURIComponent(filter))).body.value.length as number;
  const around = "startDate eq '2020-01-01 01:00:00 AM' and endDate eq '2099-02-01 01:00:00 PM'";
  assert.equal(await listed(around), 2);
  assert.equal(await listed("endDate eq '2020-02-01 01:00:00 PM'"), 0);
  const recommended = lab.client.recoveryPointsRecommendedForMove.list(...lab.names('web'), {});
  for await (const point of recommended) assert.fail(point.name);
});
