/** What a policy may be (R4, R7 to R9, R15, R16): the last that is allowed is taken by the API, the next is refused. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { AnyJson } from '../../src/api/testing/any-json.ts';
import { testApi } from '../../src/api/testing/test-api.ts';
import { WEEKDAYS, type Schedule } from '../../src/service/policy/backup-policy.ts';
import { DAILY, HOURLY, policyOf, weeklyOn } from '../../src/service/retention/test-policies.ts';
import { wireOf } from './rules-lab.ts';

const INPUT = 'BMSUserErrorInvalidPolicyInput';
const DURATION = 'UserErrorInvalidRetentionDuration';
const MONTH = { days: 30 };

/** A vault that policies are put into. */
async function policies(t: TestContext) {
  const api = await testApi(t);
  const vault = `${await api.group('lab')}/providers/Microsoft.RecoveryServices/vaults/v`;
  assert.equal((await api.call('PUT', vault, { body: { location: 'local' } })).status, 201);
  const path = `${vault}/backupPolicies`;
  const put = async (properties: object) =>
    await api.call('PUT', `${path}/p`, { body: { properties } });
  return {
    ...api,
    path,
    /** Each is taken. */
    taken: async (...all: readonly object[]): Promise<void> => {
      for (const properties of all) {
        const { status, body } = await put(properties);
        assert.equal(status, 200, JSON.stringify(body));
        assert.equal((await api.call('DELETE', `${path}/p`)).status, 200);
      }
    },
    /** It is refused for that, and nothing is there. */
    refused: async (properties: object, says: RegExp, code = INPUT): Promise<void> => {
      const { status, body } = await put(properties);
      assert.deepEqual([status, body.error?.code], [400, code], JSON.stringify(properties));
      assert.match(body.error.message, says);
      assert.equal((await api.call('GET', `${path}/p`)).status, 404);
    },
  };
}

/** With some fields of it changed; undefined: without them. */
function changed(properties: AnyJson, at: string, field: object): object {
  const { [at]: inner, ...rest } = properties;
  return { ...rest, [at]: { ...inner, ...field } };
}

const daily = (rules: Parameters<typeof policyOf>[1]): AnyJson => wireOf(policyOf(DAILY, rules));
const onSundays = (rules: Parameters<typeof policyOf>[1]): AnyJson =>
  wireOf(policyOf(weeklyOn('sunday'), rules));
const by = (schedule: Schedule): AnyJson => wireOf(policyOf(schedule, MONTH));
/** Once a day at that time. */
const at = (time: string): object =>
  JSON.parse(JSON.stringify(daily(MONTH)).replaceAll('T02:00', `T${time}`));
const hourly = (of: object): AnyJson => by({ ...HOURLY, ...of } as Schedule);

test('R4 daily points are kept 7 to 9999 days, weekly ones 1 to 5163 weeks, monthly ones 1 to 1188 months, yearly ones 1 to 99 years', async (t) => {
  const { taken, refused } = await policies(t);
  const ranges = { days: [7, 9999], weeks: [1, 5163], months: [1, 1188], years: [1, 99] } as const;
  for (const [unit, [min, max]] of Object.entries(ranges)) {
    const keeping = (count: number): object => {
      const rules = daily({ days: 30, weeks: 1, months: 1, years: 1, [unit]: count });
      if (count > 0) return rules;
      // None at all would be no rule: it is asked for by its number.
      const name = { days: 'daily', weeks: 'weekly', months: 'monthly', years: 'yearly' }[unit]!;
      const one = daily({ days: 30, weeks: 1, months: 1, years: 1 }).retentionPolicy;
      const rule = one[`${name}Schedule`];
      const retentionDuration = { ...rule.retentionDuration, count };
      return changed(rules, 'retentionPolicy', {
        [`${name}Schedule`]: { ...rule, retentionDuration },
      });
    };
    await taken(keeping(min), keeping(max));
    const says = new RegExp(`${min} to ${max} ${unit}`);
    for (const count of [0, min - 1, max + 1]) await refused(keeping(count), says, DURATION);
  }
});

