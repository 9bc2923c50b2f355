import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { testApi, type TestApi } from '../testing/test-api.ts';

type Told = {
  readonly name: string;
  readonly properties: {
    readonly actor: string;
    readonly actorName: string | null;
    readonly action: string;
    readonly target: string;
    readonly detail: object;
  };
};

const pathOf = (api: TestApi): string => `${api.subscription}/providers/Holdfast.Backup/activities`;

/** All pages of so many entries. */
async function paged(api: TestApi, count: number): Promise<readonly Told[]> {
  const all: Told[] = [];
  let query = `api-version=2023-06-01&$top=${count}`;
  for (;;) {
    const { status, body } = await api.call('GET', pathOf(api), { query });
    assert.equal(status, 200, JSON.stringify(body));
    assert.ok(body.value.length <= count);
    all.push(...body.value);
    if (body.nextLink === undefined) return all;
    query = new URL(body.nextLink).search.slice(1);
  }
}

test('what is changed through the API is noted with who did it, and read newest first, page by page', async (t) => {
  const api = await testApi(t);
  const group = await api.imagesHost('site', ['web']);
  const done = async (method: string, path: string, body?: object): Promise<void> => {
    const { status, body: answer } = await api.call(method, path, { body });
    assert.ok(status < 300, `${method} ${path}: ${JSON.stringify(answer)}`);
  };
  const vault = `${group}/providers/Microsoft.RecoveryServices/vaults/v`;
  const own = `${api.subscription}/providers/Holdfast.Backup`;
  const account = `${group}/providers/Holdfast.Backup/storageAccounts/store`;
  const plain = 'iaasvmcontainerv2;site;web';
  const item = `${vault}/backupFabrics/Azure/protectionContainers/IaasVMContainer;${plain}/protectedItems/VM;${plain}`;
  const vmKind = { protectedItemType: 'Microsoft.Compute/virtualMachines' };
  const policyId = `${vault}/backupPolicies/DefaultPolicy`;
  await done('PUT', `${api.subscription}/resourcegroups/other`, { location: 'local' });
  await done('DELETE', `${api.subscription}/resourcegroups/other`);
  await done('PUT', vault, { location: 'local' });
  await done('PATCH', vault, { tags: { a: '1' } });
  await done('PUT', account, { properties: { path: join(api.folder, 'store') } });
  await done('DELETE', account);
  await done('PUT', item, { properties: { ...vmKind, policyId } });
  await done('PUT', item, { properties: { ...vmKind, policyId: '' } });
  await done('POST', `${group}/providers/Holdfast.Backup/vaults/v/recoveryKey`);
  await done('POST', `${group}/providers/Holdfast.Backup/vaults/v/verify`);
  await done('POST', `${own}/servicePrincipals`, { properties: { displayName: 'second' } });
  const all = await paged(api, 1000);
  const told = all.map(({ properties }) => `${properties.action} ${properties.target}`);
  assert.deepEqual(told.slice(0, told.indexOf('put resource group other') + 1), [
    'create service principal second',
    'Verify site/v',
    'make recovery key site/v',
    'DisableBackup site/web',
    'ConfigureBackup site/web',
    'remove storage account store',
    'put storage account store',
    'change vault site/v',
    'create vault site/v',
    'delete resource group other',
    'put resource group other',
  ]);
  const details = all.map(({ properties }) => [properties.action, properties.detail]);
  assert.deepEqual(details.find(([action]) => action === 'ConfigureBackup')?.[1], {
    vault: 'site/v',
    policy: 'DefaultPolicy',
  });
  for (const { properties } of all.slice(0, 11)) {
    assert.deepEqual([properties.actor, properties.actorName], [api.clientId, 'tester']);
  }
  assert.deepEqual(await paged(api, 3), all);
  assert.equal(all.at(-1)!.properties.actor, 'service');
  assert.doesNotMatch(JSON.stringify(all), /secret"|recoveryKey":/i);
  const bad = await api.call('GET', pathOf(api), { query: 'api-version=2023-06-01&$top=0' });
  assert.deepEqual([bad.status, bad.body.error.code], [400, 'InvalidQueryParameter']);
});
