/** Immutable vaults (R25, R62) through the API, on a clock that the test moves: nothing goes before its time. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { AnyJson } from '../../src/api/testing/any-json.ts';
import { testApi } from '../../src/api/testing/test-api.ts';
import type { BackupPolicy } from '../../src/service/policy/backup-policy.ts';
import { DAILY, policyOf, weeklyOn } from '../../src/service/retention/test-policies.ts';
import { MONTH, rulesLab, WEEK, wireOf } from './rules-lab.ts';

const DENIED = 'UserErrorOperationDeniedOnImmutableItem';
const REDUCTION = 'UserErrorRetentionReductionOnImmutableVault';
const SUSPENDED = 'UserErrorRetentionChangeOfSuspendedItem';
const STATE_CHANGE = 'UserErrorUnsupportedVaultImmutabilityStateChange';
const WEB = { resourceGroup: 'lab', name: 'web' };

type State = 'Disabled' | 'Unlocked' | 'Locked';

const immutability = (state: State): object => ({
  properties: { securitySettings: { immutabilitySettings: { state } } },
});

async function immutableLab(t: TestContext, policy: BackupPolicy) {
  const lab = await rulesLab(t, { policy });
  const { call, vault, item, ownVault, ownItem } = lab;
  const set = async (state: State): Promise<void> => {
    const { status, body } = await call('PATCH', vault, immutability(state));
    assert.equal(status, 200, JSON.stringify(body));
  };
  /** `200`, or the code of the refusal. */
  const codeOf = ({ status, body }: { readonly status: number; readonly body: AnyJson }) =>
    status < 300 ? status : body.error.code;
  await set('Unlocked');
  return {
    ...lab,
    set,
    codeOf,
    edit: async (to: BackupPolicy, name = 'P') =>
      codeOf(await call('PUT', lab.policyId(name), { properties: wireOf(to) })),
    give: async (policyName: string) =>
      await call('PUT', item, {
        properties: {
          protectedItemType: 'Microsoft.Compute/virtualMachines',
          policyId: lab.policyId(policyName),
        },
      }),
    act: async (point: string, action: string, body?: object) =>
      await call('POST', `${ownItem}/recoveryPoints/${point}/${action}`, body),
    /** Which refusal a preview foresees; undefined: none. */
    foreseen: async (change: object): Promise<string | undefined> => {
      const { status, body } = await call('POST', `${ownVault}/previews`, change);
      assert.equal(status, 200, JSON.stringify(body));
      return body.refusal?.code;
    },
    /** So many days, each with its scheduled backup. */
    days: async (count: number): Promise<void> => {
      for (let day = 0; day < count; day += 1) await lab.scheduled();
    },
  };
}

test('R62 immutability is enabled and disabled at will, locked only where it is enabled, and then for ever', async (t) => {
  const api = await testApi(t);
  const path = `${await api.group('lab')}/providers/Microsoft.RecoveryServices/vaults/v`;
  const put = async (state: State) =>
    await api.call('PUT', path, { body: { location: 'local', ...immutability(state) } });
  const patch = async (state: State) =>
    await api.call('PATCH', path, { body: immutability(state) });
  const shown = async () =>
    (await api.call('GET', path)).body.properties.securitySettings.immutabilitySettings.state;
  const refused = async (answer: ReturnType<typeof put>, says: RegExp): Promise<void> => {
    const { status, body } = await answer;
    assert.deepEqual([status, body.error?.code], [400, STATE_CHANGE]);
    assert.match(body.error.message, says);
  };
  // As in Azure a vault is not created with what can never be undone.
  await refused(put('Locked'), /make the vault Unlocked first/);
  assert.equal((await put('Unlocked')).status, 201);
  assert.equal(await shown(), 'Unlocked');
  assert.equal((await patch('Disabled')).status, 200);
  assert.equal(await shown(), 'Disabled');
  await refused(patch('Locked'), /locked only where it is enabled/);
  for (const state of ['Unlocked', 'Locked', 'Locked'] as const) {
    assert.equal((await patch(state)).status, 200);
  }
  for (const state of ['Unlocked', 'Disabled'] as const) {
    await refused(patch(state), /is locked: it cannot be made/);
    await refused(put(state), /is locked: it cannot be made/);
  }
  // What says nothing of it leaves it alone.
  const plain = await api.call('PUT', path, { body: { location: 'local', tags: { a: 'b' } } });
  assert.equal(plain.status, 200);
  assert.equal(await shown(), 'Locked');
  const wrong = await api.call('PATCH', path, { body: immutability('locked' as State) });
  assert.equal(wrong.status, 400);
  assert.equal((await api.call('DELETE', path)).status, 200, 'one without items can be deleted');
});