test('R7 a new vault has DefaultPolicy: standard, daily, kept for 30 days', async (t) => {
  const { call, path } = await policies(t);
  const { body } = await call('GET', `${path}/DefaultPolicy`);
  const { properties } = body;
  assert.deepEqual(
    [properties.policyType, properties.schedulePolicy.scheduleRunFrequency],
    ['V1', 'Daily'],
  );
  assert.deepEqual(properties.retentionPolicy.dailySchedule.retentionDuration, {
    count: 30,
    durationType: 'Days',
  });
});

test('M38 default policies of several vaults run two hours apart by night, while there is room', async (t) => {
  const { call, path } = await policies(t);
  const vaults = path.slice(0, path.lastIndexOf('/v/'));
  const times = [];
  for (const vault of ['v', 'second', 'third', 'fourth']) {
    const at = `${vaults}/${vault}`;
    assert.ok((await call('PUT', at, { body: { location: 'local' } })).status < 300);
    const { body } = await call('GET', `${at}/backupPolicies/DefaultPolicy`);
    times.push(body.properties.schedulePolicy.scheduleRunTimes[0].slice(11, 16));
  }
  assert.deepEqual(times, ['22:00', '00:00', '02:00', '04:00']);
});

test('R8 a standard policy runs once a day or on some weekdays, on a half hour of its time zone', async (t) => {
  const { taken, refused, call, subscription } = await policies(t);
  const [one, sundays] = [daily(MONTH), onSundays({ weeks: 4 })];
  const schedule = (properties: object, field: object): object =>
    changed(properties, 'schedulePolicy', field);
  const times = (...all: readonly string[]): object =>
    schedule(one, { scheduleRunTimes: all.map((time) => `2026-01-01T${time}Z`) });
  await taken(one, sundays, at('23:30'));
  await refused(times(), /exactly one time/);
  await refused(times('02:00:00', '14:00:00'), /exactly one time/);
  await refused(times('02:15:00'), /half hour/);
  await refused(times('02:00:01'), /half hour/);
  await refused(schedule(sundays, { scheduleRunDays: [] }), /at least one weekday/);
  await refused(schedule(sundays, { scheduleRunDays: ['Sunday', 'Sunday'] }), /each weekday once/);
  await refused({ ...one, timeZone: 'Europe/Berlin' }, /W\. Europe Standard Time/);
  await refused({ ...one, timeZone: 'Middle Earth Time' }, /timeZone/);
  // Microsoft's sample: 10:00:00Z with this time zone is 10:00 there.
  const pacific = { ...at('10:00'), timeZone: 'Pacific Standard Time' };
  const body = { properties: pacific, from: '2026-01-15T00:00:00Z', count: 1 };
  const runs = await call('POST', `${subscription}/providers/Holdfast.Backup/previewRuns`, {
    body,
  });
  assert.equal(runs.body.value[0].localTime, '2026-01-15T10:00:00-08:00');
});

test('R9 an enhanced policy runs every 4, 6, 8 or 12 hours in a window that starts until 19:30 and holds its interval', async (t) => {
  const { taken, refused } = await policies(t);
  for (const intervalHours of [4, 6, 8, 12]) {
    await taken(hourly({ intervalHours, windowHours: 24 }), hourly({ intervalHours: 4 }));
    await taken(hourly({ intervalHours, windowHours: intervalHours }));
    const few = hourly({ intervalHours, windowHours: intervalHours - 1 });
    await refused(few, new RegExp(`${intervalHours} to 24 hours`));
  }
  for (const intervalHours of [1, 5, 24]) {
    await refused(hourly({ intervalHours, windowHours: 24 }), /4, 6, 8, 12 hours/);
  }
  await taken(hourly({ windowStart: '00:00' }), hourly({ windowStart: '19:30' }));
  await refused(hourly({ windowStart: '20:00' }), /00:00 to 19:30/);
  await refused(hourly({ windowStart: '08:15' }), /half hour/);
  await refused(hourly({ windowHours: 25 }), /4 to 24 hours/);
  const { timeZone: _, ...without } = hourly({});
  await refused(without, /timeZone/);
  const dailySchedule = { scheduleRunTimes: ['2026-01-01T02:00:00Z'] };
  await refused(changed(hourly({}), 'schedulePolicy', { dailySchedule }), /dailySchedule/);
  const v1 = { ...hourly({}), policyType: 'V1' };
  await refused(
    changed(v1, 'schedulePolicy', { schedulePolicyType: 'SimpleSchedulePolicy' }),
    /enhanced policy/,
  );
});

