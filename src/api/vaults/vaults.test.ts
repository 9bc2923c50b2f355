import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testApi } from '../testing/test-api.ts';

const VAULTS = 'providers/Microsoft.RecoveryServices/vaults';
const NEW_VAULT = {
  location: 'local',
  sku: { name: 'Standard' },
  properties: {
    publicNetworkAccess: 'Enabled',
    monitoringSettings: {
      azureMonitorAlertSettings: { alertsForAllJobFailures: 'Disabled' },
      classicAlertSettings: { alertsForCriticalOperations: 'Enabled' },
    },
  },
};

test('a vault is created, shown, listed, changed and deleted as az does it', async (t) => {
  const api = await testApi(t);
  const group = await api.group('Lab');
  const path = `${group}/${VAULTS}/Main`;

  const missing = await api.call('GET', path);
  assert.equal(missing.status, 404);
  assert.equal(missing.headers['x-ms-failure-cause'], 'gateway');
  assert.match(
    missing.body.error.message,
    /^The Resource 'Microsoft.RecoveryServices\/vaults\/Main' under resource group 'Lab' was not found/,
  );

  const made = await api.call('PUT', path, { body: { ...NEW_VAULT, tags: { a: 'b' } } });
  assert.equal(made.status, 201);
  assert.equal(made.body.id, path);
  assert.equal(made.body.properties.provisioningState, 'Succeeded');
  assert.equal(
    made.body.properties.monitoringSettings.azureMonitorAlertSettings.alertsForAllJobFailures,
    'Disabled',
  );

  const odd = path.toLowerCase().replace('/vaults/', '//vaults/');
  const shown = await api.call('GET', `${odd}/`);
  assert.deepEqual(shown.body, made.body);
  for (const list of [`${api.subscription}/${VAULTS}`, `${group}/${VAULTS}`]) {
    assert.deepEqual((await api.call('GET', list)).body, { value: [made.body] });
  }

  const again = await api.call('PUT', path, { body: NEW_VAULT });
  assert.equal(again.status, 200);
  assert.deepEqual(again.body.tags, {});
  const patched = await api.call('PATCH', path, { body: { tags: { c: 'd' } } });
  assert.deepEqual(patched.body.tags, { c: 'd' });

  assert.equal((await api.call('DELETE', path)).status, 200);
  assert.equal((await api.call('DELETE', path)).status, 204);
  assert.equal((await api.call('GET', path)).status, 404);
});

test('a change of a vault holds to If-Match and If-None-Match', async (t) => {
  const api = await testApi(t);
  const path = `${await api.group('lab')}/${VAULTS}/v`;
  const missing = await api.call('PUT', path, { body: NEW_VAULT, headers: { 'if-match': '"1"' } });
  assert.equal(missing.status, 412);
  const { body: vault } = await api.call('PUT', path, { body: NEW_VAULT });
  const change = { body: { tags: { x: 'y' } }, headers: { 'if-match': vault.etag as string } };
  assert.equal((await api.call('PATCH', path, change)).status, 200);
  const stale = await api.call('PATCH', path, change);
  assert.deepEqual([stale.status, stale.body.error.code], [412, 'PreconditionFailed']);
  const taken = await api.call('PUT', path, { body: NEW_VAULT, headers: { 'if-none-match': '*' } });
  assert.equal(taken.status, 412);
  const nonsense = await api.call('PATCH', path, { ...change, headers: { 'if-match': 'x' } });
  assert.deepEqual([nonsense.status, nonsense.body.error.code], [400, 'InvalidHeaderValue']);
});

test('what Holdfast has not is refused when a vault asks for it', async (t) => {
  const api = await testApi(t);
  const path = `${await api.group('lab')}/${VAULTS}/v`;
  const properties = [
    { encryption: { keyVaultProperties: { keyUri: 'https://kv/keys/k' } } },
    { encryption: { infrastructureEncryption: 'Enabled' } },
    { securitySettings: { multiUserAuthorization: 'Enabled' } },
    {
      securitySettings: {
        immutabilitySettings: {
          state: 'Unlocked',
          configuration: { type: 'TimeBased', durationInDays: 30 },
        },
      },
    },
    { redundancySettings: { standardTierStorageRedundancy: 'GeoRedundant' } },
    { publicNetworkAccess: 'Disabled' },
    { resourceGuardOperationRequests: ['/guard'] },
  ];
  const bodies = [
    ...properties.map((one) => ({ ...NEW_VAULT, properties: one })),
    { ...NEW_VAULT, identity: { type: 'SystemAssigned' } },
  ];
  for (const body of bodies) {
    const answer = await api.call('PUT', path, { body });
    assert.deepEqual([answer.status, answer.body.error.code], [400, 'NotSupported']);
    assert.match(answer.body.error.message, /not supported by Holdfast/);
  }
  const elsewhere = await api.call('PUT', path, { body: { ...NEW_VAULT, location: 'westus' } });
  assert.equal(elsewhere.body.error.code, 'LocationNotAvailableForResourceType');
  assert.match(elsewhere.body.error.message, /the only one here is 'local'/);
  assert.equal((await api.call('GET', path)).status, 404);
});

test('soft delete that is always on stays on', async (t) => {
  const api = await testApi(t);
  const path = `${await api.group('lab')}/${VAULTS}/v`;
  const withSoftDelete = (softDeleteSettings: object) => ({
    body: { ...NEW_VAULT, properties: { securitySettings: { softDeleteSettings } } },
  });
  const always = { softDeleteState: 'AlwaysON', softDeleteRetentionPeriodInDays: 30 };
  const { body } = await api.call('PUT', path, withSoftDelete(always));
  assert.deepEqual(body.properties.securitySettings.softDeleteSettings, {
    ...always,
    enhancedSecurityState: 'Enabled',
  });
  const off = await api.call('PUT', path, withSoftDelete({ softDeleteState: 'Disabled' }));
  assert.deepEqual([off.status, off.body.error.code], [409, 'BMSUserErrorSoftDeleteAlwaysOn']);
  const short = await api.call('PUT', path, withSoftDelete({ softDeleteRetentionPeriodInDays: 3 }));
  assert.deepEqual([short.status, short.body.error.code], [400, 'BMSUserErrorInvalidVaultConfig']);
});
