/** Which points carry which tags, and until when (R10, R11, R16 to R23), through the API over months that pass at once. */
import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DAILY, HOURLY, policyOf, weeklyOn } from '../../src/service/retention/test-policies.ts';
import { BLOCK } from '../../src/service/testing/aged-vm.ts';
import { addImages } from '../../src/service/testing/test-service.ts';
import { DAY_MS, MONTH, QUIET, rulesLab, WEEK, wireOf, type RulesLab } from './rules-lab.ts';

/** The clock is set to that instant, without a run between. */
async function go(lab: RulesLab, to: string): Promise<void> {
  await lab.stop();
  const ahead = Date.parse(to) - lab.vm.clock.nowMs();
  assert.ok(ahead > 0, to);
  lab.vm.clock.advance(ahead);
  await lab.protect();
}

/** The next run's point: its day, its classes, until when it is kept. */
async function nextPoint(lab: RulesLab): Promise<readonly [string, string, string]> {
  const { status } = await lab.scheduled();
  assert.equal(status, 'Completed');
  const { time, rules, expiry } = (await lab.points()).at(-1)!;
  return [time.slice(0, 10), rules, expiry.slice(0, 10)];
}

test('R17 R23 a point of several classes is kept by the longest; a class that is added gives the points before nothing', async (t) => {
  const rules = { days: 30, weeks: 12, months: 60 } as const;
  const lab = await rulesLab(t, { policy: policyOf(DAILY, rules) });
  const first = await nextPoint(lab);
  assert.deepEqual(first, ['2026-01-01', 'Daily, Monthly', '2031-01-01']);
  const days = { format: 'daily', dates: [1, 4] } as const;
  const yearly = { months: ['january'] as const, days };
  await lab.putPolicy(policyOf(DAILY, { ...rules, years: 10, yearly }));
  const [before] = await lab.points();
  assert.deepEqual([before!.rules, before!.expiry.slice(0, 10)], first.slice(1));
  const seen = [];
  for (let day = 2; day <= 4; day += 1) seen.push(await nextPoint(lab));
  assert.deepEqual(seen, [
    ['2026-01-02', 'Daily', '2026-02-01'],
    ['2026-01-03', 'Daily', '2026-02-02'],
    // A Sunday.
    ['2026-01-04', 'Daily, Weekly, Yearly', '2036-01-04'],
  ]);
  await lab.putPolicy(policyOf(DAILY, { ...rules, days: 9000 }));
  const told = (await lab.points()).map(({ rules: of, expiry }) => [of, expiry.slice(0, 4)]);
  assert.deepEqual(
    [told[0], told[3]],
    [
      ['Daily, Monthly', '2050'],
      ['Daily, Weekly', '2050'],
    ],
  );
});

test('R16 R17 last days and last weekdays of months are tagged, in leap years the 29th of February; a date that a month has not is its last', async (t) => {
  const policy = policyOf(DAILY, {
    days: 7,
    months: 1,
    monthly: { format: 'weekly', weeks: ['last'], weekdays: ['friday'] },
    years: 1,
    yearly: { months: ['february'], days: { format: 'daily', dates: ['last'] } },
  });
  const lab = await rulesLab(t, { policy });
  const spells = [
    [['2026-01-30', 'Daily, Monthly', '2026-02-28']],
    [
      ['2026-02-27', 'Daily, Monthly', '2026-03-27'],
      ['2026-02-28', 'Daily, Yearly', '2027-02-28'],
    ],
    [['2026-05-22', 'Daily', '2026-05-29']],
    [
      ['2028-02-28', 'Daily', '2028-03-06'],
      ['2028-02-29', 'Daily, Yearly', '2029-02-28'],
    ],
  ] as const;
  for (const spell of spells) {
    await go(lab, `${spell[0][0]}T00:00:00Z`);
    for (const day of spell) assert.deepEqual(await nextPoint(lab), day);
  }
});

/** Where clocks change, on Lord Howe by half an hour. */
const CHANGES = [
  ['Pacific Standard Time', 'America/Los_Angeles', '2026-03-08'],
  ['W. Europe Standard Time', 'Europe/Berlin', '2026-03-29'],
  ['AUS Eastern Standard Time', 'Australia/Sydney', '2026-04-05'],
  ['AUS Eastern Standard Time', 'Australia/Sydney', '2026-10-04'],
  ['W. Europe Standard Time', 'Europe/Berlin', '2026-10-25'],
  ['Pacific Standard Time', 'America/Los_Angeles', '2026-11-01'],
  ['Lord Howe Standard Time', 'Australia/Lord_Howe', '2027-04-04'],
  ['Lord Howe Standard Time', 'Australia/Lord_Howe', '2027-10-03'],
] as const;

