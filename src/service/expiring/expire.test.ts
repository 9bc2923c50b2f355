import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '#base';
import { expirePoints, planExpiry } from '#backup';
import { listActivities } from '../activities/activities.ts';
import { examine } from '../doctor/doctor.ts';
import { deleteData, protect, stopByPolicy, stopRetaining, undelete } from '../items/protect.ts';
import type { Job } from '../jobs/jobs.ts';
import { DAILY, policyOf, weeklyOn } from '../retention/test-policies.ts';
import { agedVm, WEB, type AgedVm } from '../testing/aged-vm.ts';
import { deletePoint } from '../points/hold-point.ts';
import { updateVault } from '../vaults/vaults.ts';
import { startExpiry } from './start-expiry.ts';

const STEP_1 = { 1: 'D1', 2: 'D2' };
const STEP_2 = { 3: 'D3' };
const STEP_3 = { 2: 'D2′', 3: 'D3′' };
/** Six days of quiet from the start. */
const QUIET = policyOf(weeklyOn('wednesday'), { weeks: 4 });
const WEEK = policyOf(DAILY, { days: 7 });

/** What a job of expiry says it did. */
function figuresOf({ status, properties }: Job) {
  assert.equal(status, 'Completed');
  const figure = (name: string): number => Number(properties[name]);
  return {
    removed: figure('Recovery points removed'),
    merged: figure('Blocks merged'),
    deleted: figure('Blocks deleted'),
    freedBytes: figure('Bytes freed'),
  };
}

/** V1 of the documents after its three steps, each a point of so many days. */
async function v1(vm: AgedVm, days: readonly [number, number, number]): Promise<readonly string[]> {
  vm.write(STEP_1);
  const rp1 = await vm.backUp(days[0]);
  vm.write(STEP_2);
  const rp2 = await vm.backUp(days[1]);
  vm.write(STEP_3);
  return [rp1, rp2, await vm.backUp(days[2])];
}

test('R27 M30 R28 case 1: the first point expires, what it owned merges into the second, which is the full one then', async (t) => {
  const vm = await agedVm(t, { policy: QUIET });
  const [rp1, rp2, rp3] = await v1(vm, [1, 20, 20]);
  const before = await vm.stored();
  assert.deepEqual(before.owned, [
    [rp1, 2],
    [rp2, 1],
    [rp3, 2],
  ]);
  await vm.pass(2);
  const after = await vm.stored();
  assert.deepEqual(after.owned, [
    [rp2, 3],
    [rp3, 2],
  ]);
  assert.deepEqual(await vm.pointIds(), [rp2, rp3]);
  const [job, ...others] = await vm.jobs('Expire');
  assert.deepEqual(others, []);
  const freedBytes = before.liveBytes - after.liveBytes;
  assert.deepEqual(figuresOf(job!), { removed: 1, merged: 2, deleted: 0, freedBytes });
});

test('R28 case 1 as it is told: the second point had overwritten D2, which is deleted', async (t) => {
  const vm = await agedVm(t, { policy: QUIET });
  vm.write(STEP_1);
  await vm.backUp(1);
  vm.write({ 2: 'D2′', ...STEP_2 });
  const rp2 = await vm.backUp(20);
  await vm.pass(2);
  const { removed, merged, deleted } = figuresOf((await vm.jobs('Expire'))[0]!);
  assert.deepEqual([removed, merged, deleted], [1, 1, 1]);
  assert.deepEqual((await vm.stored()).owned, [[rp2, 3]]);
});

test('R28 case 2: a middle point expires before the first; D3 is deleted where the third overwrote it, else merged', async (t) => {
  for (const [step, merged, deleted] of [
    [STEP_3, 0, 1],
    [{ 2: 'D2′' }, 1, 0],
  ] as const) {
    const vm = await agedVm(t, { policy: QUIET });
    vm.write(STEP_1);
    const rp1 = await vm.backUp(20);
    vm.write(STEP_2);
    await vm.backUp(1);
    vm.write(step);
    const rp3 = await vm.backUp(20);
    await vm.pass(2);
    const figures = figuresOf((await vm.jobs('Expire'))[0]!);
    assert.deepEqual([figures.removed, figures.merged, figures.deleted], [1, merged, deleted]);
    assert.deepEqual((await vm.stored()).owned, [
      [rp1, 2],
      [rp3, 2],
    ]);
  }
});

