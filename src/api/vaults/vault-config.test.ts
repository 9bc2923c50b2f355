import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testApi } from '../testing/test-api.ts';

test('soft delete is shown and changed by vaultconfig, with a guard list that is empty', async (t) => {
  const api = await testApi(t);
  const vault = `${await api.group('lab')}/providers/Microsoft.RecoveryServices/vaults/v`;
  await api.call('PUT', vault, { body: { location: 'local' } });
  const path = `${vault}/backupconfig/vaultconfig`;
  const before = await api.call('GET', path);
  assert.equal(before.body.properties.softDeleteFeatureState, 'Enabled');
  const changed = await api.call('PATCH', path, {
    body: { properties: { enhancedSecurityState: 'Enabled', softDeleteFeatureState: 'Disabled' } },
  });
  assert.equal(changed.body.properties.softDeleteFeatureState, 'Disabled');
  const days = { softDeleteFeatureState: 'Enabled', softDeleteRetentionPeriodInDays: 60 };
  await api.call('PUT', path, { body: { ...changed.body, properties: days } });
  assert.equal((await api.call('GET', path)).body.properties.softDeleteRetentionPeriodInDays, 60);
  const few = await api.call('PATCH', path, {
    body: { properties: { softDeleteRetentionPeriodInDays: 1 } },
  });
  assert.deepEqual([few.status, few.body.error.code], [400, 'BMSUserErrorInvalidVaultConfig']);
  const guards = await api.call('GET', `${vault}/backupResourceGuardProxies`);
  assert.deepEqual(guards.body, { value: [] });
});

test('a vault is locally redundant and encrypted by Holdfast; anything else is refused', async (t) => {
  const api = await testApi(t);
  const vault = `${await api.group('lab')}/providers/Microsoft.RecoveryServices/vaults/v`;
  await api.call('PUT', vault, { body: { location: 'local' } });
  const storage = `${vault}/backupstorageconfig/vaultstorageconfig`;
  const put = async (properties: object) =>
    await api.call('PUT', storage, { body: { properties } });
  const same = await put({ storageModelType: 'LocallyRedundant', crossRegionRestoreFlag: false });
  assert.deepEqual([same.status, same.body.properties.storageModelType], [200, 'LocallyRedundant']);
  for (const wanted of [
    { storageModelType: 'GeoRedundant' },
    { storageType: 'ZoneRedundant' },
    { storageModelType: 'LocallyRedundant', crossRegionRestoreFlag: true },
  ]) {
    const { status, body } = await put(wanted);
    assert.deepEqual([status, body.error.code], [400, 'NotSupported']);
  }
  const encryption = `${vault}/backupEncryptionConfigs/backupResourceEncryptionConfig`;
  assert.equal(
    (await api.call('GET', encryption)).body.properties.encryptionAtRestType,
    'MicrosoftManaged',
  );
  const key = await api.call('PUT', encryption, {
    body: { properties: { encryptionAtRestType: 'CustomerManaged' } },
  });
  assert.deepEqual([key.status, key.body.error.code], [400, 'NotSupported']);
  const guard = await api.call('PUT', `${vault}/backupResourceGuardProxies/g`, { body: {} });
  assert.deepEqual([guard.status, guard.body.error.code], [400, 'NotSupported']);
  const { body: usages } = await api.call('GET', `${vault}/usages`);
  assert.deepEqual(
    usages.value.map((one: { name: { value: string }; currentValue: number }) => [
      one.name.value,
      one.currentValue,
    ]),
    [
      ['ProtectedItemCount', 0],
      ['ProtectedItemCriticalCount', 0],
      ['ProtectedItemWarningCount', 0],
      ['IaaSVMProtectedItemCount', 0],
      ['IaaSVMProtectedItemCriticalCount', 0],
      ['IaaSVMProtectedItemWarningCount', 0],
      ['InProgressJobsCount', 0],
      ['FailedJobsCount', 0],
      ['GRSStorageUsage', 0],
      ['LRSStorageUsage', 0],
      ['ManagedInstances', 0],
    ],
  );
});

test('a vault is placed elsewhere by Holdfast’s own route, and its recovery key is told once asked', async (t) => {
  const api = await testApi(t);
  const own = `${await api.group('lab')}/providers/Holdfast.Backup/vaults/v`;
  const repository = `${api.folder}/elsewhere`;
  const made = await api.call('PUT', own, { body: { properties: { repository } } });
  assert.deepEqual([made.status, made.body.properties.repository], [201, repository]);
  assert.equal(made.body.properties.hasRecoveryKey, false);
  const { body } = await api.call('POST', `${own}/recoveryKey`);
  assert.match(body.recoveryKey, /\S{20,}/);
  assert.equal((await api.call('GET', own)).body.properties.hasRecoveryKey, true);
  assert.ok(!api.logged.some((line) => line.includes(body.recoveryKey)));
  const twice = await api.call('PUT', own, { body: { properties: { repository } } });
  assert.deepEqual([twice.status, twice.body.error.code], [409, 'ResourceExists']);
});
