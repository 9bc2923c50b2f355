/** Vaults and policies by the real `az`, from the log-in on; and the login itself. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { azOf, type Az } from './az.ts';
import { Serving } from './serving.ts';

const serving = new Serving();
const V = ['--resource-group', 'lab', '--vault-name', 'main'];
let az: Az;

before(async () => {
  await serving.start();
  const images = join(serving.folder, 'images');
  mkdirSync(join(images, 'web'), { recursive: true });
  writeFileSync(join(images, 'web', 'system.raw'), Buffer.alloc(65_536, 1));
  writeFileSync(join(images, 'web', 'data.raw'), Buffer.alloc(65_536, 2));
  az = await azOf(serving);
  const { subscriptionId } = serving.account;
  const host = `/subscriptions/${subscriptionId}/providers/Holdfast.Backup/hosts/site`;
  const body = JSON.stringify({ properties: { connect: `images:${images}` } });
  const added = await az(
    'rest',
    '--method',
    'put',
    '--url',
    `${host}?api-version=2026-01-01`,
    '--body',
    body,
  );
  assert.equal(added.code, 0, added.stderr);
});

test('what holdfast env prints logs az in; the service is its cloud', async () => {
  const { json } = await az('account', 'show');
  const { tenantId, subscriptionId, clientId } = serving.account;
  assert.deepEqual(
    [json.environmentName, json.tenantId, json.id, json.user.name],
    ['Holdfast', tenantId, subscriptionId, clientId],
  );
});

test('a wrong secret and a wrong id are refused by az with exit code 1', async () => {
  const { tenantId, clientId } = serving.account;
  for (const [id, secret] of [
    [clientId, 'wrong'],
    ['00000000-0000-0000-0000-000000000000', 'wrong'],
  ] as const) {
    const login = ['--service-principal', '-u', id, '-p', secret, '--tenant', tenantId];
    const { code, stderr } = await az('login', ...login);
    assert.equal(code, 1);
    assert.match(stderr, /The client id or the secret is wrong/);
  }
  // The account that was logged in before is the one that goes on.
  assert.equal((await az('account', 'show')).code, 0);
});

test('groups and VMs are listed and shown', async () => {
  assert.equal((await az('group', 'create', '--name', 'lab', '--location', 'local')).code, 0);
  const groups = await az('group', 'list');
  assert.deepEqual(
    groups.json.map((group: { name: string }) => group.name),
    ['lab', 'site'],
  );
  const vms = await az('vm', 'list');
  assert.deepEqual(
    vms.json.map((vm: { name: string }) => vm.name),
    ['web'],
  );
  const shown = await az('vm', 'show', '--resource-group', 'SITE', '--name', 'WEB');
  assert.equal(shown.json.storageProfile.dataDisks[0].lun, 0);
  assert.equal((await az('vm', 'show', '--resource-group', 'site', '--name', 'none')).code, 3);
});

test('M1 a vault is created, shown, listed and its properties set; what is not possible is refused', async () => {
  const place = ['--resource-group', 'lab', '--name', 'main'];
  const made = await az('backup', 'vault', 'create', ...place, '--location', 'local');
  assert.equal(made.code, 0, made.stderr);
  assert.equal(made.json.properties.provisioningState, 'Succeeded');
  const other = ['--resource-group', 'lab', '--name', 'x'];
  const elsewhere = await az('backup', 'vault', 'create', ...other, '--location', 'westus');
  assert.equal(elsewhere.code, 1);
  assert.match(elsewhere.stderr, /the only one here is 'local'/);
  const vaults = await az('backup', 'vault', 'list');
  assert.deepEqual(
    vaults.json.map((vault: { name: string }) => vault.name),
    ['main'],
  );

  const set = ['backup', 'vault', 'backup-properties', 'set', ...place];
  const geo = await az(...set, '--backup-storage-redundancy', 'GeoRedundant');
  assert.deepEqual([geo.code, /\(NotSupported\)/.test(geo.stderr)], [1, true]);
  assert.equal((await az(...set, '--backup-storage-redundancy', 'LocallyRedundant')).code, 0);
  assert.equal((await az(...set, '--soft-delete-feature-state', 'Disable')).code, 0);
  const shown = await az('backup', 'vault', 'backup-properties', 'show', ...place);
  assert.equal(shown.json[0].properties.storageModelType, 'LocallyRedundant');
  assert.equal(shown.json[1].properties.softDeleteFeatureState, 'Disabled');
});

test('R7 policies are listed, shown, made from the default one, changed and deleted', async () => {
  const list = await az('backup', 'policy', 'list', ...V);
  assert.deepEqual(
    list.json.map((policy: { name: string }) => policy.name),
    ['DefaultPolicy'],
  );
  const { json: policy } = await az('backup', 'policy', 'get-default-for-vm', ...V);
  assert.equal(policy.name, 'DefaultPolicy');
  const { properties } = policy;
  const file = join(serving.folder, 'policy.json');
  const create = async (name: string): Promise<{ code: number; stderr: string }> => {
    writeFileSync(file, JSON.stringify(policy));
    const names = ['--name', name, '--policy', `@${file}`];
    return await az(
      'backup',
      'policy',
      'create',
      ...V,
      ...names,
      '--backup-management-type',
      'AzureIaasVM',
    );
  };
  properties.retentionPolicy.dailySchedule.retentionDuration.count = 40;
  const created = await create('forty');
  assert.equal(created.code, 0, created.stderr);
  properties.retentionPolicy.dailySchedule.retentionDuration.count = 0;
  const none = await create('none');
  assert.equal(none.code, 1);
  assert.match(none.stderr, /UserErrorInvalidRetentionDuration/);

  const forty = await az('backup', 'policy', 'show', ...V, '--name', 'forty');
  forty.json.properties.retentionPolicy.dailySchedule.retentionDuration.count = 50;
  writeFileSync(file, JSON.stringify(forty.json));
  const set = await az('backup', 'policy', 'set', ...V, '--policy', `@${file}`);
  assert.equal(set.json.properties.retentionPolicy.dailySchedule.retentionDuration.count, 50);
  assert.equal((await az('backup', 'policy', 'delete', ...V, '--name', 'forty')).code, 0);
  assert.equal((await az('backup', 'policy', 'show', ...V, '--name', 'forty')).code, 3);
});

test('a vault without items is deleted, and is not there any more', async () => {
  const place = ['--resource-group', 'lab', '--name', 'main'];
  assert.equal((await az('backup', 'vault', 'delete', ...place, '--yes')).code, 0);
  const gone = await az('backup', 'vault', 'show', ...place);
  assert.equal(gone.code, 3);
  assert.match(gone.stderr, /ResourceNotFound/);
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
