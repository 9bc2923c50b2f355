/** Azure's own SDKs for JavaScript, signed in by @azure/identity, against `holdfast serve`. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import tls from 'node:tls';
import { RecoveryServicesClient } from '@azure/arm-recoveryservices';
import { RecoveryServicesBackupClient } from '@azure/arm-recoveryservicesbackup';
import { ResourceManagementClient } from '@azure/arm-resources';
import { SubscriptionClient } from '@azure/arm-resources-subscriptions';
import { StorageManagementClient } from '@azure/arm-storage';
import { ComputeManagementClient } from '@azure/arm-compute';
import { ClientSecretCredential } from '@azure/identity';
import { Serving } from './serving.ts';

const serving = new Serving();
const AT = ['lab', 'main'] as const;

/** As a program would be started with NODE_EXTRA_CA_CERTS. */
before(async () => {
  await serving.start();
  const authority = readFileSync(serving.account.caFile, 'utf8');
  tls.setDefaultCACertificates([...tls.getCACertificates('default'), authority]);
});

function credentialOf(tenantId: string, secret = serving.account.clientSecret) {
  const { url, clientId } = serving.account;
  const options = { authorityHost: url, disableInstanceDiscovery: true };
  return new ClientSecretCredential(tenantId, clientId, secret, options);
}

function clients() {
  const { url: endpoint, tenantId, subscriptionId } = serving.account;
  const credential = credentialOf(tenantId);
  const options = { endpoint };
  return {
    vaults: new RecoveryServicesClient(credential, subscriptionId, options),
    backup: new RecoveryServicesBackupClient(credential, subscriptionId, options),
    groups: new ResourceManagementClient(credential, subscriptionId, options),
    subscriptions: new SubscriptionClient(credential, options),
    storage: new StorageManagementClient(credential, subscriptionId, options),
    compute: new ComputeManagementClient(credential, subscriptionId, options),
  };
}

async function all<Entry>(list: AsyncIterable<Entry>): Promise<Entry[]> {
  return await Array.fromAsync(list);
}

test('a secret signs in with the tenant and with adfs; a wrong one and a wrong tenant do not', async () => {
  const scope = `${serving.account.url}/.default`;
  for (const tenant of [serving.account.tenantId, 'adfs']) {
    const token = await credentialOf(tenant).getToken(scope);
    assert.match(token.token, /^eyJ/);
  }
  const wrong = credentialOf(serving.account.tenantId, 'wrong');
  await assert.rejects(wrong.getToken(scope), /The client id or the secret is wrong/);
  const elsewhere = credentialOf('11111111-1111-1111-1111-111111111111');
  await assert.rejects(elsewhere.getToken(scope), /endpoints_resolution_error/);
});

test('M1 vaults are made, changed, listed and deleted through the pollers of the SDK', async () => {
  const { vaults, groups, subscriptions } = clients();
  const [subscription] = await all(subscriptions.subscriptions.list());
  assert.equal(subscription?.subscriptionId, serving.account.subscriptionId);
  await groups.resourceGroups.createOrUpdate('lab', { location: 'local' });
  assert.equal((await all(groups.resourceGroups.list())).length, 1);
  const made = await vaults.vaults.createOrUpdate(...AT, {
    location: 'local',
    sku: { name: 'Standard' },
    properties: { publicNetworkAccess: 'Enabled' },
  });
  assert.equal(made.properties?.provisioningState, 'Succeeded');
  const changed = await vaults.vaults.update(...AT, { tags: { a: 'b' } });
  assert.deepEqual(changed.tags, { a: 'b' });
  assert.equal((await all(vaults.vaults.listBySubscriptionId())).length, 1);
  assert.equal((await all(vaults.vaults.listByResourceGroup('lab'))).length, 1);
  const security = async (state: 'Unlocked' | 'Disabled') => {
    const configuration = { type: 'AsPerPolicy' };
    const securitySettings = { immutabilitySettings: { state, configuration } };
    const { properties } = await vaults.vaults.update(...AT, { properties: { securitySettings } });
    return properties?.securitySettings?.immutabilitySettings;
  };
  const unlocked = await security('Unlocked');
  assert.deepEqual([unlocked?.state, unlocked?.configuration?.type], ['Unlocked', 'AsPerPolicy']);
  assert.equal((await security('Disabled'))?.state, 'Disabled');
  const usages = await all(vaults.usages.listByVaults(...AT));
  const storage = usages.find(({ name }) => name?.value === 'LRSStorageUsage');
  assert.deepEqual([storage?.unit, storage?.currentValue], ['Bytes', 0]);
  assert.deepEqual(await all(vaults.replicationUsages.list(...AT)), []);
});

