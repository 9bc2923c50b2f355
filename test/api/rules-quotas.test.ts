/** Azure's quotas (R1, R6): none holds unless the settings have it; with Azure's values the last is taken, the next refused. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { AnyJson } from '../../src/api/testing/any-json.ts';
import { getItem } from '#service';
import type { Row } from '../../src/service/catalogue/schema.ts';
import { discoverHost } from '../../src/service/hosts/discovery.ts';
import { AZURE_QUOTAS, type Quotas } from '../../src/service/policy/quotas.ts';
import { WEB } from '../../src/service/testing/aged-vm.ts';
import { addImages, GROUP } from '../../src/service/testing/test-service.ts';
import { DAY_MS, rulesLab, wireOf, WEEK } from './rules-lab.ts';

/** Columns that tell rows apart. */
const NAMED = {
  items: ['id', 'vmKey', 'vmName', 'repositoryItem'],
  policies: ['id', 'key', 'name'],
  vaults: ['id', 'key', 'name', 'repository', 'repositoryId'],
  jobs: ['id'],
} as const;

/** `web` is protected by the policy `P`, `db` is not; no quota holds until a test sets it. */
async function quotaLab(t: TestContext) {
  const lab = await rulesLab(t, { policy: WEEK });
  const { service, made } = lab.vm;
  addImages(made, 'db', [{ name: 'a', sizeBytes: 65_536 }]);
  await discoverHost(service, GROUP);
  const db = lab.item.replaceAll(`;${GROUP};web`, `;${GROUP};db`);
  return {
    ...lab,
    hold: (quotas: Quotas): void => void Object.assign(service.settings, { quotas }),
    /** Copies of a row that is there, under names of their own, so that there are `count` in all. */
    seed: async (table: keyof typeof NAMED, count: number, columns: object = {}): Promise<void> => {
      await service.catalogue.change(async (into) => {
        const rows = await into
          .selectFrom(table as 'items')
          .selectAll()
          .execute();
        const { place: _, ...row } = rows[0]! as Row<'items'> & { readonly place?: number };
        for (let at = rows.length; at < count; at += 1) {
          const name = `seeded-${at}`;
          const names = Object.fromEntries(NAMED[table].map((column) => [column, name]));
          const values = { ...row, ...names, ...columns };
          await into
            .insertInto(table as 'items')
            .values(values)
            .execute();
        }
      });
    },
    protectDb: async (policy = 'P') => {
      const protectedItemType = 'Microsoft.Compute/virtualMachines';
      const properties = { protectedItemType, policyId: lab.policyId(policy) };
      return await lab.call('PUT', db, { properties });
    },
    put: async (policy: string) =>
      await lab.call('PUT', lab.policyId(policy), { properties: wireOf(WEEK) }),
  };
}

type QuotaLab = Awaited<ReturnType<typeof quotaLab>>;

/** Refused for that quota, and for none once it does not hold. */
async function refusedFor(
  lab: QuotaLab,
  quota: keyof Quotas,
  ask: () => Promise<{ readonly status: number; readonly body: AnyJson }>,
): Promise<void> {
  const { status, body } = await ask();
  assert.deepEqual([status, body.error.code], [409, 'UserErrorQuotaExceeded'], quota);
  assert.match(body.error.message, new RegExp(`quota ${quota}: .* the (most|least)`));
  lab.hold({});
  const taken = await ask();
  assert.ok(taken.status < 300, JSON.stringify(taken.body));
}

test('R1: a subscription has the vaults that the settings allow, in Azure 500', async (t) => {
  const lab = await quotaLab(t);
  const create = async (name: string) =>
    await lab.call('PUT', lab.vault.replace(/[^/]+$/, name), { location: 'local' });
  await lab.seed('vaults', 499);
  lab.hold(AZURE_QUOTAS);
  assert.equal((await create('last')).status, 201);
  // One that is there is not one more.
  assert.equal((await create('last')).status, 200);
  await refusedFor(lab, 'vaultsPerSubscription', async () => await create('more'));
});