test('R62 data is not deleted while a point of it is to be kept; by its date each goes, and the last with the data then', async (t) => {
  const lab = await immutableLab(t, WEEK);
  await lab.days(2);
  const deletion = async (): Promise<string | number> =>
    lab.codeOf(await lab.call('DELETE', lab.item));
  const foreseen = async () => await lab.foreseen({ change: 'DeleteData', vm: WEB });
  assert.deepEqual([await foreseen(), await deletion()], [DENIED, DENIED]);
  // However it is stopped; and without soft delete as well, which can be turned off: it keeps no point.
  await lab.stop();
  assert.deepEqual([await foreseen(), await deletion()], [DENIED, DENIED]);
  await lab.vaultConfig({ softDeleteFeatureState: 'Disabled' });
  assert.deepEqual([await foreseen(), await deletion()], [DENIED, DENIED]);
  const vault = await lab.call('DELETE', lab.vault);
  assert.equal(vault.body.error.code, 'ServiceResourceNotEmptyWithBackendMessage');
  assert.equal(lab.codeOf(await lab.give('P')), 202, 'resumed by the policy that it had');
  await lab.suspend();
  const { body } = await lab.call('DELETE', lab.item);
  assert.match(body.error.message, /'lab\/web' cannot be deleted: the vault 'v1' is immutable/);
  assert.match(body.error.message, /is to be kept until \d{4}.*\(and 1 more, none for longer\)/);
  await lab.vm.pass(8);
  const left = await lab.points();
  assert.equal(left.length, 1, 'the first has expired by its date');
  assert.equal(await foreseen(), undefined);
  assert.equal((await lab.deleteData()).status, 'Completed');
  assert.equal((await lab.call('DELETE', lab.vault)).status, 200);
});

test('R62 no point is deleted by hand before its date, or unpinned; it can be pinned and kept longer', async (t) => {
  const lab = await immutableLab(t, WEEK);
  await lab.set('Locked');
  await lab.days(3);
  const [first, second] = (await lab.points()).map(({ name }) => name);
  const code = async (...of: Parameters<typeof lab.act>) => lab.codeOf(await lab.act(...of));
  const before = await lab.points();
  assert.equal(await code(first!, 'delete'), DENIED);
  assert.deepEqual(await lab.points(), before);
  const late = new Date(lab.vm.clock.nowMs() + 20 * 86_400_000).toISOString();
  assert.equal(await code(first!, 'extend', { expiryTime: late }), 200);
  assert.equal(await code(second!, 'pin'), 200);
  const { status, body } = await lab.act(second!, 'unpin');
  assert.deepEqual([status, body.error.code], [400, DENIED]);
  assert.match(body.error.message, /kept for ever, as it is pinned.*'v1' is immutable for ever/);
  // Pinned again, or unpinned what is not pinned: nothing changes.
  assert.deepEqual([await code(second!, 'pin'), await code(first!, 'unpin')], [200, 200]);
  await lab.stop();
  await lab.vm.pass(21);
  // Stopped for ever they stay; whose time has come may be deleted.
  assert.deepEqual(
    [await code(first!, 'delete'), await code(second!, 'delete')],
    [200, 'UserErrorRecoveryPointPinned'],
  );
});

test('R62 what was deleted before goes at its time, and can be had back', async (t) => {
  const lab = await immutableLab(t, WEEK);
  await lab.set('Disabled');
  await lab.days(3);
  const [first, second] = (await lab.points()).map(({ name }) => name);
  for (const point of [first!, second!]) assert.equal((await lab.act(point, 'delete')).status, 200);
  await lab.set('Unlocked');
  assert.equal((await lab.act(first!, 'undelete')).body.fate, 'kept');
  assert.equal(lab.codeOf(await lab.act(first!, 'delete')), DENIED);
  await lab.suspend();
  await lab.vm.pass(15);
  const names = (await lab.points()).map(({ name }) => name);
  assert.ok(!names.includes(second!));
});