test('R15 retention goes with its schedule: daily needs daily, weekly forbids it and has its weekdays, and every rule the time of the schedule', async (t) => {
  const { taken, refused } = await policies(t);
  const rule = { retentionTimes: ['2026-01-01T02:00:00Z'] };
  const retention = (properties: object, field: object): object =>
    changed(properties, 'retentionPolicy', field);
  const weekly = onSundays({ weeks: 4 });
  const { dailySchedule } = daily(MONTH).retentionPolicy;
  await refused(
    retention(daily(MONTH), { dailySchedule: undefined }),
    /a daily rule, which a daily/,
  );
  await refused(
    retention(hourly({}), { dailySchedule: undefined }),
    /which an hourly schedule needs/,
  );
  await refused(retention(weekly, { dailySchedule }), /no daily rule with a weekly schedule/);
  await refused(retention(weekly, { weeklySchedule: undefined }), /a weekly rule, which/);
  const twoDays = weeklyOn('sunday', 'wednesday');
  await taken(wireOf(policyOf(twoDays, { weeks: 4 })));
  for (const weekdays of [['sunday'], ['sunday', 'monday'], ['sunday', 'monday', 'wednesday']]) {
    const other = wireOf(policyOf(twoDays, { weeks: 4, weekdays: weekdays as ['sunday'] }));
    await refused(other, /those of the schedule: sunday, wednesday/);
  }
  const monthly = (weekdays: readonly ['sunday' | 'monday']): object =>
    onSundays({ weeks: 4, months: 2, monthly: { format: 'weekly', weeks: ['last'], weekdays } });
  await taken(monthly(['sunday']));
  await refused(monthly(['monday']), /monthly\.days\.weekdays/);
  await refused(onSundays({ weeks: 4, months: 2 }), /weekly, with a weekly schedule/);
  await refused(onSundays({ weeks: 4, years: 2 }), /yearly\.days\.format/);
  for (const times of [[], ['03:00'], ['02:00', '14:00']]) {
    const retentionTimes = times.map((time) => `2026-01-01T${time}:00Z`);
    const other = { dailySchedule: { ...dailySchedule, ...rule, retentionTimes } };
    await refused(retention(daily(MONTH), other), /that of the schedule: 02:00/);
  }
  // An hourly schedule has no one time.
  await taken(retention(hourly({}), { dailySchedule: { ...dailySchedule, ...rule } }));
});

test('R16 dates are 1 to 28 or the last, weeks and weekdays are named once each, a yearly rule names its months', async (t) => {
  const { taken, refused } = await policies(t);
  const dates = (...all: readonly (number | 'last')[]): object =>
    daily({ days: 30, months: 2, monthly: { format: 'daily', dates: all } });
  const weeks = (of: readonly string[], weekdays: readonly string[]): object =>
    daily({
      days: 30,
      years: 2,
      yearly: {
        months: ['january', 'december'],
        days: { format: 'weekly', weeks: of as ['last'], weekdays: weekdays as ['friday'] },
      },
    });
  await taken(dates(1, 28, 'last'), dates('last'));
  for (const date of [0, 29, 31]) await refused(dates(date), /1 to 28, last/);
  await refused(dates(), /at least one date/);
  await refused(dates('last', 'last'), /each date once/);
  await refused(dates(3, 3), /each date once/);
  await taken(weeks(['first', 'second', 'third', 'fourth', 'last'], WEEKDAYS));
  await refused(weeks([], ['friday']), /at least one week/);
  await refused(weeks(['first', 'first'], ['friday']), /each week of the month once/);
  await refused(weeks(['last'], []), /at least one weekday/);
  await refused(weeks(['last'], ['friday', 'friday']), /each weekday once/);
  const months = (...all: readonly string[]): object =>
    daily({
      days: 30,
      years: 2,
      yearly: { months: all as ['may'], days: { format: 'daily', dates: [1] } },
    });
  await refused(months(), /at least one month/);
  await refused(months('may', 'may'), /each month once/);
});
