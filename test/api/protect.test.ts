/** Protection, backups and their ends, through Azure's own SDK over https. */
import assert from 'node:assert/strict';
import { closeSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AzureIaaSVMProtectedItem } from '@azure/arm-recoveryservicesbackup';
import { backupLab, VAULT } from './backup-lab.ts';
import { addImages, GROUP, type TestService } from '../../src/service/testing/test-service.ts';

const DISKS = [
  { name: 'a', sizeBytes: 1 << 20 },
  { name: 'b', sizeBytes: 1 << 20 },
];
const oneVm = (made: TestService): void => void addImages(made, 'Web', DISKS);

test('a VM is found, protected, backed up and shown, every answer as the SDK models it', async (t) => {
  const lab = await backupLab(t, oneVm);
  const { client } = lab;
  const protectable = await all(client.backupProtectableItems.list(VAULT, GROUP));
  assert.deepEqual(
    protectable.map(({ name, properties }) => [name, properties?.protectableItemType]),
    [[`iaasvmcontainerv2;${GROUP};web`, 'Microsoft.Compute/virtualMachines']],
  );
  await lab.protect('web');
  assert.deepEqual(await all(client.backupProtectableItems.list(VAULT, GROUP)), []);
  const pending = await lab.item('web');
  assert.equal(pending.protectionState, 'IRPending');
  assert.equal(pending.lastBackupTime?.toISOString(), '2001-01-01T00:00:00.000Z');
  assert.equal(pending.lastBackupStatus, '');

  const job = await lab.ended(await lab.startBackup('web', '2031-05-04T03:02:01.000Z'));
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  assert.equal(job.operation, 'Backup');
  assert.equal(job.entityFriendlyName, 'Web');
  assert.match(job.duration ?? '', /^PT(\d+H)?(\d+M)?(\d+(\.\d+)?S)?$/);
  assert.deepEqual(
    job.extendedInfo?.tasksList?.map(({ taskId, status }) => [taskId, status]),
    [
      ['Take Snapshot', 'Completed'],
      ['Transfer data to vault', 'Completed'],
    ],
  );

  const item = await lab.item('web');
  assert.equal(item.protectionState, 'Protected');
  assert.equal(item.lastBackupStatus, 'Completed');
  assert.equal(item.healthStatus, 'Passed');
  assert.equal(item.healthDetails?.[0]?.code, 400_239);
  assert.equal(item.kpisHealths?.['BackupHealth']?.resourceHealthStatus, 'Healthy');
  assert.equal(item.extendedInfo?.recoveryPointCount, 1);
  assert.equal(item.policyId, lab.policyId);
  const [listed] = await all(
    client.backupProtectedItems.list(VAULT, GROUP, {
      filter: "backupManagementType eq 'AzureIaasVM' and itemType eq 'VM'",
    }),
  );
  assert.equal(listed?.properties?.protectedItemType, 'Microsoft.Compute/virtualMachines');
  assert.equal((listed!.properties as AzureIaaSVMProtectedItem).friendlyName, 'Web');
});

test('whether a VM is protected, and could be, is told before anybody asks for it', async (t) => {
  const lab = await backupLab(t, oneVm);
  const status = async (vm: string) =>
    await lab.client.backupStatus.get('local', { resourceType: 'VM', resourceId: lab.vmId(vm) });
  const check = async (vm: string) =>
    await lab.client.protectionIntentOperations.validate('local', {
      resourceType: 'VM',
      resourceId: lab.vmId(vm),
      vaultId: lab.vault,
    });
  assert.equal((await status('web')).protectionStatus, 'NotProtected');
  assert.equal((await check('web')).status, 'Succeeded');
  assert.equal((await check('nobody')).errorCode, 'ResourceNotFound');
  await assert.rejects(status('nobody'), { code: 'ResourceNotFound' });
  await lab.protect('web');
  const after = await status('WEB');
  assert.equal(after.protectionStatus, 'Protected');
  assert.equal(after.vaultId, lab.vault);
  assert.equal(after.policyName, 'DefaultPolicy');
  assert.equal((await check('web')).errorCode, 'UserErrorInitialBackupPending');
});

