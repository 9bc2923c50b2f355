/** The login, groups, VMs, storage accounts and vaults by the real `az`; and that the service comes again as it went. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { before, test } from 'node:test';
import { azLab, type AzLab } from './az-lab.ts';
import { Serving } from './serving.ts';

const MAIN = '-g other -n main';
const SET = `backup vault backup-properties set ${MAIN}`;

const serving = new Serving();
let lab: AzLab;

before(async () => {
  lab = await azLab(serving);
});

const namesOf = (list: readonly { readonly name: string }[]): readonly string[] =>
  list.map(({ name }) => name);

test('what holdfast env prints logs az in; the service is its cloud', async () => {
  const shown = await lab.az('account show');
  const { tenantId, subscriptionId, clientId } = serving.account;
  assert.deepEqual(
    [shown.environmentName, shown.tenantId, shown.id, shown.user.name],
    ['Holdfast', tenantId, subscriptionId, clientId],
  );
});

test('a wrong secret and a wrong id are refused by az with exit code 1', async () => {
  const { tenantId, clientId } = serving.account;
  const nobody = '00000000-0000-0000-0000-000000000000';
  const login = 'login --service-principal';
  const wrong = /The client id or the secret is wrong/;
  await lab.refused(`${login} -u ${clientId} -p wrong --tenant ${tenantId}`, 1, wrong);
  await lab.refused(`${login} -u ${nobody} -p wrong --tenant ${tenantId}`, 1, wrong);
  // The account that was logged in before is the one that goes on.
  await lab.az('account show');
});

test('groups, VMs and storage accounts are listed and shown, for programs and for people', async () => {
  const { az, refused, table } = lab;
  await az('group create --name other --location local');
  assert.deepEqual(namesOf(await az('group list')), ['lab', 'other']);
  assert.equal((await az('group show --name OTHER')).name, 'other');
  await refused('group show --name none', 3, /ResourceGroupNotFound/);
  assert.deepEqual(namesOf(await az('vm list')), ['web']);
  assert.match(await table('vm list'), /^web\s+lab\s+local/m);
  const shown = await az('vm show --resource-group LAB --name WEB');
  assert.equal(shown.storageProfile.dataDisks[0].lun, 0);
  await refused('vm show --resource-group lab --name none', 3, /ResourceNotFound/);
  assert.deepEqual(namesOf(await az('storage account list')), ['sa1']);
  assert.equal((await az('storage account show -g lab -n sa1')).location, 'local');
  await refused('storage account show -g lab -n none', 3, /ResourceNotFound/);
});

test('M1 a vault is created, shown and listed; what is not possible is refused', async () => {
  const { az, refused, table } = lab;
  const made = await az(`backup vault create ${MAIN} --location local --tags a=b`);
  assert.equal(made.properties.provisioningState, 'Succeeded');
  assert.deepEqual((await az(`backup vault show ${MAIN}`)).tags, { a: 'b' });
  const elsewhere = 'backup vault create -g other -n x --location westus';
  await refused(elsewhere, 1, /the only one here is 'local'/);
  await refused('backup vault create -g none -n x -l local', 1, /ResourceGroupNotFound/);
  const locked = 'backup vault create -g other -n x -l local --immutability-state Locked';
  // As at Azure, where one is made Unlocked first.
  await refused(locked, 1, /\(UserErrorUnsupportedVaultImmutabilityStateChange\)/);
  assert.deepEqual(namesOf(await az('backup vault list')), ['main', 'v1']);
  assert.deepEqual(namesOf(await az('backup vault list -g other')), ['main']);
  assert.match(await table('backup vault list -g other'), /main/);
  await refused('backup vault show -g other -n none', 3, /ResourceNotFound/);
});

test('the properties of a vault are set and shown; those that Holdfast has not are refused', async () => {
  const { az, refused } = lab;
  await refused(`${SET} --backup-storage-redundancy GeoRedundant`, 1, /\(NotSupported\)/);
  await refused(`${SET} --cross-region-restore-flag True`, 1, /\(NotSupported\)/);
  await az(`${SET} --backup-storage-redundancy LocallyRedundant`);
  await az(`${SET} --soft-delete-feature-state Disable`);
  await az(`${SET} --hybrid-backup-security-features Enable`);
  await az(`${SET} --classic-alerts Disable --job-failure-alerts Enable`);
  const [storage, config] = await az(`backup vault backup-properties show ${MAIN}`);
  assert.equal(storage.properties.storageModelType, 'LocallyRedundant');
  assert.equal(config.properties.softDeleteFeatureState, 'Disabled');
  assert.equal(config.properties.enhancedSecurityState, 'Enabled');
  const { monitoringSettings: alerts } = (await az(`backup vault show ${MAIN}`)).properties;
  assert.equal(alerts.classicAlertSettings.alertsForCriticalOperations, 'Disabled');
  const encryption = await az(`backup vault encryption show ${MAIN}`);
  assert.equal(encryption.properties.encryptionAtRestType, 'MicrosoftManaged');
  await refused(`backup vault identity assign ${MAIN} --system-assigned`, 1, /\(NotSupported\)/);
  const none = 'backup vault backup-properties show -g other -n none';
  await refused(none, 1, /ResourceNotFound/);
});

test('R62 R25 az enables the immutability of a vault, which then refuses its policy set to keep less, and disables it', async () => {
  const { az, refused } = lab;
  const state = async () =>
    (await az(`backup vault show ${MAIN}`)).properties.securitySettings.immutabilitySettings.state;
  const set = async (to: string) =>
    await az(`backup vault create ${MAIN} --location local --immutability-state ${to}`);
  assert.equal(await state(), 'Disabled');
  const made = await set('Unlocked');
  assert.equal(made.properties.securitySettings.immutabilitySettings.state, 'Unlocked');
  const policy = await az('backup policy show -g other -v main -n DefaultPolicy');
  const { retentionDuration } = policy.properties.retentionPolicy.dailySchedule;
  const keeping = (count: number): string => {
    retentionDuration.count = count;
    const file = lab.file(`keeping-${count}.json`, policy);
    return `backup policy set -g other -v main -n DefaultPolicy --policy ${file}`;
  };
  await refused(keeping(29), 1, /\(UserErrorRetentionReductionOnImmutableVault\)/);
  await az(keeping(31));
  await set('Disabled');
  assert.equal(await state(), 'Disabled');
  await az(keeping(30));
});

test('a vault with items is refused to be deleted; by force its items go, and it is soft-deleted with them, or gone where nothing is kept', async () => {
  const { az, refused } = lab;
  const enable = 'backup protection enable-for-vm -g other -v main';
  const web = `${lab.subscription}/resourceGroups/lab/providers/Microsoft.Compute/virtualMachines/web`;
  await az(`${enable} --vm ${web} -p DefaultPolicy`);
  const full = /existing resources within the vault/;
  await refused(`backup vault delete ${MAIN} -y`, 1, full);
  await az(`${SET} --soft-delete-feature-state Enable`);
  // Its data is kept for some days, and with it the vault.
  await az(`backup vault delete ${MAIN} -y --force`);
  await refused(`backup vault show ${MAIN}`, 3, /ResourceNotFound/);
  const deleted = `${lab.subscription}/providers/Microsoft.RecoveryServices/locations/local/deletedVaults`;
  const version = '--url-parameters api-version=2026-07-01';
  const [{ name }] = (await az(`rest --method get --url ${deleted} ${version}`)).value;
  const body = JSON.stringify({
    properties: { recoveryResourceGroupId: `${lab.subscription}/resourceGroups/other` },
  });
  await az(`rest --method post --url ${deleted}/${name}/undelete ${version} --body ${body}`);
  const [item] = await az('backup item list -g other -v main');
  assert.equal(item.properties.isScheduledForDeferredDelete, true);
  await az(`${SET} --soft-delete-feature-state Disable`);
  const ofItem = '-g other -v main -c web -i web --backup-management-type AzureIaasVM';
  await az(`backup protection undelete ${ofItem} --workload-type VM`);
  await az(`backup vault delete ${MAIN} -y --force`);
  await refused(`backup vault show ${MAIN}`, 3, /ResourceNotFound/);
});

test('a vault without items is deleted, and is not there any more', async () => {
  const { az, refused } = lab;
  await az('backup vault delete -g lab -n v1 --yes');
  await refused('backup vault show -g lab -n v1', 3, /ResourceNotFound/);
  assert.deepEqual(await az('backup vault list'), []);
});

test('nothing that az was told is in the log, no secret and no token', async () => {
  const { clientSecret } = serving.account;
  assert.ok(serving.log.split('\n').length > 20);
  assert.doesNotMatch(serving.log, new RegExp(`${clientSecret}|Bearer|eyJ`));
});

test('the service ends cleanly at SIGTERM, and is found again at its next start', async () => {
  assert.equal(await serving.stop('SIGTERM'), 0);
  const before = serving.account;
  await serving.start();
  const { url: _, ...rest } = serving.account;
  assert.deepEqual({ ...rest, url: before.url }, before);
  const answer = await new Promise<number | undefined>((resolve, reject) => {
    const agent = new Agent({ ca: readFileSync(before.caFile) });
    request(`${serving.account.url}/healthz`, { agent }, ({ statusCode }) => {
      resolve(statusCode);
      agent.destroy();
    })
      .on('error', reject)
      .end();
  });
  assert.equal(answer, 200);
});