test('R25 a policy of an immutable vault is edited to keep points longer or at other times, never shorter, with or without VMs', async (t) => {
  const rules = { days: 30, weeks: 12 };
  const lab = await immutableLab(t, policyOf(DAILY, rules));
  await lab.days(3);
  await lab.putPolicy(policyOf(DAILY, rules), 'idle');
  const before = await lab.points();
  const at = (time: string): BackupPolicy =>
    JSON.parse(JSON.stringify(policyOf(DAILY, rules)).replaceAll('02:00', time));
  for (const name of ['P', 'idle']) {
    const reductions = [
      policyOf(DAILY, { ...rules, days: 29 }),
      policyOf(DAILY, { ...rules, weeks: 11 }),
      policyOf(DAILY, { days: 9999 }),
      policyOf(weeklyOn('sunday'), { weeks: 500 }),
    ];
    for (const to of reductions) {
      const change = { change: 'PolicyEdit', policy: name, properties: wireOf(to) };
      assert.equal(await lab.foreseen(change), REDUCTION, JSON.stringify(to.retention));
      assert.equal(await lab.edit(to, name), REDUCTION);
    }
    for (const to of [at('04:30'), policyOf(DAILY, { ...rules, weekdays: ['monday'] })]) {
      const change = { change: 'PolicyEdit', policy: name, properties: wireOf(to) };
      assert.equal(await lab.foreseen(change), undefined);
      assert.equal(await lab.edit(to, name), 200);
    }
  }
  assert.deepEqual(await lab.points(), before, 'no point has changed');
  const longer = policyOf(DAILY, { days: 60, weeks: 12, months: 6 });
  assert.equal(await lab.edit(longer), 200);
  const after = await lab.points();
  assert.ok(after.every(({ expiry }, place) => expiry >= before[place]!.expiry));
  assert.ok(after.at(-1)!.expiry > before.at(-1)!.expiry);
  assert.equal(await lab.edit(policyOf(DAILY, rules)), REDUCTION, 'what was raised stays');
  await lab.set('Disabled');
  assert.equal(await lab.edit(policyOf(DAILY, { days: 7 })), 200);
});

test('R25 a VM of an immutable vault gets no policy that keeps its points or a class of them less long, nor is it resumed by one', async (t) => {
  const lab = await immutableLab(t, policyOf(DAILY, { days: 30, weeks: 4 }));
  await lab.days(2);
  const policies = {
    shorter: policyOf(DAILY, { days: 29, weeks: 4 }),
    fewer: MONTH,
    longer: policyOf(DAILY, { days: 31, weeks: 5, years: 1 }),
  };
  for (const [name, policy] of Object.entries(policies)) await lab.putPolicy(policy, name);
  const refused = async (...names: readonly string[]): Promise<void> => {
    for (const policy of names) {
      const foreseen = await lab.foreseen({ change: 'PolicySwitch', vm: WEB, policy });
      assert.deepEqual([foreseen, lab.codeOf(await lab.give(policy))], [REDUCTION, REDUCTION]);
    }
  };
  const before = await lab.points();
  await refused('shorter', 'fewer');
  await lab.stop();
  await refused('shorter', 'fewer');
  await lab.protect('P');
  await lab.suspend();
  await refused('shorter', 'fewer');
  assert.deepEqual(
    (await lab.points()).map(({ expiry }) => expiry),
    before.map(({ expiry }) => expiry),
  );
  assert.equal(
    await lab.foreseen({ change: 'PolicySwitch', vm: WEB, policy: 'longer' }),
    undefined,
  );
  await lab.protect('longer');
  await refused('P', 'shorter');
  const after = await lab.points();
  assert.ok(after.every(({ expiry }, place) => expiry > before[place]!.expiry));
  // Where the policy that it had is deleted, what that promised of its points still counts.
  await lab.stop();
  assert.equal((await lab.call('DELETE', lab.policyId('longer'))).status, 200);
  await refused('P', 'shorter', 'fewer');
});

test('R25 longer retention is refused for a VM whose backups are suspended, until it is resumed', async (t) => {
  const lab = await immutableLab(t, MONTH);
  await lab.days(2);
  await lab.suspend();
  const longer = policyOf(DAILY, { days: 40 });
  const change = { change: 'PolicyEdit', policy: 'P', properties: wireOf(longer) };
  assert.deepEqual([await lab.foreseen(change), await lab.edit(longer)], [SUSPENDED, SUSPENDED]);
  assert.equal(await lab.edit({ ...MONTH, instantRestoreDays: 5 }), 200, 'nothing is kept by that');
  await lab.protect();
  assert.deepEqual([await lab.foreseen(change), await lab.edit(longer)], [undefined, 200]);
  await lab.suspend();
  await lab.set('Disabled');
  assert.equal(await lab.edit(policyOf(DAILY, { days: 50 })), 200, 'as in any other vault');
});
