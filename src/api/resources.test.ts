import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testApi } from './testing/test-api.ts';

test('the subscription, its tenant, its location and its providers are shown', async (t) => {
  const api = await testApi(t);
  const { subscriptionId, tenantId } = api.access;
  const { body } = await api.call('GET', '/subscriptions');
  assert.equal(body.value.length, 1);
  assert.deepEqual(
    [body.value[0].subscriptionId, body.value[0].state],
    [subscriptionId, 'Enabled'],
  );
  assert.deepEqual((await api.call('GET', api.subscription.toUpperCase())).body, body.value[0]);
  assert.equal((await api.call('GET', '/tenants')).body.value[0].tenantId, tenantId);
  const locations = await api.call('GET', `${api.subscription}/locations`);
  assert.equal(locations.body.value[0].name, 'local');
  const provider = await api.call(
    'GET',
    `${api.subscription}/providers/microsoft.recoveryservices`,
  );
  assert.equal(provider.body.registrationState, 'Registered');
  const other = await api.call('GET', '/subscriptions/00000000-0000-0000-0000-000000000000');
  assert.deepEqual([other.status, other.body.error.code], [404, 'SubscriptionNotFound']);
});

test('resource groups are made, changed, listed and deleted while nothing is in them', async (t) => {
  const api = await testApi(t);
  const path = `${api.subscription}/resourcegroups/Lab`;
  assert.equal((await api.call('HEAD', path)).status, 404);
  const made = await api.call('PUT', path, { body: { location: 'Local', tags: { a: '1' } } });
  assert.deepEqual([made.status, made.body.location], [201, 'local']);
  assert.equal((await api.call('PUT', path, { body: { location: 'local' } })).status, 200);
  const patched = await api.call('PATCH', path, { body: { tags: { b: '2' } } });
  assert.deepEqual(patched.body.tags, { b: '2' });
  assert.equal((await api.call('HEAD', path)).status, 204);
  const vault = `${path}/providers/Microsoft.RecoveryServices/vaults/v`;
  await api.call('PUT', vault, { body: { location: 'local' } });
  const full = await api.call('DELETE', path);
  assert.deepEqual([full.status, full.body.error.code], [409, 'ResourceGroupNotEmpty']);
  const resources = await api.call('GET', `${path}/resources`);
  assert.deepEqual(
    resources.body.value.map((one: { id: string }) => one.id),
    [`${api.subscription}/resourceGroups/Lab/providers/Microsoft.RecoveryServices/vaults/v`],
  );
  await api.call('DELETE', vault);
  assert.equal((await api.call('DELETE', path)).status, 200);
  const gone = await api.call('GET', vault);
  assert.deepEqual([gone.status, gone.body.error.code], [404, 'ResourceGroupNotFound']);
});

test('VMs of a host are virtual machines with disks, LUNs and a power state', async (t) => {
  const api = await testApi(t);
  const group = await api.imagesHost('Site', ['web', 'db']);
  const path = `${group}/providers/Microsoft.Compute/virtualMachines`;
  const { body } = await api.call('GET', path);
  assert.deepEqual(
    body.value.map((vm: { name: string }) => vm.name),
    ['db', 'web'],
  );
  const vm = (
    await api.call('GET', `${path}/WEB`, { query: 'api-version=2022-08-01&$expand=instanceView' })
  ).body;
  assert.equal(vm.id, `${path}/web`);
  assert.equal(vm.location, 'local');
  const { osDisk, dataDisks } = vm.properties.storageProfile;
  assert.equal(osDisk.name, 'web-a-system');
  assert.deepEqual(
    dataDisks.map((disk: { lun: number; name: string }) => [disk.lun, disk.name]),
    [[0, 'web-b-data']],
  );
  assert.equal(vm.properties.instanceView.statuses[1].code, 'PowerState/deallocated');
  assert.equal((await api.call('GET', `${path}/web/instanceView`)).body.statuses.length, 2);
  const missing = await api.call('GET', `${path}/none`);
  assert.equal(missing.headers['x-ms-failure-cause'], 'gateway');
  const networks = `${group}/providers/Microsoft.Network/virtualNetworks`;
  const [none, ...others] = (await api.call('GET', networks)).body.value;
  assert.deepEqual([none.name, others], ['none', []]);
  assert.equal(
    (await api.call('GET', `${networks}/NONE`)).body.properties.subnets[0].name,
    'default',
  );
  assert.equal((await api.call('GET', `${networks}/lan`)).status, 404);
  const elsewhere = networks.replace(group, await api.group('no-host'));
  assert.deepEqual((await api.call('GET', elsewhere)).body.value, []);
});

test('a folder becomes a storage account, and is no classic one', async (t) => {
  const api = await testApi(t);
  const group = await api.group('lab');
  const own = `${group}/providers/Holdfast.Backup/storageAccounts/disks`;
  const path = `${api.folder}/disks`;
  const made = await api.call('PUT', own, { body: { properties: { path, restoresAtOnce: 3 } } });
  assert.deepEqual([made.status, made.body.properties.path], [200, path]);
  const read = (await api.call('GET', own)).body;
  // What is free changes by itself.
  read.properties.load.freeBytes = made.body.properties.load.freeBytes;
  assert.deepEqual(read, made.body);
  const azure = `${group}/providers/Microsoft.Storage/storageAccounts//disks`;
  const shown = await api.call('GET', azure);
  assert.equal(shown.body.id, made.body.properties.storageAccountId);
  assert.equal(shown.body.properties.provisioningState, 'Succeeded');
  const classic = `${group}/providers/Microsoft.ClassicStorage/storageAccounts//disks`;
  assert.equal((await api.call('GET', classic)).status, 404);
  const relative = await api.call('PUT', `${own}2`, { body: { properties: { path: 'disks' } } });
  assert.deepEqual([relative.status, relative.body.error.code], [400, 'StorageAccountUnusable']);
  assert.equal((await api.call('DELETE', own)).status, 200);
  assert.equal((await api.call('GET', own)).status, 404);
});

test('a host is added, refreshed and removed; an address that does not work is refused', async (t) => {
  const api = await testApi(t);
  await api.imagesHost('first', ['a']);
  const path = `${api.subscription}/providers/Holdfast.Backup/hosts/second`;
  const connect = `images:${api.folder}/images-second`;
  const missing = await api.call('PUT', path, { body: { properties: { connect } } });
  assert.equal(missing.status, 400);
  const taken = `images:${api.folder}/images-first`;
  const twice = await api.call('PUT', path, { body: { properties: { connect: taken } } });
  assert.deepEqual([twice.status, twice.body.error.code], [409, 'ResourceExists']);
  const hosts = await api.call('GET', `${api.subscription}/providers/Holdfast.Backup/hosts`);
  assert.deepEqual(
    hosts.body.value.map((host: { name: string; properties: { vmCount: number } }) => [
      host.name,
      host.properties.vmCount,
    ]),
    [['first', 1]],
  );
  const first = path.replace('second', 'first');
  assert.equal((await api.call('POST', `${first}/refresh`)).body.properties.vmCount, 1);
  assert.equal((await api.call('DELETE', first)).status, 200);
  assert.equal((await api.call('GET', first)).status, 404);
});