test('R28 M31 case 3: a point on demand for 10 days, taken on day 4, goes at the end of day 14 into the next', async (t) => {
  const vm = await agedVm(t, { policy: policyOf(DAILY, { days: 30 }) });
  vm.write(STEP_1);
  for (let day = 1; day <= 4; day += 1) await vm.nextScheduled();
  vm.write(STEP_2);
  const asked = await vm.backUp(10);
  const takenAt = (await vm.points()).at(-1)!.point.takenAt;
  vm.write({ 1: 'D1′' });
  while (vm.clock.nowMs() < takenAt + 10 * 86_400_000 - 3_600_000 * 4) await vm.nextScheduled();
  assert.ok((await vm.pointIds()).includes(asked));
  await vm.nextScheduled();
  await vm.pass(0.5);
  assert.ok(!(await vm.pointIds()).includes(asked));
  const figures = figuresOf((await vm.jobs('Expire'))[0]!);
  assert.deepEqual([figures.removed, figures.merged, figures.deleted], [1, 1, 0]);
});

test('R22 R31 R32 points go within a day of their date; the newest stays until the next backup has succeeded', async (t) => {
  const vm = await agedVm(t, { policy: WEEK });
  await vm.nextScheduled();
  await vm.nextScheduled();
  const [first, second] = await vm.pointIds();
  await stopByPolicy(vm.service, WEB);
  await vm.pass(5);
  assert.deepEqual(await vm.pointIds(), [first, second]);
  await vm.pass(2);
  assert.deepEqual(await vm.pointIds(), [second]);
  await vm.pass(3000);
  assert.equal((await vm.points())[0]!.plan.keptBy, 'latest');
  await protect(vm.service, WEB, { policy: 'P' });
  await vm.nextScheduled();
  await vm.pass(0.3);
  assert.equal((await vm.points()).length, 1);
  assert.ok(!(await vm.pointIds()).includes(second!));
});

test('R31 R54 while protection is stopped for ever nothing expires; what has expired goes after it is resumed', async (t) => {
  const vm = await agedVm(t, { policy: WEEK });
  await vm.nextScheduled();
  await vm.backUp(1);
  const kept = [...(await vm.pointIds()), await vm.backUp(30)];
  await stopRetaining(vm.service, WEB);
  await vm.pass(400);
  assert.deepEqual(await vm.pointIds(), kept);
  assert.deepEqual(await vm.jobs('Expire'), []);
  await protect(vm.service, WEB, { policy: 'P' });
  await vm.pass(0.3);
  assert.deepEqual(await vm.pointIds(), kept.slice(-1));
});

test('R59 R31 points that expire while soft-deleted stay, until the VM is undeleted and resumed', async (t) => {
  const vm = await agedVm(t, { policy: QUIET });
  const points = await v1(vm, [2, 2, 20]);
  await deleteData(vm.service, WEB);
  await vm.pass(13);
  assert.deepEqual(await vm.pointIds(), points);
  await undelete(vm.service, WEB);
  await vm.pass(100);
  assert.deepEqual(await vm.pointIds(), points);
  await protect(vm.service, WEB, { policy: 'P' });
  await vm.pass(0.3);
  assert.deepEqual(await vm.pointIds(), points.slice(-1));
});

