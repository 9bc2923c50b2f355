/** Days that are read late, after points or items were to go: nothing is lost and nothing invented. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { deleteData } from '../items/protect.ts';
import { policyOf, weeklyOn } from '../retention/test-policies.ts';
import { agedVm, WEB, type AgedVm } from '../testing/aged-vm.ts';
import { VAULT } from '../testing/test-service.ts';
import { updateVault } from '../vaults/vaults.ts';
import type { VaultSettings } from '../vaults/vault-settings.ts';
import { vaultCharges, type ItemCharges } from './charges.ts';
import { readCharges } from './read-charges.ts';

/** Points come on Wednesdays by themselves; the clock starts on a Thursday. */
const QUIET = policyOf(weeklyOn('wednesday'), { weeks: 20 });
const DAY_MS = 86_400_000;

async function agedVault(t: TestContext, settings: Partial<VaultSettings>): Promise<AgedVm> {
  const vm = await agedVm(t, { policy: QUIET, blockCount: 8, settings: { chargeLookMs: 1e12 } });
  await updateVault(vm.service, VAULT, { settings });
  return vm;
}

async function chargesIn(vm: AgedVm, month: string): Promise<ItemCharges | undefined> {
  return (await vaultCharges(vm.service.catalogue.read, VAULT, month)).items[0];
}

/** What is charged, without whether somebody looked on each day. */
function assertAlike(found: ItemCharges, expected: ItemCharges): void {
  for (const what of ['chargedDays', 'freeDays', 'unitDays'] as const)
    assert.deepEqual(found[what], expected[what], what);
  // Two repositories seal the same in a few bytes more or less; a day is some hundred.
  const apart = Math.abs(found.byteDays - expected.byteDays);
  assert.ok(apart <= 4 * expected.chargedDays, `${apart} byte days apart`);
}

test('R75 data that is deleted right after midnight is charged for the day that has ended', async (t) => {
  const vm = await agedVault(t, { softDelete: 'Disabled' });
  vm.write({ 1: 'D1', 2: 'D2' });
  await vm.backUp(300);
  vm.clock.advance(Date.UTC(2026, 0, 2, 0, 5) - vm.clock.nowMs());
  await deleteData(vm.service, WEB);
  await vm.settled();
  const january = await chargesIn(vm, '2026-01');
  assert.deepEqual([january?.chargedDays, january?.last?.date], [1, 1]);
  assert.ok(january!.byteDays > 0);
  vm.clock.advance(5 * DAY_MS);
  await readCharges(vm.service);
  assertAlike((await chargesIn(vm, '2026-01'))!, january!);
  assert.deepEqual(vm.made.complaints, []);
});

test('R28 a point that expires right after midnight is still its own for the day that has ended', async (t) => {
  const vm = await agedVault(t, {});
  vm.write({ 1: 'D1', 2: 'D2' });
  await vm.backUp(1);
  vm.write({ 1: 'D1′', 2: 'D2′', 3: 'D3' });
  await vm.backUp(300);
  const { vaultId } = await vm.item();
  const live = async (): Promise<number> =>
    await vm.service.repositories.use(vaultId, async ({ parts }) => parts.keeper.packs.liveBytes);
  const both = await live();
  vm.clock.advance(Date.UTC(2026, 0, 2, 4, 5) - vm.clock.nowMs());
  await vm.settled();
  assert.equal((await vm.pointIds()).length, 1, 'the first has expired');
  const { last } = (await chargesIn(vm, '2026-01'))!;
  assert.deepEqual([last!.date, last!.storedBytes], [1, both]);
  assert.ok((await live()) < both);
});

test('R61 M33 months that are read only when soft delete has ended are charged as if somebody had looked every day', async (t) => {
  const [daily, late] = [
    await agedVault(t, { softDeleteDays: 60 }),
    await agedVault(t, { softDeleteDays: 60 }),
  ];
  for (const vm of [daily, late]) {
    vm.write({ 1: 'D1', 2: 'D2' });
    await vm.backUp(300);
    await vm.pass(1);
    await readCharges(vm.service);
    await deleteData(vm.service, WEB);
  }
  for (let day = 0; day < 70; day += 1) {
    daily.clock.advance(DAY_MS);
    await readCharges(daily.service);
  }
  // Nobody looks, until the job that deletes the data comes.
  await late.pass(59);
  assert.equal((await chargesIn(late, '2026-01'))!.last!.date, 1);
  late.clock.advance(11 * DAY_MS);
  for (const vm of [daily, late]) {
    const items = vm.service.catalogue.read.selectFrom('items').select('id');
    while ((await items.execute()).length > 0) await vm.settled();
    await readCharges(vm.service);
  }
  for (const month of ['2026-01', '2026-02', '2026-03']) {
    const [expected, found] = [await chargesIn(daily, month), await chargesIn(late, month)];
    if (month !== '2026-03') {
      assertAlike(found!, expected!);
      continue;
    }
    // Until the late one was deleted its data was there: those days are free.
    assert.deepEqual([found!.chargedDays, found!.byteDays], [0, 0]);
    assert.equal(expected!.chargedDays, 0);
  }
});
