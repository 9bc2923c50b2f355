/** What a VM's protection goes through (R53 to R60), through the API on a clock that the test moves. */
import assert from 'node:assert/strict';
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { BLOCK } from '../../src/service/testing/aged-vm.ts';
import { MONTH, QUIET, rulesLab, WEEK, type RulesLab } from './rules-lab.ts';

const names = async (lab: RulesLab): Promise<readonly string[]> =>
  (await lab.points()).map(({ name }) => name);

const backupRefused = async (lab: RulesLab): Promise<readonly [number, string]> => {
  const properties = { objectType: 'IaasVMBackupRequest' };
  const { status, body } = await lab.call('POST', `${lab.item}/backup`, { properties });
  return [status, body.error.code];
};

const MONTHS_LATER = {
  objectType: 'IaasVMBackupRequest',
  recoveryPointExpiryTimeInUTC: '2026-09-01T00:00:00Z',
};

const stateOf = async (lab: RulesLab): Promise<string> => (await lab.state()).protectionState;

test('R53 R57 a VM is pending until its first backup, which is full by hand too, then protected, stopped or suspended, and pending again if resumed without a point', async (t) => {
  const lab = await rulesLab(t, { policy: WEEK });
  assert.equal(await stateOf(lab), 'IRPending');
  await lab.stop();
  assert.equal(await stateOf(lab), 'ProtectionStopped');
  assert.deepEqual(await backupRefused(lab), [409, 'UserErrorProtectionStopped']);
  await lab.protect();
  assert.equal(await stateOf(lab), 'IRPending');
  for (let block = 0; block < 4; block += 1) lab.vm.write({ [block]: `block ${block}` });
  await lab.backUp(30);
  assert.equal(await stateOf(lab), 'Protected');
  await lab.scheduled();
  assert.deepEqual(
    (await lab.points()).map(({ changed, rules }) => [changed[0], rules]),
    [
      [4 * BLOCK, ''],
      [0, 'Daily'],
    ],
  );
  await lab.suspend();
  assert.equal(await stateOf(lab), 'BackupsSuspended');
  assert.deepEqual(await backupRefused(lab), [409, 'UserErrorProtectionStopped']);
  await lab.protect();
  assert.equal(await stateOf(lab), 'Protected');
  await lab.deleteData();
  const deleted = await lab.state();
  assert.deepEqual(
    [deleted.protectionState, deleted.isScheduledForDeferredDelete],
    ['ProtectionStopped', true],
  );
  assert.deepEqual(await backupRefused(lab), [409, 'UserErrorItemSoftDeleted']);
});

test('R31 R54 stopped for ever nothing is backed up and nothing goes, whatever a policy says; resumed by any policy, what has expired goes at once', async (t) => {
  const lab = await rulesLab(t, { policy: WEEK });
  for (let day = 0; day < 2; day += 1) await lab.scheduled();
  const points = await names(lab);
  await lab.stop();
  await lab.putPolicy(MONTH, 'other');
  assert.equal((await lab.state()).policyId, '');
  await lab.vm.pass(100);
  assert.deepEqual(await names(lab), points);
  assert.deepEqual(
    (await lab.points()).map(({ expiry }) => expiry),
    ['', ''],
  );
  assert.equal(
    (await lab.jobs()).filter(({ properties }) => properties.operation === 'Backup').length,
    2,
  );
  assert.deepEqual(await lab.expiries(), []);
  const resumed = await lab.protect('other');
  assert.equal(resumed.operation, 'ConfigureBackup');
  await lab.vm.pass(0.3);
  const left = await lab.points();
  assert.ok(!left.some(({ name }) => name === points[0]), 'R32: only the newest stays');
});

test('R54 stopped by its policy a VM’s points go on to expire, but the last one stays for ever', async (t) => {
  const lab = await rulesLab(t, { policy: WEEK });
  for (let day = 0; day < 3; day += 1) await lab.scheduled();
  const points = await names(lab);
  await lab.suspend();
  assert.match((await lab.state()).policyId, /\/backupPolicies\/P$/);
  await lab.vm.pass(8);
  assert.deepEqual(await names(lab), points.slice(2));
  await lab.vm.pass(3000);
  assert.deepEqual(await names(lab), points.slice(2));
});

test('M35 R55 backups of a VM that is gone fail with UserErrorVmNotFoundV2, which raises its pre-check only where somebody asked; its points age, the last stays', async (t) => {
  const lab = await rulesLab(t, { policy: WEEK });
  for (let day = 0; day < 2; day += 1) await lab.scheduled();
  const points = await names(lab);
  const folder = join(lab.vm.made.images, 'web');
  renameSync(folder, `${folder}-away`);
  const failed = await lab.scheduled();
  const told = (job: typeof failed): unknown => [
    job.status,
    job.errorDetails[0].errorCode,
    job.errorDetails[0].errorTitle,
  ];
  const gone = ['Failed', 400_094, 'UserErrorVmNotFoundV2'];
  assert.deepEqual(told(failed), gone);
  const quiet = await lab.state();
  assert.deepEqual([quiet.lastBackupStatus, quiet.healthStatus], ['Failed', 'Passed']);
  const properties = { objectType: 'IaasVMBackupRequest' };
  assert.deepEqual(told(await lab.done('POST', `${lab.item}/backup`, { properties })), gone);
  const loud = await lab.state();
  assert.deepEqual([loud.healthStatus, loud.healthDetails[0].code], ['ActionRequired', 400_094]);
  await lab.vm.pass(8);
  assert.deepEqual(await names(lab), points.slice(1));
  await lab.vm.pass(100);
  assert.deepEqual(await names(lab), points.slice(1));
});

