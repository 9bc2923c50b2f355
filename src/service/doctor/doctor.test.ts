import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isHoldfastError } from '#base';
import { expirePoints } from '#backup';
import { listPoints } from '../points/points.ts';
import { backedUpVm, type BackedUpVm } from '../testing/backed-up-vm.ts';
import { GROUP, type TestService } from '../testing/test-service.ts';
import { examine } from './doctor.ts';

/** A service with one item of two points. */
async function patient(t: TestContext): Promise<BackedUpVm> {
  const vm = await backedUpVm(t, { backups: 2 });
  assert.deepEqual(await errors(vm.made), []);
  return vm;
}

async function errors({ service }: TestService): Promise<readonly string[]> {
  return (await examine(service()))
    .filter(({ severity }) => severity === 'error')
    .map(({ where, what }) => `${where}: ${what}`);
}

test('a point whose row was deleted is found, and the next start brings it back with its date', async (t) => {
  const { made, item, points } = await patient(t);
  const { catalogue } = made.service();
  const before = await listPoints(catalogue.read, item.id);
  await catalogue.change(async (change) => {
    await change.deleteFrom('points').where('id', '=', points[0]!).execute();
  });
  const found = await errors(made);
  assert.ok(
    found.some((line) => line.includes(points[0]!) && /catalogue does not have/.test(line)),
  );
  assert.ok(found.some((line) => /document item-.* disagree/.test(line)));
  await made.restart();
  assert.deepEqual(await errors(made), []);
  assert.deepEqual(await listPoints(made.service().catalogue.read, item.id), before);
});

test('a point that was expired with the plumbing is found, and the next start forgets it', async (t) => {
  const { made, item, points } = await patient(t);
  await made.service().repositories.use(item.vaultId, async (repository) => {
    await expirePoints(repository.parts, [points[1]!]);
  });
  assert.match((await errors(made)).join(), new RegExp(`does not have: ${points[1]}`));
  await made.restart();
  assert.deepEqual(await errors(made), []);
  const left = await listPoints(made.service().catalogue.read, item.id);
  assert.deepEqual(
    left.map(({ id }) => id),
    [points[0]],
  );
});

test('a document that was changed, and a policy and an item whose rows were changed, are found and mended', async (t) => {
  const { made, item } = await patient(t);
  const { repositories, catalogue } = made.service();
  await repositories.remember(item.vaultId, 'vault', {
    version: 1,
    id: item.vaultId,
    group: GROUP,
    name: 'renamed',
    tags: {},
    settings: {
      version: 1,
      softDelete: 'Enabled',
      softDeleteDays: 30,
      enhancedSecurity: 'Enabled',
      jobFailureAlerts: 'Enabled',
      classicAlerts: 'Enabled',
      publicNetworkAccess: 'Enabled',
    },
    createdAt: 1,
  });
  assert.match((await errors(made)).join(), /document vault .* disagree/);
  await catalogue.change(async (change) => {
    await change.updateTable('items').set({ state: 'ProtectionStopped' }).execute();
  });
  assert.match((await errors(made)).join(), /item lab\/web: .* disagree/);
  await made.restart();
  assert.deepEqual(await errors(made), []);
  await made.service().catalogue.change(async (change) => {
    await change.updateTable('policies').set({ createdAt: 7 }).execute();
  });
  assert.match(
    (await errors(made)).join(),
    /policy DefaultPolicy of the vault lab\/renamed: .* disagree/,
  );
  await made.restart();
  assert.deepEqual(await errors(made), []);
});

test('a lease that nobody works at, a folder that no vault has, and a missing repository are found', async (t) => {
  const { made, item } = await patient(t);
  const { catalogue, repositories } = made.service();
  await catalogue.change(async (change) => {
    const { place: _, ...row } = await change
      .selectFrom('jobs')
      .selectAll()
      .limit(1)
      .executeTakeFirstOrThrow();
    await change
      .insertInto('jobs')
      .values({
        ...row,
        id: 'stuck',
        operation: 'Other',
        endedAt: null,
        leaseOwner: 'dead',
        leaseUntil: 1,
      })
      .execute();
  });
  const stranger = join(made.data, 'vaults', 'stranger');
  mkdirSync(stranger);
  const found = (await errors(made)).join('\n');
  assert.match(found, /job stuck: .*nobody works at it/);
  assert.match(found, /stranger: a vault that the catalogue does not have/);
  rmSync(stranger, { recursive: true });
  await repositories.release(item.vaultId);
  const folder = join(made.data, 'vaults', item.vaultId, 'repository');
  renameSync(folder, `${folder}.away`);
  assert.match((await errors(made)).join(), /vault lab\/v1: its repository cannot be opened/);
  await made.restart();
  assert.match(made.complaints.join(), /repository of a vault cannot be opened/);
  await made.service().repositories.release(item.vaultId);
  renameSync(`${folder}.away`, folder);
  await made.restart();
  const left = (await errors(made)).filter((line) => !line.startsWith('job stuck'));
  assert.deepEqual(left, []);
});

test('another master.key is refused or told by the doctor, and the right one brings everything back', async (t) => {
  const { made } = await patient(t);
  const key = join(made.data, 'master.key');
  await made.service().close();
  renameSync(key, `${key}.away`);
  writeFileSync(key, randomBytes(32), { mode: 0o600 });
  try {
    await made.restart();
    assert.match((await errors(made)).join(), /MasterKeyWrong/);
    await made.service().close();
  } catch (error) {
    assert.ok(isHoldfastError(error, 'MasterKeyWrong'), String(error));
  }
  renameSync(`${key}.away`, key);
  await made.restart();
  assert.deepEqual(await errors(made), []);
});