function onWall(time: string | number, timeZone: string): string {
  const format = { timeZone, dateStyle: 'short', timeStyle: 'short' } as const;
  return new Intl.DateTimeFormat('sv-SE', format).format(new Date(time));
}

test('R8 R17 a run is at its time on the wall, and a day is a day there, across both changes of the clock in four time zones', async (t) => {
  const lab = await rulesLab(t, { policy: WEEK });
  for (const [timeZone, iana, date] of CHANGES) {
    await lab.putPolicy({ ...WEEK, timeZone });
    const day = (offset: number): string =>
      new Date(Date.parse(date) + offset * DAY_MS).toISOString().slice(0, 10);
    await go(lab, `${day(-2)}T12:00:00Z`);
    const { body } = await lab.call('POST', `${lab.ownVault}/backupPolicies/P/previewRuns`, {
      count: 3,
    });
    const runs: readonly string[] = body.value.map(({ time }: { time: string }) => time);
    const walls = runs.map((time) => onWall(time, iana));
    // Where that night has no 02:00, the clock shows 03:00, or 02:30, when the run comes.
    const gap = walls[1]!.slice(-5);
    assert.ok(['02:00', '02:30', '03:00'].includes(gap), `${iana} ${gap}`);
    assert.deepEqual(walls, [`${day(-1)} 02:00`, `${day(0)} ${gap}`, `${day(1)} 02:00`], iana);
    const { startTime } = await lab.scheduled();
    const late = Date.parse(startTime) - Date.parse(runs[0]!);
    assert.ok(late >= 0 && late < 60_000, `${iana} ${startTime}`);
    const { time, expiry } = (await lab.points()).at(-1)!;
    const [, clock] = onWall(time, iana).split(' ');
    assert.equal(onWall(expiry, iana), `${day(6)} ${clock}`, iana);
  }
});

test('R11 runs are right across the change of the clock; with dstFollowsAzure they stay in standard time', async (t) => {
  const properties = { ...wireOf(MONTH), timeZone: 'W. Europe Standard Time' };
  const walls = async (dstFollowsAzure: boolean): Promise<readonly string[]> => {
    const { call, group } = await rulesLab(t, { settings: { dstFollowsAzure } });
    const subscription = group.slice(0, group.indexOf('/resourceGroups'));
    const body = { properties, from: '2026-03-28T12:00:00Z', count: 2 };
    const answer = await call(
      'POST',
      `${subscription}/providers/Holdfast.Backup/previewRuns`,
      body,
    );
    return answer.body.value.map(({ time }: { time: string }) => time);
  };
  // The 29th has no 02:00: its run comes when the clock has gone there.
  assert.deepEqual(await walls(false), ['2026-03-29T01:00:00.000Z', '2026-03-30T00:00:00.000Z']);
  assert.deepEqual(await walls(true), ['2026-03-29T01:00:00.000Z', '2026-03-30T01:00:00.000Z']);
});

test('R10 where the last backup of an hourly day fails, the first of the next day carries its tags', async (t) => {
  const lab = await rulesLab(t, { policy: policyOf(HOURLY, { days: 30 }) });
  const folder = join(lab.vm.made.images, 'web');
  await go(lab, '2026-01-05T07:00:00Z');
  assert.equal((await lab.scheduled()).status, 'Completed');
  renameSync(folder, `${folder}-away`);
  const failed = await lab.scheduled();
  assert.deepEqual([failed.status, failed.startTime.slice(11, 13)], ['Failed', '12']);
  renameSync(`${folder}-away`, folder);
  await lab.discover();
  for (let runs = 0; runs < 2; runs += 1) await lab.scheduled();
  const told = (await lab.points()).map(({ time, rules }) => [time.slice(11, 13), rules]);
  assert.deepEqual(told, [
    ['08', 'Instant'],
    ['16', 'Instant, Daily'],
    ['20', 'Instant'],
  ]);
});

