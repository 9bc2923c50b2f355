/** What is charged for (R75–R79, M25–M27, M33–M36), through the API, by days that pass on a clock of ours. */
import assert from 'node:assert/strict';
import { renameSync, truncateSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { discoverHost, readCharges } from '#service';
import type { AnyJson } from '../../src/api/testing/any-json.ts';
import { addImages, GROUP, type TestService } from '../../src/service/testing/test-service.ts';
import { VAULT } from './backup-lab.ts';
import { chargesLab, DAY_MS, PRICES } from './charges-lab.ts';

const MIB = 2 ** 20;
const GB = 2 ** 30;

const oneVm = (made: TestService): void =>
  void addImages(made, 'web', [{ name: 'a', sizeBytes: MIB }]);

test('M25 R75 charges begin with the first successful backup, go on while data is there, and end with its deletion', async (t) => {
  const lab = await chargesLab(t, oneVm);
  const first = lab.month();
  await lab.pass(2);
  assert.deepEqual(await lab.list(), []);
  await lab.backedUp('web');
  await lab.pass(3);
  const stopped = await lab.charges('web');
  assert.deepEqual([stopped.chargedDays, stopped.freeDays, stopped.estimatedDays], [3, 0, 0]);
  assert.equal(stopped.protectedInstance.sizeInBytes, MIB);
  // R54, M34: what is retained is charged for; M33, M36: what is soft-deleted is free.
  assert.equal((await lab.call('DELETE', lab.itemPath('web'))).status, 202);
  await lab.pass(5);
  const deleted = await lab.charges('web');
  assert.deepEqual([deleted.chargedDays, deleted.freeDays], [3, 5]);
  assert.ok(deleted.storage.storedInBytes > MIB, 'it is still there');
  lab.clock.advance(9 * DAY_MS + 60_000);
  while ((await lab.call('GET', lab.itemPath('web'))).status === 200) {
    lab.clock.advance(60_000);
    await sleep(20);
  }
  await lab.pass(2);
  const [gone, ...others] = await lab.list(first);
  assert.deepEqual(others, []);
  assert.deepEqual([gone.properties.isDeleted, gone.properties.chargedDays], [true, 3]);
  const byId = await lab.get(
    `charges/${gone.name}?$filter=${encodeURIComponent(`month eq '${first}'`)}`,
  );
  assert.equal(byId.properties.points.length, 1);
  const { repository } = await lab.summary(first);
  assert.equal(repository.ownedInBytes, 0);
});

test('R61 M33 of 60 days of soft delete that end after 52 by an undelete, 46 are charged and 6 are free', async (t) => {
  const lab = await chargesLab(t, oneVm);
  const config = { properties: { softDeleteRetentionPeriodInDays: 60 } };
  assert.equal(
    (await lab.call('PATCH', `${lab.vault}/backupconfig/vaultconfig`, config)).status,
    200,
  );
  await lab.backedUp('web');
  const months = new Set([lab.month()]);
  assert.equal((await lab.call('DELETE', lab.itemPath('web'))).status, 202);
  for (const days of [20, 20, 12]) {
    lab.clock.advance((days - 1) * DAY_MS);
    await lab.pass(1);
    months.add(lab.month());
  }
  await lab.jobOf(
    await lab.put('web', { protectionState: 'ProtectionStopped', isRehydrate: true }),
  );
  await lab.pass(1);
  months.add(lab.month());
  const sums = { chargedDays: 0, freeDays: 0 };
  for (const month of months) {
    for (const { properties } of await lab.list(month)) {
      sums.chargedDays += properties.chargedDays;
      sums.freeDays += properties.freeDays;
    }
  }
  assert.deepEqual(sums, { chargedDays: 46 + 1, freeDays: 6 });
});

/** The documents' example, a MiB for a GB: 17 and 30 with data, a temporary disk without. */
function seventeenAndThirty(made: TestService): void {
  const folder = addImages(made, 'web', []);
  const disk = (name: string, usedMib: number, sizeMib: number): void => {
    const path = join(folder, `${name}.raw`);
    writeFileSync(path, randomBytes(usedMib * MIB));
    truncateSync(path, sizeMib * MIB);
  };
  disk('a-system', 17, 32);
  disk('b-data', 30, 64);
  disk('c-temporary', 0, 40);
}

test('M26 R76 R77 the size of an instance is the data on its disks: 17 + 30 + 0 = 47', async (t) => {
  const lab = await chargesLab(t, seventeenAndThirty);
  await lab.backedUp('web');
  await lab.setPrices('2020-01');
  await lab.pass(1);
  const { protectedInstance, daysInMonth, storage } = await lab.charges('web');
  assert.equal(protectedInstance.sizeInBytes, 47 * MIB);
  assert.deepEqual(protectedInstance.instanceMonths, { small: 1 / daysInMonth, standard: 0 });
  assert.equal(protectedInstance.cost, Math.round(5e6 / daysInMonth) / 1e6);
  // M27: by what is stored, whatever the disks' size.
  assert.ok(storage.storedInBytes > 47 * MIB && storage.storedInBytes < 48 * MIB);
});

test('R77 Azure’s estimate for crash-consistent points, half of the disks’ size, is a setting', async (t) => {
  const lab = await chargesLab(t, seventeenAndThirty, { halfSizeIfCrashConsistent: true });
  await lab.backedUp('web');
  await lab.pass(1);
  assert.equal((await lab.charges('web')).protectedInstance.sizeInBytes, (136 / 2) * MIB);
});

test('R76 of VMs of six sizes: an instance is small up to 50 GB, one unit up to 500 GB, then one for each 500 GB begun', async (t) => {
  // Azure’s estimate, half of a disk’s size, is that of disks that hold nothing, too.
  const sizes = { a: 50, b: 51, c: 500, d: 501, e: 1300, f: 2000 };
  const lab = await chargesLab(
    t,
    (made) => {
      for (const [vm, gb] of Object.entries(sizes)) {
        const path = join(addImages(made, vm, []), 'a.raw');
        writeFileSync(path, '');
        truncateSync(path, gb * 2 * GB);
      }
    },
    { halfSizeIfCrashConsistent: true },
  );
  for (const vm of Object.keys(sizes)) await lab.backedUp(vm);
  await lab.pass(1);
  const units = [];
  for (const [vm, gb] of Object.entries(sizes)) {
    const { protectedInstance, daysInMonth } = await lab.charges(vm);
    assert.equal(protectedInstance.sizeInBytes, gb * GB);
    const { small, standard } = protectedInstance.instanceMonths;
    units.push([small, standard].map((months) => Math.round(months * daysInMonth)));
  }
  assert.deepEqual(units, [
    [1, 0],
    [0, 1],
    [0, 1],
    [0, 2],
    [0, 3],
    [0, 4],
  ]);
});

test('R78 the system disk alone is the size where it alone is backed up; else all disks are', async (t) => {
  const lab = await chargesLab(t, seventeenAndThirty);
  const luns = (diskLunList: readonly number[]) => ({
    extendedProperties: { diskExclusionProperties: { diskLunList, isInclusionList: true } },
  });
  await lab.protect('web', luns([]));
  await lab.ended(await lab.startBackup('web'));
  await lab.pause('web');
  await lab.pass(1);
  const systemOnly = await lab.charges('web');
  assert.equal(systemOnly.protectedInstance.sizeInBytes, 17 * MIB);
  await lab.protect('web', luns([0]));
  await lab.ended(await lab.startBackup('web'));
  await lab.pause('web');
  await lab.pass(1);
  const withData = await lab.charges('web');
  // The third was not read: half of its 40 stands for its data.
  assert.equal(withData.protectedInstance.sizeInBytes, (17 + 30 + 20) * MIB);
  assert.ok(withData.storage.storedInBytes < 48 * MIB, 'only what is included is stored');
});

test('R79 no snapshot tier is kept, and none is charged for, whatever its price', async (t) => {
  const lab = await chargesLab(t, oneVm);
  await lab.backedUp('web');
  await lab.setPrices('2020-01');
  await lab.pass(1);
  const { protectedInstance, storage, cost, daysInMonth } = await lab.charges('web');
  const vaultTier = Math.round(((storage.storedInBytes / GB) * 1000 * 1e6) / daysInMonth) / 1e6;
  assert.equal(storage.cost, vaultTier);
  assert.equal(Math.round(cost * 1e6), Math.round((protectedInstance.cost + vaultTier) * 1e6));
});

test('M27 M30 R27 the documents’ table: each point is charged for the blocks it brought; parts add up to the vault', async (t) => {
  const image = randomBytes(3 * 16_384);
  const lab = await chargesLab(t, (made) => {
    const folder = addImages(made, 'web', []);
    // D1, D2 and a third block of zeros.
    writeFileSync(
      join(folder, 'a.raw'),
      Buffer.concat([image.subarray(0, 32_768), Buffer.alloc(16_384)]),
    );
  });
  const path = join(lab.made.images, 'web', 'a.raw');
  await lab.protect('web');
  const take = async (): Promise<void> => {
    assert.equal((await lab.ended(await lab.startBackup('web'))).status, 'Completed');
    lab.clock.advance(1000);
  };
  await take();
  writeFileSync(path, image); // + D3
  await take();
  writeFileSync(path, Buffer.concat([image.subarray(0, 16_384), randomBytes(32_768)])); // + D2′, D3′
  await take();
  await lab.pause('web');
  await lab.setPrices('2020-01');
  await lab.pass(2);
  const { value } = await lab.get(`charges/${lab.nameOf('web')}/points`);
  const owned: readonly number[] = value.map((point: AnyJson) => point.ownedInBytes);
  assert.deepEqual(
    owned.map((bytes) => Math.floor(bytes / 16_384)),
    [2, 1, 2],
  );
  // R28: the first one's end frees nothing but pages, D2 being in RP2; the second's D2 is RP1's, its D3 nobody's.
  const freed: readonly number[] = value.map((point: AnyJson) =>
    Math.floor(point.freedIfExpired / 16_384),
  );
  assert.deepEqual(freed, [0, 1, 2]);
  const charges = await lab.charges('web');
  const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);
  const millionths = (cost: number): number => Math.round(cost * 1e6);
  assert.equal(
    sum(charges.points.map(({ cost }: AnyJson) => millionths(cost))),
    millionths(charges.storage.cost),
  );
  assert.equal(sum(owned), charges.storage.storedInBytes);
  const summary = await lab.summary();
  assert.equal(summary.repository.ownedInBytes, sum(owned));
  assert.equal(summary.repository.othersInBytes, 0);
  assert.equal(summary.cost, charges.cost);
  const { ownedInBytes, deadInBytes, overheadInBytes, storedInBytes } = summary.repository;
  assert.equal(ownedInBytes + deadInBytes + overheadInBytes, storedInBytes);
});