test('M31 expiry that was killed between the repository and the records is taken up, and tells what the whole did', async (t) => {
  const vm = await agedVm(t, { policy: QUIET });
  const [rp1, rp2, rp3] = await v1(vm, [1, 1, 20]);
  const { vaultId } = await vm.item();
  const { jobId } = await startExpiry(vm.service, WEB.vault, undefined);
  assert.equal(figuresOf(await vm.ended(jobId)).removed, 0);
  const item = (await vm.item()).id;
  const plan = await vm.service.repositories.use(vaultId, async ({ parts }) => {
    const planned = await planExpiry(parts, [rp1!, rp2!]);
    await expirePoints(parts, [rp1!, rp2!]);
    return planned;
  });
  const { mergedBlocks, deletedBlocks, freedBytes } = plan;
  const noted = {
    pointCount: 2,
    mergedBlocks,
    deletedBlocks,
    freedBytes,
    points: [rp1, rp2].map((point) => ({ item, point })),
  };
  // As the row was when the kill came.
  await vm.service.catalogue.change(async (change) => {
    const row = { status: 'InProgress', endedAt: null, request: JSON.stringify({ noted }) };
    await change.updateTable('jobs').set(row).where('id', '=', jobId).execute();
  });
  await vm.made.restart();
  const expected = { removed: 2, merged: mergedBlocks, deleted: deletedBlocks, freedBytes };
  assert.deepEqual(figuresOf(await vm.ended(jobId)), expected);
  assert.deepEqual(await vm.pointIds(), [rp3]);
  assert.deepEqual(vm.made.complaints, []);
});

test('M31 what was noted and not done before a kill is decided anew: a point that was extended meanwhile stays', async (t) => {
  const vm = await agedVm(t, { policy: QUIET });
  const [rp1, rp2] = await v1(vm, [1, 20, 20]);
  const { jobId } = await startExpiry(vm.service, WEB.vault, WEB.vm);
  await vm.ended(jobId);
  const item = (await vm.item()).id;
  const figures = { pointCount: 2, mergedBlocks: 9, deletedBlocks: 9, freedBytes: 9 };
  const noted = { ...figures, points: [rp1, rp2].map((point) => ({ item, point })) };
  await vm.service.catalogue.change(async (change) => {
    const row = { status: 'InProgress', endedAt: null, request: JSON.stringify({ noted }) };
    await change.updateTable('jobs').set(row).where('id', '=', jobId).execute();
  });
  await vm.made.restart();
  assert.equal(figuresOf(await vm.ended(jobId)).removed, 0);
  assert.equal((await vm.pointIds()).length, 3);
  const told = await listActivities(vm.service.catalogue.read);
  assert.ok(told.some(({ action, target }) => action === 'Expire' && target.endsWith('/web')));
});

test('R31 after a leap of the clock nothing expires for a day; put right meanwhile, nothing is lost', async (t) => {
  const YEAR_MS = 365 * 86_400_000;
  const vm = await agedVm(t, { policy: QUIET });
  await v1(vm, [20, 20, 20]);
  await stopByPolicy(vm.service, WEB);
  vm.clock.jump(YEAR_MS);
  await vm.pass(0.5);
  await vm.pass(0.3);
  assert.equal((await vm.pointIds()).length, 3);
  assert.match(vm.made.complaints.join(), /the clock leapt ahead: no recovery point expires/);
  vm.clock.jump(-YEAR_MS);
  await vm.pass(5);
  assert.equal((await vm.pointIds()).length, 3);
  // It is a year later indeed.
  vm.clock.jump(YEAR_MS);
  for (let half = 0; half < 3; half += 1) await vm.pass(0.5);
  assert.equal((await vm.pointIds()).length, 1);
});

test('R31 a leap of the clock purges no soft-deleted VM for a day, also where the service is started again meanwhile', async (t) => {
  const MONTH_MS = 30 * 86_400_000;
  const vm = await agedVm(t, { policy: QUIET });
  const points = await v1(vm, [1, 20, 20]);
  await deleteData(vm.service, WEB);
  vm.clock.jump(MONTH_MS);
  await vm.pass(0.1);
  await vm.made.restart();
  await vm.pass(0.2);
  assert.equal((await vm.item()).state, 'SoftDeleted');
  vm.clock.jump(-MONTH_MS);
  await vm.pass(1);
  assert.equal((await vm.item()).state, 'SoftDeleted');
  assert.deepEqual(await vm.pointIds(), points);
  assert.match(vm.made.complaints.join(), /nothing is purged, for a day/);
});

