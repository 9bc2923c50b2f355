/** Readings over days in which points come, expire, merge and are deleted; and what is left of them after a loss. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { repositoryStatistics } from '#backup';
import { examine } from '../doctor/doctor.ts';
import { deleteData, stopRetaining } from '../items/protect.ts';
import { deletePoint, undeletePoint } from '../points/hold-point.ts';
import { policyOf, weeklyOn } from '../retention/test-policies.ts';
import { agedVm, BLOCK, WEB, type AgedVm } from '../testing/aged-vm.ts';
import { seeded } from '../testing/seeded.ts';
import { VAULT } from '../testing/test-service.ts';
import { deleteVault } from '../vaults/delete-vault.ts';
import { updateVault } from '../vaults/vaults.ts';
import {
  itemCharges,
  vaultCharges,
  type ItemChargesByPoint,
  type VaultCharges,
} from './charges.ts';
import { listPrices, putPriceSheet } from './prices.ts';
import { readCharges } from './read-charges.ts';

const SHEET = {
  currency: 'USD',
  instance: { small: 5, standard: 10 },
  storage: { vault: { LocallyRedundant: 0.0224 } },
};
/** Points come on Wednesdays by themselves; the clock starts on a Thursday. */
const QUIET = policyOf(weeklyOn('wednesday'), { weeks: 4 });
const DAY_MS = 86_400_000;
const JANUARY = '2026-01';

async function quietVm(t: TestContext, blockCount = 8): Promise<AgedVm> {
  return await agedVm(t, { policy: QUIET, blockCount, settings: { chargeLookMs: 1e12 } });
}

/** A day passes, what it started ends, and it is read. */
async function passDay(vm: AgedVm): Promise<void> {
  await vm.pass(1);
  await readCharges(vm.service);
}

async function chargesIn(vm: AgedVm, month = JANUARY): Promise<VaultCharges> {
  return await vaultCharges(vm.service.catalogue.read, VAULT, month);
}

async function pointsIn(vm: AgedVm): Promise<ItemChargesByPoint> {
  const { id: itemId } = await vm.item();
  return await itemCharges(vm.service.catalogue.read, { vault: VAULT, itemId }, JANUARY);
}

async function liveBytes(vm: AgedVm): Promise<number> {
  const { vaultId } = await vm.item();
  return await vm.service.repositories.use(
    vaultId,
    async ({ parts }) => repositoryStatistics(parts).liveBytes,
  );
}

test('M27 R28 what an expired point hands on is charged to its heir from then on; days before stay as they were', async (t) => {
  const vm = await quietVm(t);
  vm.write({ 1: 'D1', 2: 'D2' });
  const rp1 = await vm.backUp(3);
  vm.write({ 3: 'D3' });
  const rp2 = await vm.backUp(20);
  vm.write({ 2: 'D2′', 3: 'D3′' });
  await vm.backUp(20);
  for (let day = 0; day < 2; day += 1) await passDay(vm);
  const before = await pointsIn(vm);
  assert.equal(before.last!.storedBytes, await liveBytes(vm));
  const day = (of: typeof before, id: string): number =>
    of.points.find((one) => one.id === id)!.byteDays;
  const [first, second] = [day(before, rp1), day(before, rp2)];
  for (let day = 0; day < 3; day += 1) await passDay(vm);
  assert.equal((await vm.pointIds()).includes(rp1), false);
  const after = await pointsIn(vm);
  assert.equal(after.last!.storedBytes, await liveBytes(vm));
  assert.ok(day(after, rp2) / 5 > second / 2, 'it owns D1 and D2 as well');
  assert.ok(day(after, rp1) >= first);
  assert.equal(after.chargedDays, 5);
});

test('M27 sums over owners are what the repository stores, whatever is backed up, expired and deleted', async (t) => {
  const seed = Number(process.env['HOLDFAST_TEST_SEED'] ?? Date.now() % 1_000_000);
  t.diagnostic(`seed ${seed}; again: HOLDFAST_TEST_SEED=${seed}`);
  const draw = seeded(seed);
  const below = (limit: number): number => Math.floor(draw(limit));
  const vm = await quietVm(t, 16);
  await putPriceSheet(vm.service, VAULT, { month: JANUARY, sheet: SHEET });
  for (let day = 0; day < 8; day += 1) {
    for (let count = below(3); count > 0; count -= 1) {
      vm.write({ [below(16)]: below(4) === 0 ? undefined : `content ${below(9)}` });
      vm.write({ [below(16)]: `content ${below(9)}` });
      await vm.backUp(1 + below(6));
    }
    const ids = await vm.pointIds();
    if (below(3) === 0 && ids.length > 1)
      await deletePoint(vm.service, { ...WEB, point: ids[0]! }).catch(refused);
    await vm.settled();
    // What goes after midnight is still of this day.
    const live = await liveBytes(vm);
    await passDay(vm);
    const { newest, items, costs } = await chargesIn(vm);
    if (newest?.sizes === undefined) continue;
    assert.equal(newest.ownedBytes, newest.sizes.liveBytes, `day ${day}`);
    assert.equal(newest.sizes.liveBytes, live, `day ${day}`);
    if (items.length > 0) {
      const { last, points, costs: own } = await pointsIn(vm);
      assert.equal(last!.storedBytes, newest.ownedBytes, `day ${day}`);
      assert.equal(
        points.reduce((sum, { cost }) => sum + cost!, 0),
        own!.storage,
      );
    }
    assert.equal(
      items.reduce((sum, item) => sum + item.costs!.storage, 0),
      costs!.storage,
    );
  }
  await assertAgreed(vm);
});

