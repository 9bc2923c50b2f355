import assert from 'node:assert/strict';
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { FakeClock, isHoldfastError, type ErrorCode } from '#base';
import { startDueBackups } from '../backing-up/scheduler.ts';
import { backUpNow } from '../backing-up/start-backup.ts';
import { forecastItem } from '../charges/item-forecast.ts';
import { examine } from '../doctor/doctor.ts';
import { findVm } from '../hosts/vms.ts';
import { deletePolicy, putPolicy } from '../policies/policies.ts';
import { defaultPolicy } from '../policy/default-policy.ts';
import { getItem } from '../items/items.ts';
import { deleteData, protect, stopRetaining } from '../items/protect.ts';
import { listJobs, type Job } from '../jobs/jobs.ts';
import { listPoints, type Point } from '../points/points.ts';
import { addImages, endOf, GROUP, testService, VAULT, withVault } from '../testing/test-service.ts';
import type { TestService } from '../testing/test-service.ts';
import { getVault, updateVault } from '../vaults/vaults.ts';
import { deleteGroup, getGroup, listGroups, putGroup } from './consistency-groups.ts';
import { backUpGroupNow } from './start-group-backup.ts';

const HOUR_MS = 60 * 60 * 1000;
const SHOP = { vault: VAULT, name: 'shop' };
const vm = (name: string) => ({ group: GROUP, name });
const itemName = (name: string) => ({ vault: VAULT, vm: vm(name) });

/** VMs `web`, `db`, `mail`, protected by a policy of 02:00 UTC. */
async function shop(t: TestContext, clock?: FakeClock): Promise<TestService> {
  const settings = { spreadMs: 0 };
  const made = await testService(t, clock === undefined ? { settings } : { clock, settings });
  for (const name of ['web', 'db', 'mail']) {
    addImages(made, name, [{ name: 'a', sizeBytes: 65_536 }]);
  }
  await withVault(made);
  const draft = { ...defaultPolicy('02:00'), timeZone: 'UTC' };
  await putPolicy(made.service(), { vault: VAULT, name: 'p' }, { draft });
  for (const name of ['web', 'db', 'mail']) {
    await protect(made.service(), itemName(name), { policy: 'p' });
  }
  return made;
}

async function pointsOf(made: TestService, name: string): Promise<readonly Point[]> {
  const { read } = made.service().catalogue;
  return await listPoints(read, (await getItem(read, itemName(name))).id);
}

async function jobs(made: TestService): Promise<readonly Job[]> {
  const { read } = made.service().catalogue;
  const { id } = await getVault(read, VAULT);
  return await listJobs(read, id, { operations: ['Backup', 'GroupBackup'] });
}

async function backUp(made: TestService): Promise<Job> {
  const service = made.service();
  const { id } = await getVault(service.catalogue.read, VAULT);
  const { jobId } = await backUpGroupNow(service, SHOP, undefined);
  return await endOf(service, id, jobId);
}

async function refused(work: Promise<unknown>, code: ErrorCode, says: RegExp): Promise<void> {
  await assert.rejects(work, (error) => isHoldfastError(error, code) && says.test(error.message));
}

test('a group is backed up by one job, and each of its points names the others', async (t) => {
  const made = await shop(t);
  await putGroup(made.service(), SHOP, { members: [vm('web'), vm('db')] });
  const job = await backUp(made);
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  assert.deepEqual(
    job.tasks.map(({ name, status }) => [name, status]),
    [
      ['Take Snapshot', 'Completed'],
      ['Transfer data to vault: web', 'Completed'],
      ['Transfer data to vault: db', 'Completed'],
    ],
  );
  const [web, db] = [await pointsOf(made, 'web'), await pointsOf(made, 'db')];
  const { id } = await getGroup(made.service().catalogue.read, SHOP);
  const group = {
    id,
    points: [
      { item: `${GROUP}/web`, point: web[0]!.id },
      { item: `${GROUP}/db`, point: db[0]!.id },
    ],
  };
  assert.deepEqual([web.length, db.length], [1, 1]);
  assert.deepEqual([web[0]!.facts.group, db[0]!.facts.group], [group, group]);
  assert.equal(web[0]!.origin, 'on-demand');
  assert.deepEqual(await pointsOf(made, 'mail'), []);
  // A point that is taken alone has no group.
  const { catalogue } = made.service();
  const { jobId } = await backUpNow(made.service(), itemName('web'), undefined);
  await endOf(made.service(), (await getVault(catalogue.read, VAULT)).id, jobId);
  assert.equal((await pointsOf(made, 'web'))[0]!.facts.group, undefined);
  assert.deepEqual(made.complaints, []);
  const findings = await examine(made.service());
  assert.deepEqual(
    findings.filter(({ severity }) => severity === 'error'),
    [],
  );
});