test('R56 a VM that comes back under its name, in any case, has its points again; in another group it is another item', async (t) => {
  const lab = await rulesLab(t, { policy: QUIET });
  const before = [await lab.backUp(300)];
  const folder = join(lab.vm.made.images, 'web');
  const made = join(lab.vm.made.images, 'WEB');
  renameSync(folder, `${folder}.gone`);
  await lab.discover();
  assert.equal((await lab.call('GET', lab.vmPath)).status, 404);
  renameSync(`${folder}.gone`, made);
  await lab.discover();
  await lab.protect();
  const job = await lab.done('POST', `${lab.item}/backup`, { properties: MONTHS_LATER });
  // It may be another VM, which is told.
  assert.match(job.extendedInfo.dynamicErrorMessage, /may be of another VM/);
  const second = job.extendedInfo.internalPropertyBag.RecoveryPointId;
  assert.deepEqual(await names(lab), [...before, second]);
  assert.equal((await lab.points())[1]!.changed[0], 0);
  // The group of a VM is its host.
  const images = `${lab.vm.made.data}-other`;
  mkdirSync(images);
  renameSync(made, join(images, 'web'));
  await lab.discover();
  const subscription = lab.group.slice(0, lab.group.indexOf('/resourceGroups'));
  const host = `${subscription}/providers/Holdfast.Backup/hosts/other`;
  const added = await lab.call('PUT', host, { properties: { connect: `images:${images}` } });
  assert.ok(added.status < 300, JSON.stringify(added.body));
  const moved = lab.item.replaceAll(`;${lab.groupName};`, ';other;');
  const properties = {
    protectedItemType: 'Microsoft.Compute/virtualMachines',
    policyId: lab.policyId(),
    sourceResourceId: lab.vmPath.replace(`/${lab.groupName}/`, '/other/'),
  };
  await lab.done('PUT', moved, { properties });
  await lab.done('POST', `${moved}/backup`, { properties: { objectType: 'IaasVMBackupRequest' } });
  const { body } = await lab.call('GET', `${moved}/recoveryPoints`);
  assert.equal(body.value.length, 1, 'a first one, of its own');
  assert.deepEqual(await names(lab), [...before, second]);
});

test('R58 soft delete lasts 14 to 180 days, 14 unless said, as was said when the data was deleted', async (t) => {
  const lab = await rulesLab(t, { policy: QUIET });
  const days = async (): Promise<number> =>
    (await lab.call('GET', `${lab.vault}/backupconfig/vaultconfig`)).body.properties
      .softDeleteRetentionPeriodInDays;
  assert.equal(await days(), 14);
  for (const wrong of [13, 181, 14.5]) {
    assert.equal((await lab.vaultConfig({ softDeleteRetentionPeriodInDays: wrong })).status, 400);
  }
  await lab.backUp(300);
  await lab.deleteData();
  assert.equal((await lab.vaultConfig({ softDeleteRetentionPeriodInDays: 180 })).status, 200);
  assert.equal(await days(), 180);
  assert.equal((await lab.state()).softDeleteRetentionPeriodInDays, 14);
  await lab.vm.pass(13.9);
  assert.equal((await lab.call('GET', lab.item)).status, 200);
  await lab.vm.pass(0.2);
  assert.equal((await lab.call('GET', lab.item)).status, 404);
  // Always on, it cannot be turned off.
  const always = { softDeleteFeatureState: 'AlwaysON' };
  assert.equal((await lab.vaultConfig(always)).status, 200);
  const off = await lab.vaultConfig({ softDeleteFeatureState: 'Disabled' });
  assert.equal(off.body.error.code, 'BMSUserErrorSoftDeleteAlwaysOn');
});

