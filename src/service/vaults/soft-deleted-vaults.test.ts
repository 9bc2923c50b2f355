/** R60: a vault that is deleted stays a while, with all that is in it, and comes back; then it goes. */
import assert from 'node:assert/strict';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isHoldfastError } from '#base';
import { startVerify } from '../verifying/start-verify.ts';
import { vaultCharges } from '../charges/charges.ts';
import { readCharges } from '../charges/read-charges.ts';
import { examine } from '../doctor/doctor.ts';
import { deleteResourceGroup, putResourceGroup } from '../groups/resource-groups.ts';
import { deleteData, protect, undelete } from '../items/protect.ts';
import { listPolicies } from '../policies/policies.ts';
import { policyOf, weeklyOn } from '../retention/test-policies.ts';
import type { Service } from '../service.ts';
import { agedVm, WEB, type AgedVm } from '../testing/aged-vm.ts';
import { VAULT } from '../testing/test-service.ts';
import { createVault } from './create-vault.ts';
import { deleteVault } from './delete-vault.ts';
import { listDeletedVaults } from './deleted-vaults.ts';
import { undeleteVault } from './undelete-vault.ts';
import { getVault, listVaults, updateVault } from './vaults.ts';

const DAY_MS = 86_400_000;
/** Points come on Wednesdays by themselves; the clock starts on a Thursday. */
const QUIET = policyOf(weeklyOn('wednesday'), { weeks: 40 });

/** With two points, whose data is deleted. */
async function deletedVm(t: TestContext, days?: number): Promise<AgedVm> {
  const vm = await agedVm(t, { policy: QUIET, settings: { chargeLookMs: 1e12 } });
  if (days !== undefined)
    await updateVault(vm.service, VAULT, { settings: { softDeleteDays: days } });
  vm.write({ 1: 'first' });
  await vm.backUp(300);
  vm.write({ 2: 'second' });
  await vm.backUp(300);
  await deleteData(vm.service, WEB);
  await vm.settled();
  return vm;
}

async function idOf(vm: AgedVm): Promise<string> {
  return (await getVault(vm.service.catalogue.read, VAULT)).id;
}

async function deletedIds({ service }: AgedVm): Promise<readonly string[]> {
  return (await listDeletedVaults(service.catalogue.read)).map(({ id }) => id);
}

async function doctorOf({ service }: AgedVm): Promise<readonly string[]> {
  const found = await examine(service);
  return found
    .filter(({ what }) => !/recovery key|VMs cannot be listed/.test(what))
    .map(({ where, what }) => `${where}: ${what}`);
}

/** All that the catalogue holds of what a vault remembers. */
async function rowsOf({ service }: AgedVm): Promise<unknown> {
  const { read } = service.catalogue;
  const items = await read.selectFrom('items').selectAll().execute();
  const points = await read.selectFrom('points').selectAll().orderBy('id').execute();
  const policies = await read.selectFrom('policies').selectAll().orderBy('id').execute();
  return {
    items: items.map((row) => without(row, ['revision', 'nextRunAt', 'lastRunAt'])),
    points: points.map((row) => without(row, ['jobId'])),
    policies: policies.map((row) => without(row, ['revision'])),
  };
}

function without(row: object, names: readonly string[]): unknown {
  return Object.fromEntries(Object.entries(row).filter(([name]) => !names.includes(name)));
}