test('one VM that cannot be backed up fails the job of all, which names it', async (t) => {
  const made = await shop(t);
  await putGroup(made.service(), SHOP, { members: [vm('web'), vm('db')] });
  renameSync(`${made.images}/db/a.raw`, `${made.images}/a.raw`);
  const job = await backUp(made);
  assert.equal(job.status, 'Failed');
  assert.match(job.failure!.message, /db/);
  assert.deepEqual([await pointsOf(made, 'web'), await pointsOf(made, 'db')], [[], []]);
  for (const name of ['web', 'db']) {
    const { lastBackup } = await getItem(made.service().catalogue.read, itemName(name));
    assert.equal(lastBackup?.status, 'Failed');
  }
  renameSync(`${made.images}/a.raw`, `${made.images}/db/a.raw`);
  assert.equal((await backUp(made)).status, 'Completed');
});

test('R55 a VM of a group that its host has no more fails the job as one alone does, and is listed as gone', async (t) => {
  const made = await shop(t);
  await putGroup(made.service(), SHOP, { members: [vm('web'), vm('db')] });
  renameSync(`${made.images}/db`, join(made.images, '../db'));
  const job = await backUp(made);
  assert.equal(job.failure!.code, 'UserErrorVmNotFoundV2');
  assert.match(job.failure!.message, /'db' of 'lab'/);
  assert.equal(await findVm(made.service().catalogue.read, vm('db')), undefined);
  assert.notEqual(await findVm(made.service().catalogue.read, vm('web')), undefined);
  renameSync(join(made.images, '../db'), `${made.images}/db`);
  assert.equal((await backUp(made)).status, 'Completed');
});