test('M35 R55 a VM that is gone is charged for as long as its points are there', async (t) => {
  const lab = await chargesLab(t, oneVm);
  await lab.backedUp('web');
  renameSync(join(lab.made.images, 'web'), join(lab.made.images, '.gone'));
  await discoverHost(lab.service, GROUP);
  await lab.pass(4);
  const { chargedDays, protectedInstance } = await lab.charges('web');
  assert.deepEqual([chargedDays, protectedInstance.sizeInBytes], [4, MIB]);
});

test('days that nobody read are as the day before them, and are said to be estimated; a day is read once', async (t) => {
  const lab = await chargesLab(t, oneVm);
  await lab.backedUp('web');
  await lab.pass(2);
  lab.clock.advance(5 * DAY_MS);
  await Promise.all([readCharges(lab.service), readCharges(lab.service)]);
  await readCharges(lab.service);
  const { chargedDays, estimatedDays } = await lab.charges('web');
  assert.deepEqual([chargedDays, estimatedDays], [7, 4]);
  assert.equal((await lab.summary()).estimatedDays, 4);
});

test('a clock that was set forward and back leaves no day charged that has not been', async (t) => {
  const lab = await chargesLab(t, oneVm);
  const first = lab.month();
  await lab.backedUp('web');
  await lab.pass(2);
  const before = await lab.charges('web');
  lab.clock.jump(70 * DAY_MS);
  const later = lab.month();
  await readCharges(lab.service);
  assert.ok((await lab.list(later)).length > 0);
  lab.clock.jump(-70 * DAY_MS);
  await readCharges(lab.service);
  assert.deepEqual(await lab.list(later), []);
  assert.deepEqual(await lab.charges('web', first), before);
  await lab.pass(1);
  assert.deepEqual((await lab.charges('web')).chargedDays, before.chargedDays + 1);
});

