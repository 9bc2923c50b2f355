/** Protection, backups and restores by the unmodified `az backup`, of a VM whose images lie in a folder. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { azLab, DISKS, IN_VAULT, type AzLab } from './az-lab.ts';
import { Serving } from './serving.ts';

const ITEM = `${IN_VAULT} -c web -i web --backup-management-type AzureIaasVM`;
const VM_ITEM = `${ITEM} --workload-type VM`;

const serving = new Serving();
let lab: AzLab;
let point = '';

before(async () => {
  lab = await azLab(serving);
});

test('az finds a VM unprotected, protects it, and then finds its vault', async () => {
  const { az } = lab;
  assert.equal(await az('backup protection check-vm --vm web -g lab'), '');
  const job = await az(`backup protection enable-for-vm ${IN_VAULT} --vm web -p DefaultPolicy`);
  assert.equal(job.properties.operation, 'ConfigureBackup');
  assert.equal(job.properties.status, 'Completed');
  const found = await az('backup protection check-vm --vm web -g lab');
  assert.match(JSON.stringify(found), /vaults\/v1/);
});

test('az backs up now, waits for the job, and shows it, the point, item and container', async () => {
  const { az } = lab;
  const job = await az(`backup protection backup-now ${ITEM} --retain-until 31-12-2030`);
  assert.equal(job.properties.operation, 'Backup');
  const { properties } = await lab.finished(job);
  assert.equal(properties.status, 'Completed', JSON.stringify(properties));
  assert.deepEqual(
    properties.extendedInfo.tasksList.map(({ taskId, status }) => [taskId, status]),
    [
      ['Take Snapshot', 'Completed'],
      ['Transfer data to vault', 'Completed'],
    ],
  );
  const points = await az(`backup recoverypoint list ${VM_ITEM}`);
  assert.equal(points.length, 1);
  assert.equal(points[0].tierType, 'VaultStandard');
  point = points[0].name;
  const shown = await az(`backup recoverypoint show ${VM_ITEM} -n ${point}`);
  assert.match(shown.properties.recoveryPointProperties.expiryTime, /^2030-12-31T00:00:00/);
  const [listed] = await az(`backup job list ${IN_VAULT} --operation Backup --status Completed`);
  assert.equal(listed.name, job.name);
  const [item] = await az(`backup item list ${IN_VAULT}`);
  assert.equal(item.properties.lastBackupStatus, 'Completed');
  const type = '--backup-management-type AzureIaasVM';
  const [container] = await az(`backup container list ${IN_VAULT} ${type}`);
  assert.equal(container.properties.friendlyName, 'web');
});

test('az restores disks: all, the system disk only, chosen LUNs; every byte as it was', async () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['--target-resource-group lab', DISKS],
    ['--restore-only-osdisk true', ['a']],
    ['--diskslist 1', ['a', 'c']],
  ];
  for (const [more, disks] of cases) {
    const to = `-r ${point} --storage-account sa1 ${more}`;
    const job = await lab.az(`backup restore restore-disks ${IN_VAULT} -c web -i web ${to}`);
    const restored = await lab.imagesOf(job);
    assert.equal(restored.length, disks.length, more);
    for (const [index, name] of disks.entries()) {
      const original = join(lab.images, 'web', `${name}.raw`);
      execFileSync('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', original, restored[index]!]);
    }
  }
});

test('az is refused what is unknown or cannot be, with its exit code and the reason', async () => {
  const { az, refused } = lab;
  const none = `${IN_VAULT} -c none -i none --backup-management-type AzureIaasVM`;
  await refused(`backup protection backup-now ${none}`, 3, /Item not found/);
  await refused(`backup job show ${IN_VAULT} -n none`, 3, /BMSUserErrorJobNotFound/);
  await refused(
    `backup recoverypoint show ${VM_ITEM} -n 123456789012345`,
    1,
    /BMSUserErrorRecoveryPointNotFound/,
  );
  const enable = `backup protection enable-for-vm ${IN_VAULT}`;
  await refused(`${enable} --vm nobody -p DefaultPolicy`, 1, /ResourceNotFound/);
  await refused(`${enable} --vm web -p none`, 1, /BMSUserErrorPolicyNotFound/);
  await refused('backup vault delete -g lab -n v1 -y', 1, /existing resources within the vault/);
  const [job] = await az(`backup job list ${IN_VAULT} --operation Backup`);
  await refused(`backup job stop ${IN_VAULT} -n ${job.name}`, 1, /UserErrorJobNotCancellable/);
  const past = `backup protection backup-now ${ITEM} --retain-until 01-01-2001`;
  await refused(past, 1, /UserErrorInvalidRecoveryPointExpiry/);
});

test('az stops with data retained, resumes, deletes the data, undeletes and resumes', async () => {
  const { az, refused } = lab;
  const show = `backup item show ${IN_VAULT} -c web -n web --workload-type VM`;
  const state = async () =>
    (await az(`${show} --backup-management-type AzureIaasVM`)).properties as {
      readonly protectionState: string;
      readonly isScheduledForDeferredDelete: boolean;
    };
  await az(`backup protection disable ${VM_ITEM} -y`);
  assert.equal((await state()).protectionState, 'ProtectionStopped');
  await refused(`backup protection backup-now ${ITEM}`, 1, /UserErrorProtectionStopped/);
  await az(`backup protection resume ${VM_ITEM} -p DefaultPolicy`);
  assert.equal((await state()).protectionState, 'Protected');
  await az(`backup protection disable ${VM_ITEM} -y --delete-backup-data true`);
  assert.equal((await state()).isScheduledForDeferredDelete, true);
  await refused(`backup protection backup-now ${ITEM}`, 1, /UserErrorItemSoftDeleted/);
  const job = await az(`backup protection undelete ${VM_ITEM}`);
  assert.equal(job.properties.operation, 'Undelete');
  assert.equal((await state()).protectionState, 'ProtectionStopped');
  await az(`backup protection resume ${VM_ITEM} -p DefaultPolicy`);
  assert.equal((await az(`backup recoverypoint list ${VM_ITEM}`)).length, 1);
});