test('a recovery point says when it goes, what it holds and what it lacks', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  await lab.ended(await lab.startBackup('web', '2031-05-04T03:02:01.000Z'));
  const [taken] = await lab.points('web');
  const { point } = taken!;
  assert.match(taken!.name, /^\d{15,18}$/);
  assert.equal(point.recoveryPointType, 'CrashConsistent');
  assert.deepEqual(point.recoveryPointTierDetails, [{ type: 'HardenedRP', status: 'Valid' }]);
  assert.equal(point.recoveryPointProperties?.expiryTime, '2031-05-04T03:02:01.000Z');
  assert.deepEqual(point.recoveryPointDiskConfiguration, {
    numberOfDisksIncludedInBackup: 2,
    numberOfDisksAttachedToVm: 2,
    includedDiskList: [
      { lun: -1, name: 'a' },
      { lun: 0, name: 'b' },
    ],
    excludedDiskList: [],
  });
  const shown = await lab.client.recoveryPoints.get(...lab.names('web'), taken!.name);
  assert.equal(shown.properties?.objectType, 'IaasVMRecoveryPoint');
});

test('lists of other kinds than VMs are empty, whatever is protected', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  const lists = [
    'backupProtectedItems',
    'backupProtectionContainers',
    'backupProtectableItems',
    'backupJobs',
  ];
  for (const list of lists) {
    for (const type of ['AzureWorkload', 'AzureStorage']) {
      const filter = encodeURIComponent(`backupManagementType eq '${type}'`);
      const answer = await lab.call('GET', `${lab.vault}/${list}?$filter=${filter}`);
      assert.deepEqual(answer.body, { value: [] }, list);
    }
  }
  const wrong = await lab.call('GET', `${lab.vault}/backupJobs?$filter=colour%20eq%20'blue'`);
  assert.equal(wrong.status, 400);
});

test('an operation answers at every path that clients poll, a deletion with 204', async (t) => {
  const lab = await backupLab(t, oneVm);
  const made = await lab.put('web', { policyId: lab.policyId });
  const id = new URL(String(made.headers['azure-asyncoperation'])).pathname.split('/').at(-1)!;
  const paths = [
    new URL(String(made.headers['azure-asyncoperation'])).pathname,
    `${lab.vault}/backupOperations/${id}`,
    `${lab.itemPath('web')}/operationsStatus/${id}`,
  ];
  for (const path of paths) {
    const { status, body } = await lab.call('GET', path);
    assert.equal(status, 200);
    assert.equal(body.status, 'Succeeded');
  }
  const result = await lab.call('GET', new URL(String(made.headers['location'])).pathname);
  assert.equal(result.body.properties.friendlyName, 'Web');
  const gone = await lab.call('DELETE', lab.itemPath('web').toUpperCase().replaceAll(';', '%3B'));
  const location = new URL(String(gone.headers['location'])).pathname;
  assert.equal((await lab.call('GET', location)).status, 204);
  assert.equal((await lab.call('GET', `${lab.vault}/backupOperations/nothing`)).status, 404);
});

test('M29 a backup by hand is full when it is the first, an increment later, and kept until the date asked for', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  const dates = ['2027-01-02T03:04:05.000Z', '2099-12-31T00:00:00.000Z'];
  for (const date of dates) await lab.ended(await lab.startBackup('web', date));
  const points = await lab.points('web');
  assert.deepEqual(
    points.map(({ point }) => point.recoveryPointProperties?.expiryTime),
    dates.toReversed(),
  );
  const changed = points.map(({ point }) =>
    Array.from(point.recoveryPointAdditionalInfo!.matchAll(/changed (\d+)/g), ([, n]) => Number(n)),
  );
  assert.deepEqual(changed, [
    [0, 0],
    [1 << 20, 1 << 20],
  ]);
});

test('M28 R26 through the API a change of 1 KB stores one block of 16 KiB, the first backup all of them', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  await lab.ended(await lab.startBackup('web'));
  const image = openSync(join(lab.made.images, 'Web', 'a.raw'), 'r+');
  writeSync(image, Buffer.alloc(1024, 0xa5), 0, 1024, 300_000);
  closeSync(image);
  await lab.ended(await lab.startBackup('web'));
  const [newest, first] = await lab.points('web');
  assert.match(first!.point.recoveryPointAdditionalInfo!, /a: size 1048576, changed 1048576/);
  assert.match(newest!.point.recoveryPointAdditionalInfo!, /a: size 1048576, changed 16384/);
  assert.match(newest!.point.recoveryPointAdditionalInfo!, /b: size 1048576, changed 0/);
});

test('M30 R27 through the API each point says what it has of its own: D1+D2, then D3, then D2′+D3′', async (t) => {
  const block = 16 * 1024;
  const lab = await backupLab(t, (made) => {
    const folder = addImages(made, 'web', [{ name: 'a', sizeBytes: 4 * block }]);
    writeFileSync(join(folder, 'a.raw'), Buffer.alloc(4 * block));
  });
  await lab.protect('web');
  const steps: readonly (readonly [number, number])[][] = [
    [
      [0, 1],
      [1, 2],
    ],
    [[2, 3]],
    [
      [1, 4],
      [2, 5],
    ],
  ];
  for (const step of steps) {
    const image = openSync(join(lab.made.images, 'web', 'a.raw'), 'r+');
    for (const [place, value] of step) {
      writeSync(image, Buffer.alloc(block, value), 0, block, place * block);
    }
    closeSync(image);
    assert.equal((await lab.ended(await lab.startBackup('web'))).status, 'Completed');
  }
  const points = (await lab.points('web')).toReversed();
  const own = points.map(({ point }) =>
    Number(/changed (\d+)/.exec(point.recoveryPointAdditionalInfo!)![1]),
  );
  assert.deepEqual(own, [2 * block, block, 2 * block]);
});