test('R17 each week has one weekly point where the group runs before the time of its members’ own policy', async (t) => {
  const clock = new FakeClock(Date.UTC(2026, 2, 1)); // A Sunday.
  const made = await shop(t, clock);
  const service = made.service();
  const at = (time: string) => ({ ...defaultPolicy(time), timeZone: 'UTC' });
  const weekly = {
    weekdays: ['sunday'],
    times: ['02:00'],
    duration: { count: 4, unit: 'weeks' },
  } as const;
  const own = { ...at('02:00'), retention: { ...at('02:00').retention, weekly } };
  await putPolicy(service, { vault: VAULT, name: 'p' }, { draft: own });
  await putPolicy(service, { vault: VAULT, name: 'early' }, { draft: at('01:00') });
  await putGroup(service, SHOP, { members: [vm('web'), vm('db')], policy: 'early' });
  for (const day of [1, 2]) {
    clock.advance(Date.UTC(2026, 2, day, 1) - clock.nowMs());
    await startDueBackups(service);
    while ((await jobs(made)).some(({ endedAt }) => endedAt === undefined)) {
      clock.advance(1000);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  const tags = (await pointsOf(made, 'web')).map(({ retention }) =>
    retention.tags.map((tag) => tag.class),
  );
  assert.deepEqual(tags, [['daily'], ['daily', 'weekly']]);
  // What is foreseen is what the group's schedule makes: a week of one point of a day.
  const sundays = { frequency: 'weekly', weekdays: ['sunday'], runTimes: ['01:00'] } as const;
  const retention = { weekly: { ...weekly, times: ['01:00'] } };
  const draft = { ...at('01:00'), schedule: sundays, retention, instantRestoreDays: 5 };
  const { months: daily } = await forecastItem(service, itemName('web'));
  await putPolicy(service, { vault: VAULT, name: 'sundays' }, { draft });
  await putGroup(service, SHOP, { members: [vm('web'), vm('db')], policy: 'sundays' });
  const { months: onSundays } = await forecastItem(service, itemName('web'));
  assert.deepEqual([daily.at(-1)!.points, onSundays.at(-1)!.points], [30, 4]);
});

test('the schedule of the group takes the place of its members’ own', async (t) => {
  const clock = new FakeClock(Date.UTC(2026, 2, 1));
  const made = await shop(t, clock);
  const settled = async (): Promise<readonly Job[]> => {
    for (;;) {
      const all = await jobs(made);
      if (all.every(({ endedAt }) => endedAt !== undefined)) return all;
      clock.advance(1000);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const draft = { ...defaultPolicy('05:00'), timeZone: 'UTC' };
  await putPolicy(made.service(), { vault: VAULT, name: 'late' }, { draft });
  await putGroup(made.service(), SHOP, { members: [vm('web'), vm('db')], policy: 'late' });
  await startDueBackups(made.service());
  const { read } = made.service().catalogue;
  assert.equal((await getGroup(read, SHOP)).nextRunAt, Date.UTC(2026, 2, 1, 5));
  assert.equal((await getItem(read, itemName('web'))).nextRunAt, Date.UTC(2026, 2, 1, 5));
  clock.advance(2 * HOUR_MS);
  await startDueBackups(made.service());
  assert.deepEqual(
    (await settled()).map(({ entity }) => entity),
    ['mail'],
  );
  clock.advance(Date.UTC(2026, 2, 1, 5) - clock.nowMs());
  await startDueBackups(made.service());
  const [run] = await settled();
  assert.deepEqual(
    [run!.entity, run!.operation, run!.status, run!.isUserTriggered],
    ['shop', 'GroupBackup', 'Completed', false],
  );
  await startDueBackups(made.service());
  assert.equal((await jobs(made)).length, 2, 'once');
  for (const name of ['web', 'db']) {
    const [point] = await pointsOf(made, name);
    assert.equal(point!.origin, 'scheduled');
    // Retention is each item's own: that of its policy, of the run of the group.
    assert.deepEqual(
      [point!.retention.runAt, point!.retention.tags.map((tag) => tag.class)],
      [Date.UTC(2026, 2, 1, 5), ['daily']],
    );
  }
  await deleteGroup(made.service(), SHOP);
  clock.advance(Date.UTC(2026, 2, 2, 2) - clock.nowMs());
  await startDueBackups(made.service());
  assert.deepEqual(
    (await settled())
      .slice(0, 3)
      .map(({ entity }) => entity)
      .toSorted(),
    ['db', 'mail', 'web'],
  );
});

test('a scheduled run leaves out VMs that nobody wants backed up, and says so; resumed they are in it again', async (t) => {
  const clock = new FakeClock(Date.UTC(2026, 2, 1));
  const made = await shop(t, clock);
  const members = [vm('web'), vm('db'), vm('mail')];
  await putGroup(made.service(), SHOP, { members, policy: 'p' });
  const nextRun = async (day: number): Promise<Job> => {
    clock.advance(Date.UTC(2026, 2, day, 2) - clock.nowMs());
    await startDueBackups(made.service());
    for (;;) {
      const [run] = await jobs(made);
      if (run?.endedAt !== undefined) return run;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const counts = async (): Promise<readonly number[]> =>
    await Promise.all(
      ['web', 'db', 'mail'].map(async (name) => (await pointsOf(made, name)).length),
    );
  await startDueBackups(made.service());
  assert.deepEqual([(await nextRun(1)).status, await counts()], ['Completed', [1, 1, 1]]);

  await stopRetaining(made.service(), itemName('db'));
  await deleteData(made.service(), itemName('mail'));
  const alone = await nextRun(2);
  assert.equal(alone.status, 'CompletedWithWarnings', JSON.stringify(alone));
  assert.deepEqual(
    alone.warnings.map(({ message }) => message),
    [
      "'lab/db' is left out: its protection is stopped: resume it first",
      "'lab/mail' is left out: it is soft-deleted: undelete it first",
    ],
  );
  assert.deepEqual(await counts(), [2, 1, 1]);
  const { lastBackup } = await getItem(made.service().catalogue.read, itemName('db'));
  assert.equal(lastBackup?.status, 'Completed', 'it was not tried');
  const asked = backUpGroupNow(made.service(), SHOP, undefined);
  await refused(asked, 'UserErrorProtectionStopped', /'lab\/db' cannot be backed up: .*resume/);

  await protect(made.service(), itemName('db'), { policy: 'p' });
  assert.deepEqual(
    [(await nextRun(3)).status, await counts()],
    ['CompletedWithWarnings', [3, 2, 1]],
  );
  const [web, db] = [await pointsOf(made, 'web'), await pointsOf(made, 'db')];
  assert.deepEqual(
    web[0]!.facts.group!.points.map(({ point }) => point),
    [web[0]!.id, db[0]!.id],
  );

  for (const name of ['web', 'db']) await stopRetaining(made.service(), itemName(name));
  const before = (await jobs(made)).length;
  clock.advance(Date.UTC(2026, 2, 4, 2) - clock.nowMs());
  await startDueBackups(made.service());
  assert.equal((await jobs(made)).length, before, 'nobody is left: no job fails again and again');
});

test('what is no group is refused, and says why', async (t) => {
  const made = await shop(t);
  const service = made.service();
  const put = async (...names: readonly string[]) =>
    await putGroup(service, SHOP, { members: names.map(vm) });
  await refused(put('web'), 'ConsistencyGroupInvalid', /two VMs or more/);
  await refused(put('web', 'WEB'), 'ConsistencyGroupInvalid', /'lab\/web' is in it twice/);
  await refused(put('web', 'gone'), 'BMSUserErrorProtectedItemNotFound', /gone/);
  await refused(getGroup(service.catalogue.read, SHOP), 'ResourceNotFound', /shop/);
  await refused(backUpGroupNow(service, SHOP, undefined), 'ResourceNotFound', /shop/);
  await put('web', 'db');
  const other = { vault: VAULT, name: 'other' };
  const members = [vm('mail'), vm('db')];
  const taken = async (where: RegExp) =>
    await refused(putGroup(service, other, { members }), 'ConsistencyGroupInvalid', where);
  await taken(
    /'lab\/db' is in the group 'shop': delete that group.*: holdfast group delete shop\.$/,
  );
  await refused(
    put('web'),
    'ConsistencyGroupInvalid',
    /two VMs or more; to be rid of it: holdfast group delete shop\.$/,
  );
  await put('web', 'db', 'mail');
  await taken(/'lab\/mail' is in the group 'shop': take it out there first\.$/);
  await stopRetaining(service, itemName('mail'));
  await refused(
    backUpGroupNow(service, SHOP, undefined),
    'UserErrorProtectionStopped',
    /^'lab\/mail' .*: resume it first \(holdfast resume lab\/mail\), or take it out of the group 'shop': holdfast group create shop --vm lab\/web --vm lab\/db\.$/,
  );
  await put('web', 'db');
  await refused(
    putGroup(service, SHOP, { members: [vm('web'), vm('db')], policy: 'none' }),
    'BMSUserErrorPolicyNotFound',
    /none/,
  );
  await putPolicy(service, { vault: VAULT, name: 'q' }, { draft: defaultPolicy('03:00') });
  await putGroup(service, SHOP, { members: [vm('web'), vm('db')], policy: 'q' });
  await refused(
    deletePolicy(service, { vault: VAULT, name: 'q' }),
    'BMSUserErrorPolicyInUse',
    /'shop'/,
  );
  await stopRetaining(service, itemName('db'));
  await refused(
    backUpGroupNow(service, SHOP, undefined),
    'UserErrorProtectionStopped',
    /^'lab\/db' .*: resume it first \(holdfast resume lab\/db\), or give up the group 'shop': holdfast group delete shop\.$/,
  );
  assert.equal(await deleteGroup(service, SHOP), true);
  assert.equal(await deleteGroup(service, SHOP), false);
});

test('a host whose limit is smaller than the group refuses it', async (t) => {
  const made = await testService(t, { settings: { snapshotsPerHost: 2 } });
  for (const name of ['a', 'b', 'c']) addImages(made, name, [{ name: 'a', sizeBytes: 4096 }]);
  await withVault(made);
  for (const name of ['a', 'b', 'c'])
    await protect(made.service(), itemName(name), { policy: 'DefaultPolicy' });
  const put = async (...names: readonly string[]) =>
    await putGroup(made.service(), SHOP, { members: names.map(vm) });
  await refused(put('a', 'b', 'c'), 'ConsistencyGroupInvalid', /'lab' takes 2 snapshots at once/);
  assert.equal((await put('a', 'b')).members.length, 2);
  assert.equal((await backUp(made)).status, 'Completed');
});

test('a group survives a lost catalogue, and loses an item that is removed', async (t) => {
  const made = await shop(t);
  await putGroup(made.service(), SHOP, { members: [vm('web'), vm('db')], policy: 'p' });
  await backUp(made);
  const before = await getGroup(made.service().catalogue.read, SHOP);
  await made.service().close();
  for (const end of ['', '-wal', '-shm']) {
    rmSync(join(made.data, `catalogue.db${end}`), { force: true });
  }
  await made.restart();
  const after = await getGroup(made.service().catalogue.read, SHOP);
  assert.deepEqual(
    [after.id, after.policy, after.members.map(({ vmName }) => vmName)],
    [before.id, before.policy, ['web', 'db']],
  );
  assert.equal((await pointsOf(made, 'web'))[0]!.facts.group!.id, before.id);
  const service = made.service();
  await updateVault(service, VAULT, { settings: { softDelete: 'Disabled' } });
  const { id } = await getVault(service.catalogue.read, VAULT);
  const { jobId } = await deleteData(service, itemName('db'));
  await endOf(service, id, jobId);
  const [left] = await listGroups(service.catalogue.read, VAULT);
  assert.deepEqual(
    left!.members.map(({ vmName }) => vmName),
    ['web'],
  );
  await refused(backUpGroupNow(service, SHOP, undefined), 'ConsistencyGroupInvalid', /two VMs/);
});

test('runs that have points are not done again when the catalogue is lost: of a VM alone, and of a group', async (t) => {
  const clock = new FakeClock(Date.UTC(2026, 2, 1));
  const made = await shop(t, clock);
  await putGroup(made.service(), SHOP, { members: [vm('web'), vm('db')], policy: 'p' });
  clock.advance(3 * HOUR_MS);
  await startDueBackups(made.service());
  while ((await jobs(made)).some(({ endedAt }) => endedAt === undefined)) {
    clock.advance(1000);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await made.service().close();
  for (const end of ['', '-wal', '-shm']) {
    rmSync(join(made.data, `catalogue.db${end}`), { force: true });
  }
  await made.restart();
  await startDueBackups(made.service());
  assert.deepEqual(await jobs(made), []);
  const { read } = made.service().catalogue;
  assert.equal((await getGroup(read, SHOP)).lastRunAt, Date.UTC(2026, 2, 1, 2));
  for (const name of ['web', 'db', 'mail']) {
    const { lastBackup, lastRunAt } = await getItem(read, itemName(name));
    assert.deepEqual([lastBackup?.status, lastRunAt], ['Completed', Date.UTC(2026, 2, 1, 2)]);
  }
});