test('R60 a vault with soft-deleted items alone is soft-deleted, after any start, and comes back as it was', async (t) => {
  const vm = await deletedVm(t);
  const id = await idOf(vm);
  const before = await rowsOf(vm);
  const points = await vm.points();
  const now = vm.clock.nowMs();
  const deletion = await deleteVault(vm.service, VAULT);
  assert.deepEqual(deletion, { at: now, purgeAt: now + 14 * DAY_MS });
  for (const how of ['at once', 'restarted', 'without its catalogue']) {
    if (how !== 'at once') await vm.service.close();
    if (how === 'without its catalogue') {
      for (const end of ['', '-wal', '-shm'])
        rmSync(join(vm.made.data, `catalogue.db${end}`), { force: true });
    }
    if (how !== 'at once') await vm.made.restart();
    const { read } = vm.service.catalogue;
    assert.deepEqual(await listVaults(read), [], how);
    const [known] = await listDeletedVaults(read);
    const { repository: _, ...told } = known!;
    assert.deepEqual(told, {
      id,
      group: 'lab',
      name: 'v1',
      deletedAt: now,
      purgeAt: now + 14 * DAY_MS,
    });
    for (const table of ['items', 'points', 'policies', 'documents'] as const) {
      assert.deepEqual(await read.selectFrom(table).selectAll().execute(), [], `${table} ${how}`);
    }
    assert.deepEqual(await doctorOf(vm), [], how);
  }
  await putResourceGroup(vm.service, { name: 'lab', location: 'local', tags: {} });
  const back = await undeleteVault(vm.service, { id });
  assert.deepEqual([back.id, back.group, back.name], [id, 'lab', 'v1']);
  assert.deepEqual(await deletedIds(vm), []);
  assert.deepEqual(await rowsOf(vm), before);
  assert.deepEqual(await doctorOf(vm), []);
  await undelete(vm.service, WEB);
  await vm.settled();
  assert.deepEqual(
    (await vm.points()).map(({ point }) => point.id),
    points.map(({ point }) => point.id),
  );
  assert.equal((await listPolicies(vm.service.catalogue.read, VAULT)).length, 2);
});

test('R60 its name is free, several soft-deleted ones of it may be there, and each comes back into a group where it is free', async (t) => {
  const vm = await deletedVm(t);
  const first = await idOf(vm);
  await deleteVault(vm.service, VAULT);
  await createVault(vm.service, { ...VAULT, tags: {}, settings: {} });
  const second = await idOf(vm);
  // The VM is free for it.
  await protect(vm.service, WEB, { policy: 'DefaultPolicy' });
  await assert.rejects(undeleteVault(vm.service, { id: first }), { code: 'ResourceExists' });
  await deleteData(vm.service, WEB);
  await vm.settled();
  vm.clock.advance(1000);
  await deleteVault(vm.service, VAULT);
  assert.deepEqual(await deletedIds(vm), [second, first]);
  await putResourceGroup(vm.service, { name: 'Other', location: 'local', tags: {} });
  const other = await undeleteVault(vm.service, { id: first, group: 'other' });
  assert.deepEqual([other.id, other.group], [first, 'Other']);
  await undeleteVault(vm.service, { id: second });
  assert.equal(await idOf(vm), second);
  await vm.made.restart();
  const known = await listVaults(vm.service.catalogue.read);
  const groups = new Map(known.map(({ id, group }) => [id, group]));
  assert.deepEqual([groups.get(first), groups.get(second), groups.size], ['Other', 'lab', 2]);
  assert.deepEqual(await doctorOf(vm), []);
});

test('R60 it outlives its resource group, and comes back into one that is there', async (t) => {
  const vm = await agedVm(t);
  const { service } = vm;
  await putResourceGroup(service, { name: 'gone', location: 'local', tags: {} });
  const at = { group: 'gone', name: 'v9' };
  const { id } = await createVault(service, { ...at, tags: {}, settings: {} });
  await deleteVault(service, at);
  await deleteResourceGroup(service, 'gone');
  await assert.rejects(undeleteVault(service, { id }), { code: 'ResourceGroupNotFound' });
  await undeleteVault(service, { id, group: 'lab' });
  assert.equal((await getVault(service.catalogue.read, { group: 'lab', name: 'v9' })).id, id);
});

test('R60 after its days it goes, with its points and its folder', async (t) => {
  const vm = await deletedVm(t, 20);
  const id = await idOf(vm);
  const folder = join(vm.made.data, 'vaults', id);
  await vm.pass(3);
  await deleteVault(vm.service, VAULT);
  await vm.pass(19.9);
  assert.deepEqual(await deletedIds(vm), [id], 'its own 20 days, not those of its items');
  assert.equal(existsSync(folder), true);
  await vm.pass(0.2);
  await until(async () => !existsSync(folder));
  assert.deepEqual(await deletedIds(vm), []);
  await assert.rejects(undeleteVault(vm.service, { id }), { code: 'ResourceNotFound' });
  await vm.made.restart();
  assert.deepEqual(await doctorOf(vm), []);
  assert.deepEqual(vm.made.complaints, []);
});

