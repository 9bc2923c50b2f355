/** How points begin, expire and merge (R26 to R32), through the API on a clock that the test moves. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AnyJson } from '../../src/api/testing/any-json.ts';
import { BLOCK } from '../../src/service/testing/aged-vm.ts';
import { MONTH, QUIET, rulesLab, WEEK, type RulesLab } from './rules-lab.ts';

/** What jobs of expiry say they did, all together. */
async function figures(lab: RulesLab) {
  const sum = { removed: 0, merged: 0, deleted: 0, freed: 0 };
  for (const { status, extendedInfo } of await lab.expiries()) {
    assert.equal(status, 'Completed');
    const told: AnyJson = extendedInfo.propertyBag;
    sum.removed += Number(told['Recovery points removed']);
    sum.merged += Number(told['Blocks merged']);
    sum.deleted += Number(told['Blocks deleted']);
    sum.freed += Number(told['Bytes freed']);
  }
  return sum;
}

const names = async (lab: RulesLab): Promise<readonly string[]> =>
  (await lab.points()).map(({ name }) => name);

// The disk has the documents' four blocks twice: with the data of the figure's step 3, and with that of the text.
const TWICE = { policy: QUIET, blockCount: 8 };
const STEP_1 = { 0: 'D1', 1: 'D2', 4: 'E1', 5: 'E2' };

test('M31 R28 case 1, both readings: the first point expires, what the second overwrote is deleted, the rest merges into it', async (t) => {
  const lab = await rulesLab(t, TWICE);
  lab.vm.write(STEP_1);
  await lab.backUp(1);
  // In the text it is the second point that overwrote D2, in the figure only the third.
  lab.vm.write({ 2: 'D3', 5: 'E2′', 6: 'E3' });
  const second = await lab.backUp(20);
  lab.vm.write({ 1: 'D2′', 2: 'D3′' });
  const third = await lab.backUp(20);
  const before = await lab.vm.stored();
  await lab.vm.pass(2);
  assert.deepEqual(await names(lab), [second, third]);
  const after = await lab.vm.stored();
  const freed = before.liveBytes - after.liveBytes;
  assert.deepEqual(await figures(lab), { removed: 1, merged: 3, deleted: 1, freed });
  // D1, D2, D3 and E1, E2′, E3: the second point is the full one now.
  assert.deepEqual(after.owned, [
    [second, 6],
    [third, 2],
  ]);
});

test('M31 R28 case 2, both readings: a middle point expires first, its block merges into the third unless that overwrote it', async (t) => {
  const lab = await rulesLab(t, TWICE);
  lab.vm.write(STEP_1);
  const first = await lab.backUp(20);
  lab.vm.write({ 2: 'D3', 6: 'E3' });
  await lab.backUp(1);
  // In the figure the third point overwrote D3, in the text it did not.
  lab.vm.write({ 1: 'D2′', 2: 'D3′', 5: 'E2′' });
  const third = await lab.backUp(20);
  const before = await lab.vm.stored();
  await lab.vm.pass(2);
  assert.deepEqual(await names(lab), [first, third]);
  const after = await lab.vm.stored();
  const freed = before.liveBytes - after.liveBytes;
  assert.deepEqual(await figures(lab), { removed: 1, merged: 1, deleted: 1, freed });
  assert.deepEqual(after.owned, [
    [first, 4],
    [third, 4],
  ]);
});

test('M31 R28 case 3: a point on demand for 10 days, taken on day 4, goes at the end of day 14 into the next one', async (t) => {
  const lab = await rulesLab(t, { policy: QUIET });
  lab.vm.write({ 0: 'D1', 1: 'D2' });
  const first = await lab.backUp(90);
  await lab.vm.pass(4);
  lab.vm.write({ 1: 'D2′', 2: 'D3' });
  const asked = await lab.backUp(10);
  await lab.vm.pass(1);
  lab.vm.write({ 1: 'D2″' });
  const next = await lab.backUp(90);
  await lab.vm.pass(8.8);
  assert.ok((await names(lab)).includes(asked), 'the end of day 14 has not come');
  await lab.vm.pass(0.5);
  const left = await names(lab);
  assert.ok(!left.includes(asked) && left.includes(first) && left.includes(next));
  const { removed, merged, deleted } = await figures(lab);
  assert.deepEqual([removed, merged, deleted], [1, 1, 1]);
});