test('R20 R21 an on-demand point has no tag and the date that was asked for, whatever the policy becomes; Azure’s API changes no point', async (t) => {
  const lab = await rulesLab(t, { policy: QUIET });
  const [asked, plain] = [await lab.backUp(3), await lab.backUp()];
  const before = await lab.points();
  const now = lab.vm.clock.nowMs();
  const days = before.map(({ expiry }) => (Date.parse(expiry) - now) / DAY_MS);
  assert.deepEqual([Math.round(days[0]!), Math.round(days[1]!)], [3, 30]);
  assert.deepEqual(
    before.map(({ rules }) => rules),
    ['', ''],
  );
  await lab.putPolicy(WEEK);
  await lab.putPolicy(policyOf(weeklyOn('friday'), { weeks: 500 }));
  assert.deepEqual(await lab.points(), before);
  const far = {
    objectType: 'IaasVMBackupRequest',
    recoveryPointExpiryTimeInUTC: '2126-01-01T00:00:00Z',
  };
  const refused = await lab.call('POST', `${lab.item}/backup`, { properties: far });
  assert.deepEqual(
    [refused.status, refused.body.error.code],
    [400, 'UserErrorInvalidRecoveryPointExpiry'],
  );
  for (const method of ['PUT', 'PATCH', 'DELETE'] as const) {
    for (const point of [asked, plain]) {
      const { status } = await lab.call(method, `${lab.item}/recoveryPoints/${point}`, {});
      assert.ok(status === 404 || status === 405, `${method} ${status}`);
    }
  }
  assert.deepEqual(await lab.points(), before);
});

test('R22 weekly points keep the date they had when their policy becomes a daily one; daily ones go when it becomes weekly', async (t) => {
  const lab = await rulesLab(t, { policy: QUIET });
  for (const date of ['2026-01-06', '2026-01-13']) {
    await go(lab, `${date}T12:00:00Z`);
    await lab.scheduled();
  }
  const weekly = await lab.points();
  assert.deepEqual(
    weekly.map(({ rules, expiry }) => [rules, expiry.slice(0, 10)]),
    [
      ['Weekly', '2026-02-04'],
      ['Weekly', '2026-02-11'],
    ],
  );
  await lab.putPolicy(WEEK, 'daily');
  await lab.protect('daily');
  assert.deepEqual(
    (await lab.points()).map(({ name, expiry }) => [name, expiry]),
    weekly.map(({ name, expiry }) => [name, expiry]),
  );
  for (let day = 0; day < 2; day += 1) await lab.scheduled();
  await lab.protect('P');
  const fates = (await lab.points()).map(({ isSoftDeleted }) => isSoftDeleted);
  // The newest stays (R32).
  assert.deepEqual(fates, [false, false, true, false]);
});

test('R7 a policy edit changes all its VMs, and no other policy’s', async (t) => {
  const lab = await rulesLab(t, { policy: MONTH });
  const others = ['db', 'mail'];
  for (const vm of others) {
    addImages(lab.vm.made, vm, [{ name: 'a', sizeBytes: BLOCK }]);
  }
  await lab.discover();
  const itemOf = (vm: string): string => lab.item.replaceAll(';web', `;${vm}`);
  for (const [vm, policy] of [
    ['db', 'P'],
    ['mail', 'DefaultPolicy'],
  ] as const) {
    await lab.done('PUT', itemOf(vm), {
      properties: {
        protectedItemType: 'Microsoft.Compute/virtualMachines',
        policyId: lab.policyId(policy),
        sourceResourceId: lab.vmPath.replace(/web$/, vm),
      },
    });
  }
  const daysKept = async (): Promise<readonly number[]> => {
    const kept = [];
    for (const vm of ['web', ...others]) {
      const { body } = await lab.call('GET', `${itemOf(vm)}/recoveryPoints`);
      const { recoveryPointTime, recoveryPointProperties } = body.value.at(-1).properties;
      const ms = Date.parse(recoveryPointProperties.expiryTime) - Date.parse(recoveryPointTime);
      kept.push(ms / DAY_MS);
    }
    return kept;
  };
  lab.vm.clock.advance(DAY_MS);
  const isTaken = async (): Promise<boolean> =>
    (await lab.jobs()).filter(({ properties }) => properties.operation === 'Backup').length === 3;
  while (!(await isTaken())) await lab.vm.settled();
  await lab.vm.settled();
  assert.deepEqual(await daysKept(), [30, 30, 30]);
  await lab.putPolicy(WEEK);
  assert.deepEqual(await daysKept(), [7, 7, 30]);
});