test('R60 without soft delete an empty vault goes at once; one with soft-deleted items stays as long as they were promised', async (t) => {
  const vm = await deletedVm(t);
  const { purgeAt } = await vm.item();
  await updateVault(vm.service, VAULT, { settings: { softDelete: 'Disabled' } });
  await vm.pass(2);
  assert.equal((await deleteVault(vm.service, VAULT))?.purgeAt, purgeAt);
  const empty = { ...VAULT, name: 'v2' };
  const settings = { softDelete: 'Disabled' } as const;
  const { id } = await createVault(vm.service, { ...empty, tags: {}, settings });
  assert.equal(await deleteVault(vm.service, empty), undefined);
  assert.equal(existsSync(join(vm.made.data, 'vaults', id)), false);
});

test('a vault with a job is not deleted before that has ended', async (t) => {
  const vm = await deletedVm(t);
  const { jobId } = await startVerify(vm.service, VAULT, undefined);
  await assert.rejects(deleteVault(vm.service, VAULT), (error) => {
    assert.ok(isHoldfastError(error, 'VaultInUse'));
    assert.match(error.message, new RegExp(`Verify of v1 \\(${jobId}\\)`));
    return true;
  });
  await vm.settled();
  await deleteVault(vm.service, VAULT);
});

test('R60 a repository out of reach: it is not undeleted, the doctor says why, and at its time nothing of it is removed', async (t) => {
  const vm = await deletedVm(t);
  const id = await idOf(vm);
  const folder = join(vm.made.data, 'vaults', id);
  await deleteVault(vm.service, VAULT);
  await vm.service.repositories.release(id);
  const [repository, away] = [join(folder, 'repository'), join(folder, 'away')];
  renameSync(repository, away);
  await assert.rejects(undeleteVault(vm.service, { id }), { code: 'VaultUnavailable' });
  await vm.made.restart();
  assert.match(
    (await doctorOf(vm)).join('\n'),
    /soft-deleted vault lab\/v1: its repository cannot be opened/,
  );
  renameSync(away, repository);
  assert.deepEqual(await doctorOf(vm), []);
  await vm.service.repositories.release(id);
  renameSync(repository, away);
  await vm.pass(15);
  await until(async () => (await deletedIds(vm)).length === 0);
  assert.equal(existsSync(away), true);
  assert.equal(existsSync(join(folder, 'forgotten')), true);
});

/** The same service, killed before its catalogue is written. */
function killed(service: Service): Service {
  const change = async (): Promise<never> => {
    throw new Error('killed');
  };
  return { ...service, catalogue: { ...service.catalogue, change } };
}

test('R60 killed between document and catalogue it is deleted, or undeleted, by the next start', async (t) => {
  const vm = await deletedVm(t);
  const id = await idOf(vm);
  await assert.rejects(deleteVault(killed(vm.service), VAULT), /killed/);
  await vm.made.restart();
  assert.deepEqual(await deletedIds(vm), [id]);
  assert.deepEqual(await listVaults(vm.service.catalogue.read), []);
  await assert.rejects(undeleteVault(killed(vm.service), { id }));
  await vm.made.restart();
  assert.deepEqual(await deletedIds(vm), []);
  assert.equal((await vm.pointIds()).length, 2);
  assert.deepEqual(await doctorOf(vm), []);
});

test('R60 R61 days in a soft-deleted vault are charged as if it had stayed, once it is back', async (t) => {
  const charged = async (isDeleted: boolean): Promise<unknown> => {
    const vm = await deletedVm(t, 30);
    const id = await idOf(vm);
    await vm.pass(2);
    await readCharges(vm.service);
    if (isDeleted) await deleteVault(vm.service, VAULT);
    await vm.pass(22);
    if (isDeleted) await undeleteVault(vm.service, { id });
    await readCharges(vm.service);
    const { items } = await vaultCharges(vm.service.catalogue.read, VAULT, '2026-01');
    // By how many bytes a sealed one is longer than another is chance.
    return items.map(({ chargedDays, freeDays, estimatedDays, unitDays, byteDays, last }) => ({
      chargedDays,
      freeDays,
      estimatedDays,
      unitDays,
      date: last?.date,
      byteDays: byteDays / last!.storedBytes,
    }));
  };
  const told = await charged(true);
  assert.deepEqual(told, await charged(false));
  t.diagnostic(JSON.stringify(told));
});

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 400; tries += 1) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail('it does not come');
}