test('R26 R29 only the first backup is full, yet every point restores by itself, whatever expired before it', async (t) => {
  const lab = await rulesLab(t, { policy: QUIET, blockCount: 64 });
  const image = join(lab.vm.made.images, 'web', 'a.raw');
  for (let block = 0; block < 64; block += 1) lab.vm.write({ [block]: `first ${block}` });
  const taken: { readonly name: string; readonly copy: string }[] = [];
  const take = async (days: number): Promise<void> => {
    const copy = `${lab.vm.made.data}-copy-${taken.length}`;
    copyFileSync(image, copy);
    taken.push({ name: await lab.backUp(days), copy });
  };
  await take(1);
  lab.vm.write({ 7: 'second' });
  await take(20);
  for (const days of [1, 20]) {
    lab.vm.write({ [20 + days]: `day ${days}` });
    await take(days);
  }
  assert.deepEqual(
    (await lab.points()).map(({ changed }) => changed),
    [64, 1, 1, 1].map((blocks) => [blocks * BLOCK]),
  );
  const amounts = new Set<string>();
  const restored = async ({ name, copy }: (typeof taken)[number]): Promise<void> => {
    const job = await lab.restore(name);
    assert.equal(job.status, 'Completed', JSON.stringify(job));
    const bag = job.extendedInfo.propertyBag;
    amounts.add(bag['Bytes in all']);
    const [file] = bag['Restored Files'].split(', ');
    execFileSync('qemu-img', ['compare', '-q', '-f', 'raw', '-F', 'qcow2', copy, file]);
  };
  for (const one of [taken[0]!, taken[3]!]) await restored(one);
  await lab.vm.pass(2);
  const left = taken.filter((_, index) => index % 2 === 1);
  assert.deepEqual(
    await names(lab),
    left.map(({ name }) => name),
  );
  for (const one of left) await restored(one);
  // As much is copied for each, old or new.
  assert.equal(amounts.size, 1);
});

test('R31 R32 points go within a day of their date; the newest stays until the next backup has succeeded', async (t) => {
  const lab = await rulesLab(t, { policy: WEEK });
  for (let day = 0; day < 2; day += 1) await lab.scheduled();
  const [first, second] = await names(lab);
  await lab.suspend();
  await lab.vm.pass(5.5);
  assert.deepEqual(await names(lab), [first, second]);
  await lab.vm.pass(1.5);
  assert.deepEqual(await names(lab), [second]);
  await lab.vm.pass(500);
  assert.deepEqual(await names(lab), [second]);
  await lab.protect();
  const next = await lab.backUp(30);
  await lab.vm.pass(1);
  assert.ok((await names(lab)).includes(next));
  assert.ok(!(await names(lab)).includes(second!));
});

test('R24 R58 a point that a policy change loses is restored while it is soft-deleted, for the days of the vault', async (t) => {
  const lab = await rulesLab(t, { policy: MONTH });
  await lab.vaultConfig({ softDeleteRetentionPeriodInDays: 20 });
  lab.vm.write({ 0: 'lost' });
  await lab.scheduled();
  for (let days = 0; days < 9; days += 3) {
    lab.vm.clock.advance(3 * 86_400_000);
    await lab.scheduled();
  }
  const [lost] = await lab.points();
  await lab.putPolicy(WEEK);
  assert.ok((await lab.points())[0]!.isSoftDeleted);
  const changedAt = lab.vm.clock.nowMs();
  const job = await lab.restore(lost!.name);
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  const days = (Date.parse((await lab.points())[0]!.expiry) - changedAt) / 86_400_000;
  assert.equal(Math.round(days), 20);
  await lab.suspend();
  await lab.vm.pass(19.5);
  assert.ok((await names(lab)).includes(lost!.name));
  await lab.vm.pass(1);
  assert.ok(!(await names(lab)).includes(lost!.name));
});