test('prices are valid from their month on; without any there are quantities only; a wrong sheet is refused', async (t) => {
  const lab = await chargesLab(t, oneVm);
  await lab.backedUp('web');
  await lab.pass(1);
  const { cost, currency, storage } = await lab.charges('web');
  assert.deepEqual([cost, currency, storage.cost], [undefined, undefined, undefined]);
  assert.ok(storage.gbMonths > 0);
  const wrong = await lab.call('PUT', `${lab.own}/priceSheets/2026-13`, { properties: PRICES });
  assert.deepEqual([wrong.status, wrong.body.error.code], [400, 'ArgumentInvalid']);
  const odd = { ...PRICES, instance: { small: -1, standard: 0 } };
  assert.equal(
    (await lab.call('PUT', `${lab.own}/priceSheets/2026-01`, { properties: odd })).status,
    400,
  );
  await lab.setPrices(lab.month());
  assert.equal((await lab.charges('web')).currency, 'EUR');
  assert.deepEqual((await lab.get('priceSheets')).value, [
    { name: lab.month(), properties: PRICES },
  ]);
  assert.equal((await lab.call('DELETE', `${lab.own}/priceSheets/${lab.month()}`)).status, 200);
  assert.equal((await lab.charges('web')).cost, undefined);
  const none = await lab.call(
    'GET',
    `${lab.own}/charges/${lab.nameOf('web')}?$filter=month%20eq%20'1999-01'`,
  );
  assert.deepEqual([none.status, none.body.error.code], [404, 'ChargesNotFound']);
});