test('M33 deleting the data of a VM keeps it restorable for 14 days, or removes it at once without soft delete', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  await lab.ended(await lab.startBackup('web'));
  await lab.jobOf(await lab.call('DELETE', lab.itemPath('web')));
  const deleted = await lab.item('web');
  assert.equal(deleted.protectionState, 'ProtectionStopped');
  assert.equal(deleted.isScheduledForDeferredDelete, true);
  assert.match(deleted.deferredDeleteTimeRemaining!, /^13\.23:59:\d\d$/);
  assert.equal(deleted.softDeleteRetentionPeriodInDays, 14);
  const [point] = await lab.points('web');
  assert.equal(point!.point.recoveryPointProperties?.isSoftDeleted, true);
  for (const refused of [
    await lab.put('web', { policyId: lab.policyId }),
    await lab.call('DELETE', lab.itemPath('web')),
    await lab.call('POST', `${lab.itemPath('web')}/backup`, {
      properties: { objectType: 'IaasVMBackupRequest' },
    }),
  ]) {
    assert.equal(refused.status, 409);
    assert.equal(refused.body.error.code, 'UserErrorItemSoftDeleted');
  }
  const undeleted = await lab.put('web', {
    policyId: '',
    isRehydrate: true,
    protectionState: 'ProtectionStopped',
  });
  assert.equal((await lab.job(await lab.jobOf(undeleted))).operation, 'Undelete');
  const back = await lab.item('web');
  assert.equal(back.protectionState, 'ProtectionStopped');
  assert.equal(back.isScheduledForDeferredDelete, false);

  const config = `${lab.vault}/backupconfig/vaultconfig`;
  const off = { properties: { softDeleteFeatureState: 'Disabled' } };
  assert.equal((await lab.call('PATCH', config, off)).status, 200);
  const job = await lab.ended(await lab.jobOf(await lab.call('DELETE', lab.itemPath('web'))));
  assert.equal(job.operation, 'DeleteBackupData');
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  const { status, body } = await lab.call('GET', lab.itemPath('web'));
  assert.equal(status, 404);
  assert.equal(body.error.code, 'BMSUserErrorProtectedItemNotFound');
  assert.equal((await lab.call('DELETE', lab.itemPath('web'))).status, 204);
});

test('M34 R53 stopping with data retained ends backups and keeps points, in both ways; resuming brings backups back', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  await lab.ended(await lab.startBackup('web'));
  const forms = [
    { asked: { policyId: '', protectionState: 'ProtectionStopped' }, state: 'ProtectionStopped' },
    { asked: { policyId: '' }, state: 'ProtectionStopped' },
    { asked: { protectionState: 'ProtectionStopped' }, state: 'ProtectionStopped' },
    {
      asked: { protectionState: 'BackupsSuspended', policyId: lab.policyId },
      state: 'BackupsSuspended',
    },
  ];
  for (const { asked, state } of forms) {
    const job = await lab.job(await lab.jobOf(await lab.put('web', asked)));
    assert.equal(job.operation, 'DisableBackup');
    assert.deepEqual(job.extendedInfo?.tasksList, []);
    assert.equal((await lab.item('web')).protectionState, state);
    const refused = await lab.call('POST', `${lab.itemPath('web')}/backup`, {
      properties: { objectType: 'IaasVMBackupRequest' },
    });
    assert.equal(refused.status, 409);
    assert.equal(refused.body.error.code, 'UserErrorProtectionStopped');
    assert.equal((await lab.points('web')).length, 1);
    await lab.protect('web');
    assert.equal((await lab.item('web')).protectionState, 'Protected');
  }
  await lab.ended(await lab.startBackup('web'));
  assert.equal((await lab.points('web')).length, 2);
});