test('settings, policies and what Holdfast has not are seen through the SDK’s models', async () => {
  const { backup } = clients();
  const [vault, group] = ['main', 'lab'] as const;
  const config = await backup.backupResourceVaultConfigs.update(vault, group, {
    properties: { enhancedSecurityState: 'Enabled', softDeleteFeatureState: 'Disabled' },
  });
  assert.equal(config.properties?.softDeleteFeatureState, 'Disabled');
  const storage = await backup.backupResourceStorageConfigsNonCRR.get(vault, group);
  assert.equal(storage.properties?.storageModelType, 'LocallyRedundant');
  const geo = { properties: { storageModelType: 'GeoRedundant' } };
  const refused = backup.backupResourceStorageConfigsNonCRR.update(vault, group, geo);
  await assert.rejects(refused, { code: 'NotSupported', statusCode: 400 });
  const encryption = await backup.backupResourceEncryptionConfigs.get(vault, group);
  assert.equal(encryption.properties?.encryptionAtRestType, 'MicrosoftManaged');

  const policy = await backup.protectionPolicies.get(vault, group, 'DefaultPolicy');
  assert.equal(policy.properties?.backupManagementType, 'AzureIaasVM');
  const copy = await backup.protectionPolicies.createOrUpdate(vault, group, 'copy', policy);
  assert.equal(copy.name, 'copy');
  const filter = "backupManagementType eq 'AzureIaasVM'";
  const policies = await all(backup.backupPolicies.list(vault, group, { filter }));
  assert.deepEqual(
    policies.map(({ name }) => name),
    ['copy', 'DefaultPolicy'],
  );
  await backup.protectionPolicies.beginDeleteAndWait(vault, group, 'copy');
  const gone = backup.protectionPolicies.get(vault, group, 'copy');
  await assert.rejects(gone, { code: 'BMSUserErrorPolicyNotFound', statusCode: 404 });
  assert.deepEqual(await all(backup.resourceGuardProxies.list(vault, group)), []);
});

test('R60 a soft-deleted vault is listed, shown and undeleted through the SDK', async () => {
  const { vaults } = clients();
  const group = 'lab';
  const made = await vaults.vaults.createOrUpdate(group, 'kept', { location: 'local' });
  await vaults.vaults.delete(group, 'kept');
  const [deleted, ...others] = await all(vaults.deletedVaults.listBySubscriptionId('local'));
  assert.deepEqual([deleted?.properties?.vaultId, others], [made.id, []]);
  const { vaultDeletionTime: since, purgeAt: until } = deleted!.properties!;
  assert.equal(until!.getTime() - since!.getTime(), 14 * 86_400_000);
  assert.deepEqual(await vaults.deletedVaults.get('local', deleted!.name!), deleted);
  const recoveryResourceGroupId = made.id!.split('/providers/')[0]!;
  const properties = { recoveryResourceGroupId };
  await vaults.deletedVaults.undelete('local', deleted!.name!, { properties }).pollUntilDone();
  assert.equal((await vaults.vaults.get(group, 'kept')).id, made.id);
  assert.deepEqual(await all(vaults.deletedVaults.listBySubscriptionId('local')), []);
  await vaults.vaults.delete(group, 'kept');
});

test('VMs and storage accounts are listed with the token that Azure’s SDKs ask for', async () => {
  const { compute, storage, vaults } = clients();
  assert.deepEqual(await all(compute.virtualMachines.listAll()), []);
  assert.deepEqual(await all(storage.storageAccounts.list()), []);
  await vaults.vaults.delete(...AT);
  await assert.rejects(vaults.vaults.get(...AT), { code: 'ResourceNotFound', statusCode: 404 });
});