test('the forecast tells twelve months by what the policy keeps at the present churn, and how it comes to it', async (t) => {
  const lab = await chargesLab(t, oneVm);
  await lab.protect('web');
  const path = join(lab.made.images, 'web', 'a.raw');
  for (let day = 0; day < 3; day += 1) {
    assert.equal((await lab.ended(await lab.startBackup('web'))).status, 'Completed');
    const content = randomBytes(MIB);
    writeFileSync(path, content);
    lab.clock.advance(1000);
  }
  await lab.pass(1);
  await lab.setPrices('2020-01');
  const forecast = await lab.get(`charges/${lab.nameOf('web')}/forecast`);
  assert.equal(forecast.value.length, 12);
  assert.ok(forecast.churnInBytes > MIB, String(forecast.churnInBytes));
  // DefaultPolicy: 30 daily points of a MiB each that change altogether.
  const last = forecast.value.at(-1);
  assert.ok(last.points >= 29 && last.points <= 32, JSON.stringify(last));
  const mib = last.storedInBytes / MIB;
  assert.ok(mib > 28 && mib < 34, String(mib));
  assert.ok(last.cost > 5 && last.currency === 'EUR');
  assert.ok(forecast.assumptions.length >= 3);
  await lab.pause('web');
  const rests = await lab.get(`charges/${lab.nameOf('web')}/forecast`);
  assert.match(rests.assumptions[0], /No backups come/);
  assert.deepEqual(rests.value.at(-1).storedInBytes, rests.storedInBytes);
});

test('charges come in pages; usages tell items, jobs and bytes in Azure’s counters', async (t) => {
  const vms = ['web', 'db', 'mail'];
  const lab = await chargesLab(t, (made) => {
    for (const vm of vms) addImages(made, vm, [{ name: 'a', sizeBytes: MIB }]);
  });
  for (const vm of vms) await lab.backedUp(vm);
  await lab.pass(1);
  const names: string[] = [];
  let path: string | undefined = `${lab.own}/charges?$top=2`;
  for (let pages = 0; path !== undefined; pages += 1) {
    assert.ok(pages < 2);
    const { body }: { readonly body: AnyJson } = await lab.call('GET', path);
    names.push(...body.value.map((one: AnyJson) => one.properties.friendlyName));
    const next: URL | undefined = body.nextLink === undefined ? undefined : new URL(body.nextLink);
    next?.searchParams.delete('api-version');
    path = next && `${next.pathname}${next.search}`;
  }
  assert.deepEqual(names, ['db', 'mail', 'web']);
  const { body } = await lab.call('GET', `${lab.vault}/usages`);
  const usage = (name: string): AnyJson =>
    body.value.find((one: AnyJson) => one.name.value === name);
  assert.equal(usage('ProtectedItemCount').currentValue, 3);
  assert.equal(usage('ManagedInstances').currentValue, 3);
  const { repository } = await lab.summary();
  assert.deepEqual(
    [usage('LRSStorageUsage').unit, usage('LRSStorageUsage').currentValue],
    ['Bytes', repository.ownedInBytes],
  );
  for (const [type, word] of [
    ['BackupProtectedItemCountSummary', 'Protected items'],
    ['BackupProtectionContainerCountSummary', 'Protection containers'],
  ] as const) {
    const summaries = lab.client.backupUsageSummaries.list(VAULT, GROUP, {
      filter: `type eq '${type}'`,
    });
    const [summary, ...others] = await Array.fromAsync(summaries);
    assert.deepEqual([summary?.unit, summary?.currentValue, others.length], ['Count', 3, 0]);
    assert.match(summary!.name!.localizedValue!, new RegExp(word));
  }
});