test('M35 R55 R56 backups of a VM that is gone fail with UserErrorVmNotFoundV2; one of its name takes its points over', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  await lab.ended(await lab.startBackup('web'));
  rmSync(join(lab.made.images, 'Web'), { recursive: true });
  const failed = await lab.ended(await lab.startBackup('web'));
  assert.equal(failed.status, 'Failed');
  const [error] = failed.errorDetails ?? [];
  assert.equal(error?.errorCode, 400_094);
  assert.equal(error?.errorTitle, 'UserErrorVmNotFoundV2');
  assert.match(error?.errorString ?? '', /VMNotFoundV2/);
  assert.ok((error?.recommendations?.length ?? 0) > 0);
  const item = await lab.item('web');
  assert.equal(item.lastBackupStatus, 'Failed');
  assert.equal(item.healthStatus, 'ActionRequired');
  assert.equal(item.healthDetails?.[0]?.code, 400_094);
  assert.equal((await lab.points('web')).length, 1);

  addImages(lab.made, 'Web', DISKS);
  await lab.discover();
  await lab.jobOf(await lab.put('web', { policyId: lab.policyId }));
  const job = await lab.ended(await lab.startBackup('web'));
  assert.equal(job.status, 'Completed', JSON.stringify(job.errorDetails));
  assert.equal((await lab.points('web')).length, 2);
});

test('disks are chosen, the choice stays with a change of the policy and goes when it is emptied', async (t) => {
  const lab = await backupLab(t, oneVm);
  const none = await lab.put('web', {
    policyId: lab.policyId,
    extendedProperties: {
      diskExclusionProperties: { diskLunList: [7], isInclusionList: true },
    },
  });
  assert.equal(none.status, 400);
  assert.equal(none.body.error.code, 'UserErrorInvalidDiskSelection');
  const diskExclusionProperties = { diskLunList: [0], isInclusionList: false };
  await lab.protect('web', { extendedProperties: { diskExclusionProperties } });
  await lab.protect('web');
  const item = await lab.item('web');
  assert.deepEqual(item.extendedProperties?.diskExclusionProperties, diskExclusionProperties);
  await lab.ended(await lab.startBackup('web'));
  const [{ point } = assert.fail('no point')] = await lab.points('web');
  assert.deepEqual(point.recoveryPointDiskConfiguration?.excludedDiskList, [{ lun: 0, name: 'b' }]);
  assert.equal(point.recoveryPointDiskConfiguration?.numberOfDisksAttachedToVm, 2);
  await lab.protect('web', { extendedProperties: {} });
  assert.equal((await lab.item('web')).extendedProperties, undefined);
});

test('what cannot work is refused before it is accepted', async (t) => {
  const lab = await backupLab(t, oneVm);
  const refusals: readonly (readonly [string, object, number, string])[] = [
    ['nobody', { policyId: lab.policyId }, 404, 'ResourceNotFound'],
    ['web', { policyId: `${lab.vault}/backupPolicies/none` }, 404, 'BMSUserErrorPolicyNotFound'],
    ['web', { policyId: lab.policyId.replace('/v1/', '/v2/') }, 400, 'InvalidRequestContent'],
    ['web', { policyId: 'DefaultPolicy' }, 400, 'InvalidRequestContent'],
    ['web', {}, 400, 'InvalidRequestContent'],
    ['web', { policyId: '' }, 404, 'BMSUserErrorProtectedItemNotFound'],
    ['web', { isRehydrate: true }, 404, 'BMSUserErrorProtectedItemNotFound'],
    [
      'web',
      { policyId: lab.policyId, sourceResourceId: lab.vmId('other') },
      400,
      'InvalidRequestContent',
    ],
    [
      'web',
      { policyId: lab.policyId, protectedItemType: 'AzureFileShareProtectedItem' },
      400,
      'NotSupported',
    ],
  ];
  for (const [vm, asked, status, code] of refusals) {
    const answer = await lab.put(vm, asked);
    assert.deepEqual([answer.status, answer.body.error.code], [status, code]);
  }
  await lab.protect('web');
  const expiries = ['2001-01-01T00:00:00Z', '9999-01-01T00:00:00Z', 'soon'];
  for (const recoveryPointExpiryTimeInUTC of expiries) {
    const properties = { objectType: 'IaasVMBackupRequest', recoveryPointExpiryTimeInUTC };
    const answer = await lab.call('POST', `${lab.itemPath('web')}/backup`, { properties });
    assert.equal(answer.status, 400);
  }
  const odd = lab.itemPath('web').replace(/VM;.*$/, `VM;iaasvmcontainerv2;${GROUP};other`);
  assert.equal((await lab.call('GET', odd)).status, 404);
  const fabric = lab.itemPath('web').replace('/Azure/', '/Windows/');
  assert.equal((await lab.call('GET', fabric)).status, 404);
});

async function all<T>(pages: AsyncIterable<T>): Promise<readonly T[]> {
  const found: T[] = [];
  for await (const one of pages) found.push(one);
  return found;
}