test('R1: a vault has the policies that the settings allow, in Azure 200, changed 50 times a day', async (t) => {
  const lab = await quotaLab(t);
  const there = (await lab.call('GET', `${lab.vault}/backupPolicies`)).body.value.length;
  await lab.seed('policies', 199);
  assert.ok(there < 199);
  lab.hold(AZURE_QUOTAS);
  assert.equal((await lab.put('last')).status, 200);
  await refusedFor(lab, 'policiesPerVault', async () => await lab.put('more'));
  lab.vm.clock.advance(DAY_MS);
  lab.hold({ policyChangesPerDay: AZURE_QUOTAS.policyChangesPerDay });
  for (let put = 0; put < 50; put += 1) assert.equal((await lab.put('last')).status, 200);
  await refusedFor(lab, 'policyChangesPerDay', async () => await lab.put('last'));
  lab.hold(AZURE_QUOTAS);
  assert.equal((await lab.put('last')).status, 409);
  lab.vm.clock.advance(DAY_MS);
  assert.equal((await lab.put('last')).status, 200);
});

test('R1: a vault backs up as many VMs as the settings allow, in Azure 1 000, and knows 2 000', async (t) => {
  for (const [quota, count, state] of [
    ['vmsPerVault', 1000, 'Protected'],
    ['itemsPerVault', 2000, 'SoftDeleted'],
  ] as const) {
    const lab = await quotaLab(t);
    await lab.seed('items', count - 1, { state });
    lab.hold({ [quota]: AZURE_QUOTAS[quota] });
    // Those that it has may be changed.
    await lab.protect('DefaultPolicy');
    assert.equal((await lab.protectDb()).status, 202, quota);
    const stop = { protectionState: 'ProtectionStopped' };
    const resume = { policyId: lab.policyId() };
    const protectedItemType = 'Microsoft.Compute/virtualMachines';
    const put = async (item: object) =>
      await lab.call('PUT', lab.item, { properties: { protectedItemType, ...item } });
    assert.equal((await put(stop)).status, 202);
    await lab.seed('items', count + 1, { state });
    if (quota === 'vmsPerVault') await refusedFor(lab, quota, async () => await put(resume));
    else assert.equal((await put(resume)).status, 202);
  }
});

test('R1: protection is changed as often a day as the settings allow, in Azure 1 000 times a vault', async (t) => {
  const lab = await quotaLab(t);
  await lab.protect('P');
  await lab.seed('jobs', 999);
  lab.hold(AZURE_QUOTAS);
  await lab.protect('P');
  await refusedFor(lab, 'protectionChangesPerDay', async () => await lab.protectDb());
  lab.hold(AZURE_QUOTAS);
  lab.vm.clock.advance(DAY_MS);
  assert.equal((await lab.protectDb()).status, 202);
});

test('R1: a policy has the VMs that the settings allow, in Azure 100', async (t) => {
  const lab = await quotaLab(t);
  await lab.seed('items', 100);
  lab.hold(AZURE_QUOTAS);
  // Those that have it keep it.
  await lab.protect('P');
  await refusedFor(lab, 'vmsPerPolicy', async () => await lab.protectDb());
  lab.hold(AZURE_QUOTAS);
  assert.equal((await lab.protectDb('DefaultPolicy')).status, 202);
});

test('R6: a VM has at least the cores and the memory of the settings, in Azure 2 and 1 GiB; one of unknown size is taken', async (t) => {
  const lab = await quotaLab(t);
  const { service } = lab.vm;
  const size = async (facts: object): Promise<void> => {
    await service.catalogue.change(async (change) => {
      const rows = change.selectFrom('vms').select('facts').where('key', '=', 'db');
      const { facts: json } = await rows.executeTakeFirstOrThrow();
      const all = JSON.stringify({ ...JSON.parse(json), ...facts });
      await change.updateTable('vms').set({ facts: all }).where('key', '=', 'db').execute();
    });
  };
  lab.hold(AZURE_QUOTAS);
  const GIB = 1024 ** 3;
  for (const [quota, small] of [
    ['minimumCores', { cores: 1, memoryBytes: GIB }],
    ['minimumMemoryBytes', { cores: 2, memoryBytes: GIB - 1 }],
  ] as const) {
    await size(small);
    const { status, body } = await lab.protectDb();
    assert.deepEqual([status, body.error.code], [409, 'UserErrorQuotaExceeded']);
    assert.match(body.error.message, new RegExp(`quota ${quota}: the VM has`));
  }
  await size({ cores: 2, memoryBytes: GIB });
  assert.equal((await lab.protectDb()).status, 202);
  const item = await getItem(service.catalogue.read, WEB);
  assert.equal(item.state, 'IRPending', 'of web nobody knows the size');
  await lab.protect('DefaultPolicy');
});