/** The newest one, and one that is deleted already, are not deleted. */
function refused(error: Error & { readonly code?: string }): void {
  assert.match(String(error.code), /^UserError|^BMS/, String(error));
}

test('R24 R61 a point that is deleted alone is free while it is soft-deleted, and charged for again when undeleted', async (t) => {
  const vm = await quietVm(t);
  vm.write({ 1: 'D1' });
  const old = await vm.backUp(25);
  vm.write({ 1: 'D1′' });
  const newest = await vm.backUp(25);
  await passDay(vm);
  const both = (await chargesIn(vm)).items[0]!.last!;
  assert.equal(both.chargedBytes, both.storedBytes);
  await deletePoint(vm.service, { ...WEB, point: old });
  await passDay(vm);
  const free = await pointsIn(vm);
  assert.equal(free.last!.storedBytes, both.storedBytes);
  assert.ok(free.last!.chargedBytes < both.storedBytes - BLOCK / 100);
  assert.deepEqual(
    [free.last!.isCharged, free.points.map(({ id }) => id)],
    [true, [old, newest].toSorted()],
  );
  await undeletePoint(vm.service, { ...WEB, point: old });
  await passDay(vm);
  assert.equal((await chargesIn(vm)).items[0]!.last!.chargedBytes, both.storedBytes);
});

test('M36 R59 points whose time is over stay while their item is soft-deleted, free of charge', async (t) => {
  const vm = await quietVm(t);
  vm.write({ 1: 'D1' });
  await vm.backUp(2);
  vm.write({ 1: 'D1′' });
  await vm.backUp(30);
  const ids = await vm.pointIds();
  await deleteData(vm.service, WEB);
  for (let day = 0; day < 5; day += 1) await passDay(vm);
  assert.deepEqual(await vm.pointIds(), ids);
  const { chargedDays, freeDays, last, byteDays } = await pointsIn(vm);
  assert.deepEqual([chargedDays, freeDays, byteDays], [0, 5, 0]);
  assert.equal(last!.storedBytes, await liveBytes(vm));
});

test('a lost catalogue loses no month and no price, and the next reading goes on where the last one was', async (t) => {
  const vm = await quietVm(t);
  vm.write({ 1: 'D1', 2: 'D2' });
  await vm.backUp(300);
  await stopRetaining(vm.service, WEB);
  await putPriceSheet(vm.service, VAULT, { month: '2025-06', sheet: SHEET });
  for (let day = 0; day < 33; day += 11) {
    await vm.pass(10);
    await passDay(vm);
  }
  const told = async () => {
    const [january, february] = [await chargesIn(vm), await chargesIn(vm, '2026-02')];
    const prices = await listPrices(vm.service, VAULT);
    const months = [january, february].map(({ items, costs }) => ({ items, costs }));
    return { months, prices, points: (await pointsIn(vm)).points };
  };
  const before = await told();
  assert.deepEqual(
    before.months.map(({ items }) => items[0]!.chargedDays),
    [31, 2],
  );
  await vm.service.close();
  for (const end of ['', '-wal', '-shm']) {
    rmSync(join(vm.made.data, `catalogue.db${end}`), { force: true });
  }
  await vm.made.restart();
  assert.deepEqual(await told(), before);
  assert.equal((await chargesIn(vm)).newest!.sizes, undefined);
  await readCharges(vm.service);
  assert.deepEqual(await told(), before);
  await passDay(vm);
  const after = await chargesIn(vm, '2026-02');
  assert.equal(after.items[0]!.chargedDays, 3);
  assert.equal(after.newest!.ownedBytes, after.newest!.sizes!.liveBytes);
  await assertAgreed(vm);
  // The clock is set back over the beginning of the month, whose document goes.
  vm.clock.jump(-5 * DAY_MS);
  await readCharges(vm.service);
  assert.deepEqual((await chargesIn(vm, '2026-02')).items, []);
  await assertAgreed(vm);
});

/** Catalogue and documents. */
async function assertAgreed(vm: AgedVm): Promise<void> {
  const findings = await examine(vm.service);
  assert.deepEqual(
    findings.filter(({ severity }) => severity === 'error'),
    [],
  );
}

test('M33 with its vault the charges go, from the catalogue and from the repository', async (t) => {
  const vm = await quietVm(t);
  await updateVault(vm.service, VAULT, { settings: { softDelete: 'Disabled' } });
  vm.write({ 1: 'D1' });
  await vm.backUp(300);
  await passDay(vm);
  const { vaultId } = await vm.item();
  await deleteData(vm.service, WEB);
  await vm.settled();
  const { items } = await chargesIn(vm);
  assert.equal(items.length, 1, 'what was charged before the deletion stays');
  await deleteVault(vm.service, VAULT);
  for (const table of ['chargeMonths', 'chargedPoints', 'chargeReadings'] as const) {
    const rows = vm.service.catalogue.read.selectFrom(table).selectAll();
    assert.deepEqual(await rows.where('vaultId', '=', vaultId).execute(), []);
  }
  assert.deepEqual(vm.made.complaints, []);
});