test('M36 R31 R59 while its item is soft-deleted a point that has expired stays, free of charge; undeleted it is stopped, and only resuming lets it go', async (t) => {
  const lab = await rulesLab(t, { policy: QUIET, settings: { chargeLookMs: 10_000 } });
  lab.vm.write({ 0: 'kept' });
  const points = [await lab.backUp(2), await lab.backUp(300)];
  await lab.deleteData();
  const protect = {
    properties: {
      protectedItemType: 'Microsoft.Compute/virtualMachines',
      policyId: lab.policyId(),
      sourceResourceId: lab.vmPath,
    },
  };
  const same = await lab.call('PUT', lab.item, protect);
  assert.deepEqual([same.status, same.body.error.code], [409, 'UserErrorItemSoftDeleted']);
  for (let day = 0; day < 5; day += 1) await lab.vm.pass(1);
  assert.deepEqual(await names(lab), points);
  assert.ok((await lab.points()).every(({ isSoftDeleted }) => isSoftDeleted));
  const charges = async () => (await lab.call('GET', `${lab.ownVault}/charges`)).body.value[0];
  while ((await charges())?.properties.freeDays !== 5) await lab.vm.settled();
  const { chargedDays, freeDays, storage } = (await charges()).properties;
  assert.deepEqual([chargedDays, freeDays], [0, 5]);
  assert.ok(storage.storedInBytes > 0 && storage.gbMonths === 0, JSON.stringify(storage));
  assert.equal((await lab.restore(points[0]!)).status, 'Completed');
  assert.equal((await lab.undelete()).operation, 'Undelete');
  const state = await lab.state();
  assert.deepEqual(
    [state.protectionState, state.isScheduledForDeferredDelete],
    ['ProtectionStopped', false],
  );
  await lab.vm.pass(30);
  assert.deepEqual(await names(lab), points);
  await lab.protect();
  await lab.vm.pass(0.3);
  assert.deepEqual(await names(lab), points.slice(1));
});

test('R59 R60 a soft-deleted VM is protected in another vault; its vault is deleted then, its name is free again, and it comes back until its days are over', async (t) => {
  const lab = await rulesLab(t, { policy: QUIET });
  await lab.backUp(300);
  const inUse = await lab.call('DELETE', lab.vault);
  const code = 'ServiceResourceNotEmptyWithBackendMessage';
  assert.equal(inUse.body.error.code, code);
  await lab.deleteData();
  const other = lab.vault.replace(/[^/]*$/, 'other');
  assert.equal((await lab.call('PUT', other, { location: 'local' })).status, 201);
  const there = lab.item.replace(lab.vault, other);
  const properties = {
    protectedItemType: 'Microsoft.Compute/virtualMachines',
    policyId: `${other}/backupPolicies/DefaultPolicy`,
    sourceResourceId: lab.vmPath,
  };
  const { status } = await lab.call('PUT', there, { properties });
  assert.equal(status, 202);
  await lab.vm.settled();
  const deleted = `${lab.vault.split('/resourceGroups/')[0]}/providers/Microsoft.RecoveryServices/locations/local/deletedVaults`;
  for (let round = 0; round < 2; round += 1) {
    assert.equal((await lab.call('DELETE', lab.vault)).status, 200);
    assert.equal((await lab.call('GET', lab.item)).status, 404);
    const again = await lab.call('PUT', lab.vault, { location: 'local' });
    assert.equal(again.status, 201, JSON.stringify(again.body));
    const items = await lab.call('GET', `${lab.vault}/backupProtectedItems`);
    assert.deepEqual(items.body.value, []);
    await lab.vm.pass(1);
  }
  const { value } = (await lab.call('GET', deleted)).body;
  const of = ({ properties }: (typeof value)[0]) => [properties.vaultId, properties.purgeAt];
  assert.equal(value.length, 2);
  const [newest, oldest] = value;
  assert.deepEqual((await lab.call('GET', `${deleted}/${oldest.name}`)).body, oldest);
  for (const one of value) {
    const { vaultDeletionTime, purgeAt } = one.properties;
    assert.equal(of(one)[0], lab.vault);
    assert.equal(Date.parse(purgeAt) - Date.parse(vaultDeletionTime), 14 * 86_400_000);
  }
  const group = lab.vault.split('/providers/')[0];
  const undelete = { properties: { recoveryResourceGroupId: group } };
  const taken = await lab.call('POST', `${deleted}/${oldest.name}/undelete`, undelete);
  assert.deepEqual([taken.status, taken.body.error.code], [409, 'ResourceExists']);
  const wrong = { properties: { recoveryResourceGroupId: lab.vault } };
  const refused = await lab.call('POST', `${deleted}/${oldest.name}/undelete`, wrong);
  assert.deepEqual([refused.status, refused.body.error.code], [400, 'InvalidRequestContent']);
  assert.equal((await lab.call('DELETE', lab.vault)).status, 200);
  assert.equal(
    (await lab.call('POST', `${deleted}/${oldest.name}/undelete`, undelete)).status,
    200,
  );
  // As it was: soft-deleted until the days that were promised.
  assert.equal((await lab.state()).isScheduledForDeferredDelete, true);
  assert.equal((await lab.call('DELETE', lab.vault)).status, 200);
  await lab.vm.pass(14.1);
  for (const { name } of [newest, oldest]) {
    let gone = await lab.call('GET', `${deleted}/${name}`);
    for (let tries = 0; gone.status === 200 && tries < 300; tries += 1) {
      await sleep(20);
      gone = await lab.call('GET', `${deleted}/${name}`);
    }
    assert.deepEqual([gone.status, gone.body.error?.code], [404, 'ResourceNotFound']);
  }
});