test('R31 a point that is deleted by hand under a wrong clock takes no other with it', async (t) => {
  const vm = await agedVm(t, { policy: QUIET });
  const [first, second, third] = await v1(vm, [100, 100, 3650]);
  await updateVault(vm.service, WEB.vault, { settings: { softDelete: 'Disabled' } });
  vm.clock.jump(365 * 86_400_000);
  const { jobId } = await deletePoint(vm.service, { ...WEB, point: first! });
  assert.equal(figuresOf(await vm.ended(jobId!)).removed, 1);
  assert.deepEqual(await vm.pointIds(), [second, third]);
});

test('R31 leaps that are small add up, also while the service is down; the doctor tells it until the clock is put right', async (t) => {
  const HOURS_MS = 3_600_000;
  const vm = await agedVm(t, { policy: QUIET });
  const points = await v1(vm, [1, 20, 20]);
  const told = async () => (await examine(vm.service)).filter(({ where }) => where === 'clock');
  vm.clock.jump(4 * HOURS_MS);
  await vm.pass(0.01);
  assert.deepEqual(await told(), []);
  await vm.service.close();
  vm.clock.jump(5 * HOURS_MS);
  await vm.made.restart();
  const [finding] = await told();
  assert.match(
    finding!.what,
    /9 hours ahead of what has passed: until .* no recovery point expires/,
  );
  await vm.pass(0.9);
  assert.deepEqual(await vm.pointIds(), points);
  vm.clock.jump(-9 * HOURS_MS);
  await vm.pass(0.1);
  assert.deepEqual(await told(), []);
});

test('R31 a machine that was off for days, or whose clock says so, removes nothing for a day', async (t) => {
  const clock = new FakeClock();
  let bootId = 'one';
  const machine = {
    get bootId() {
      return bootId;
    },
    upMs: clock.monotonicMs,
  };
  const vm = await agedVm(t, { policy: QUIET, clock, machine });
  const [, second, third] = await v1(vm, [1, 20, 20]);
  await vm.service.close();
  bootId = 'two';
  clock.jump(4 * 86_400_000);
  await vm.made.restart();
  await vm.pass(0.5);
  assert.equal((await vm.pointIds()).length, 3);
  const [finding] = (await examine(vm.service)).filter(({ where }) => where === 'clock');
  assert.match(finding!.what, /96 hours ahead .*, or this machine was off for so long/);
  await vm.pass(0.6);
  await vm.pass(0.2);
  assert.deepEqual(await vm.pointIds(), [second, third]);
});

test('R31 points that were deleted by hand stay for a day after a leap, too, and whatever else is deleted meanwhile', async (t) => {
  const vm = await agedVm(t, { policy: QUIET });
  const [first, second, third] = await v1(vm, [100, 100, 3650]);
  await deletePoint(vm.service, { ...WEB, point: first! });
  // A backup of the schedule comes meanwhile.
  const left = async () =>
    (await vm.pointIds()).filter((id) => [first, second, third].includes(id));
  vm.clock.jump(30 * 86_400_000);
  await vm.pass(0.5);
  assert.equal((await left()).length, 3);
  await updateVault(vm.service, WEB.vault, { settings: { softDelete: 'Disabled' } });
  const { jobId } = await deletePoint(vm.service, { ...WEB, point: second! });
  assert.equal(figuresOf(await vm.ended(jobId!)).removed, 1);
  assert.deepEqual(await left(), [first, third]);
  await vm.pass(0.5);
  assert.deepEqual(await left(), [first, third]);
  await vm.pass(0.5);
  await vm.pass(0.2);
  assert.deepEqual(await left(), [third]);
});

test('R31 a job of expiry that waited when the clock leapt removes nothing', async (t) => {
  const vm = await agedVm(t, { policy: QUIET });
  const points = await v1(vm, [1, 20, 20]);
  const { vaultId } = await vm.item();
  vm.clock.jump(365 * 86_400_000);
  const jobId = await vm.service.catalogue.change(async (change) =>
    vm.service.jobs.add(change, {
      vaultId,
      entity: 'v1',
      operation: 'Expire',
      isUserTriggered: false,
      request: {},
    }),
  );
  const { status, properties } = await vm.ended(jobId);
  assert.deepEqual([status, properties['Recovery points removed']], ['Completed', '0']);
  assert.match(properties['Not removed']!, /clock leapt ahead/);
  assert.deepEqual(await vm.pointIds(), points);
});
