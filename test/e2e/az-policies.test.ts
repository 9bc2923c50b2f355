/** Backup policies of every kind by the unmodified `az backup policy`, and the items that have them. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { azLab, IN_VAULT, type AzLab } from './az-lab.ts';
import { Serving } from './serving.ts';

const AT = '2026-11-22T02:30:00+00:00';
const TIMES = [AT];
const WINDOW = '2026-11-22T08:00:00+00:00';
const DAILY = {
  schedulePolicyType: 'SimpleSchedulePolicy',
  scheduleRunFrequency: 'Daily',
  scheduleRunTimes: TIMES,
};
const WEEKLY = {
  ...DAILY,
  scheduleRunFrequency: 'Weekly',
  scheduleRunDays: ['Sunday', 'Wednesday'],
};
const V2 = { schedulePolicyType: 'SimpleSchedulePolicyV2' };
const HOURLY = {
  ...V2,
  scheduleRunFrequency: 'Hourly',
  hourlySchedule: { interval: 4, scheduleWindowStartTime: WINDOW, scheduleWindowDuration: 12 },
};
const kept = (count: number, durationType: string, retentionTimes: readonly string[] = TIMES) => ({
  retentionTimes,
  retentionDuration: { count, durationType },
});
const LONG_TERM = { retentionPolicyType: 'LongTermRetentionPolicy' };
const DAYS = { ...LONG_TERM, dailySchedule: kept(30, 'Days') };
const BY_WEEK = {
  retentionScheduleFormatType: 'Weekly',
  retentionScheduleWeekly: { daysOfTheWeek: ['Sunday'], weeksOfTheMonth: ['First'] },
};
const ALL_TIERS = {
  ...DAYS,
  weeklySchedule: { ...kept(12, 'Weeks'), daysOfTheWeek: ['Sunday'] },
  monthlySchedule: { ...kept(60, 'Months'), ...BY_WEEK },
  yearlySchedule: {
    ...kept(10, 'Years'),
    retentionScheduleFormatType: 'Daily',
    retentionScheduleDaily: {
      daysOfTheMonth: [
        { date: 1, isLast: false },
        { date: 0, isLast: true },
      ],
    },
    monthsOfYear: ['January'],
  },
};
const WEEKS = {
  ...LONG_TERM,
  weeklySchedule: { ...kept(12, 'Weeks'), daysOfTheWeek: ['Sunday', 'Wednesday'] },
};

type Kind = {
  readonly policyType?: 'V2';
  readonly schedulePolicy: object;
  readonly retentionPolicy: object;
  readonly instantRpRetentionRangeInDays?: number;
};

/** By the names that they get, in the order of a list. */
const KINDS: Readonly<Record<string, Kind>> = {
  'enhanced-daily': {
    policyType: 'V2',
    schedulePolicy: {
      ...V2,
      scheduleRunFrequency: 'Daily',
      dailySchedule: { scheduleRunTimes: TIMES },
    },
    retentionPolicy: DAYS,
    instantRpRetentionRangeInDays: 30,
  },
  'enhanced-hourly': {
    policyType: 'V2',
    schedulePolicy: HOURLY,
    retentionPolicy: { ...LONG_TERM, dailySchedule: kept(180, 'Days', []) },
    instantRpRetentionRangeInDays: 7,
  },
  'enhanced-weekly': {
    policyType: 'V2',
    schedulePolicy: {
      ...V2,
      scheduleRunFrequency: 'Weekly',
      weeklySchedule: { scheduleRunDays: ['Sunday', 'Wednesday'], scheduleRunTimes: TIMES },
    },
    retentionPolicy: WEEKS,
    instantRpRetentionRangeInDays: 5,
  },
  'standard-daily': {
    schedulePolicy: DAILY,
    retentionPolicy: ALL_TIERS,
    instantRpRetentionRangeInDays: 5,
  },
  'standard-weekly': {
    schedulePolicy: WEEKLY,
    retentionPolicy: WEEKS,
    instantRpRetentionRangeInDays: 5,
  },
};

const serving = new Serving();
let lab: AzLab;

before(async () => {
  lab = await azLab(serving);
});

const namesOf = (list: readonly { readonly name: string }[]): readonly string[] =>
  list.map(({ name }) => name);

function policy(kind: Kind, timeZone = 'W. Europe Standard Time'): string {
  const properties = { backupManagementType: 'AzureIaasVM', timeZone, ...kind };
  return `@${lab.file('policy.json', { properties })}`;
}

const create = (name: string, from: string): string =>
  `backup policy create ${IN_VAULT} -n ${name} --policy ${from} --backup-management-type AzureIaasVM`;

/** Of a date only hours and minutes count; what is empty or off is as good as absent. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? undefined : value.map(plain);
  if (typeof value === 'string') return value.replace(/^\d{4}-\d\d-\d\dT(\d\d:\d\d):.*$/, '$1');
  if (value === 0 || value === false || value === null) return undefined;
  if (typeof value !== 'object') return value;
  const entries = Object.entries(value).map(([key, one]) => [key, plain(one)] as const);
  return Object.fromEntries(entries.filter(([, one]) => one !== undefined));
}

test('R7 policies of every kind are made, and shown as they were asked for', async () => {
  const standard = await lab.az(`backup policy get-default-for-vm ${IN_VAULT}`);
  assert.equal(standard.name, 'DefaultPolicy');
  for (const [name, kind] of Object.entries(KINDS)) {
    await lab.az(create(name, policy(kind)));
    const { properties } = await lab.az(`backup policy show ${IN_VAULT} -n ${name}`);
    const { schedulePolicy, retentionPolicy, instantRpRetentionRangeInDays } = kind;
    assert.deepEqual(plain(properties.schedulePolicy), plain(schedulePolicy), name);
    assert.deepEqual(plain(properties.retentionPolicy), plain(retentionPolicy), name);
    assert.equal(properties.instantRpRetentionRangeInDays, instantRpRetentionRangeInDays);
    assert.equal(properties.policyType ?? 'V1', kind.policyType ?? 'V1');
    assert.equal(properties.timeZone, 'W. Europe Standard Time');
  }
  // One that was shown is taken as it is.
  const shown = await lab.az(`backup policy show ${IN_VAULT} -n enhanced-hourly`);
  await lab.az(create('z-copy', `@${lab.file('policy.json', shown)}`));
  await lab.az(`backup policy delete ${IN_VAULT} -n z-copy`);
});

test('R7 policies are listed, all of them and by their kind', async () => {
  const list = `backup policy list ${IN_VAULT}`;
  const own = Object.keys(KINDS);
  const all = ['DefaultPolicy', ...own].toSorted((a, b) => a.localeCompare(b));
  assert.deepEqual(namesOf(await lab.az(list)), all);
  const ofVms = `${list} --backup-management-type AzureIaasVM`;
  const enhanced = await lab.az(`${ofVms} --policy-sub-type Enhanced`);
  assert.deepEqual(
    namesOf(enhanced),
    own.filter((name) => name.startsWith('enhanced')),
  );
  assert.equal((await lab.az(`${ofVms} --policy-sub-type Standard`)).length, 3);
  assert.deepEqual(await lab.az(`${list} --backup-management-type AzureStorage`), []);
  assert.match(await lab.table(list), /^enhanced-hourly/m);
});

test('R4 R8 R9 R15 R16 R33 bad policies are refused by their reason, and change nothing', async () => {
  const daily = KINDS['standard-daily']!;
  const hourly = KINDS['enhanced-hourly']!;
  const retention = (more: object): Kind => ({ ...daily, retentionPolicy: { ...DAYS, ...more } });
  const schedule = (more: object): Kind => ({ ...daily, schedulePolicy: { ...DAILY, ...more } });
  const monthly = (more: object): Kind =>
    retention({ monthlySchedule: { ...kept(12, 'Months'), ...BY_WEEK, ...more } });
  const window = (more: object): Kind => ({
    ...hourly,
    schedulePolicy: { ...HOURLY, hourlySchedule: { ...HOURLY.hourlySchedule, ...more } },
  });
  const input = /\(BMSUserErrorInvalidPolicyInput\)/;
  const duration = /\(UserErrorInvalidRetentionDuration\)/;
  const bad: readonly (readonly [string, Kind, RegExp])[] = [
    ['R4 kept for 0 days', retention({ dailySchedule: kept(0, 'Days') }), duration],
    ['R4 kept for 6 days', retention({ dailySchedule: kept(6, 'Days') }), duration],
    ['R4 kept too long', retention({ dailySchedule: kept(10_000, 'Days') }), duration],
    ['R8 two times a day', schedule({ scheduleRunTimes: [AT, WINDOW] }), input],
    ['R8 no half hour', schedule({ scheduleRunTimes: [AT.replace(':30:', ':10:')] }), input],
    [
      'R8 no weekday',
      { ...KINDS['standard-weekly']!, schedulePolicy: { ...WEEKLY, scheduleRunDays: [] } },
      input,
    ],
    ['R9 every 5 hours', window({ interval: 5 }), input],
    ['R9 a window that is too short', window({ scheduleWindowDuration: 3 }), input],
    ['R15 days of a weekly schedule', { ...daily, schedulePolicy: WEEKLY }, input],
    ['R15 another time', retention({ dailySchedule: kept(30, 'Days', [WINDOW]) }), input],
    [
      'R16 day 29',
      monthly({
        retentionScheduleFormatType: 'Daily',
        retentionScheduleDaily: { daysOfTheMonth: [{ date: 29, isLast: false }] },
      }),
      input,
    ],
    [
      'R33 6 days of snapshots',
      { ...daily, instantRpRetentionRangeInDays: 6 },
      /\(UserErrorInvalidInstantRpRetention\)/,
    ],
  ];
  for (const [what, kind, says] of bad) {
    await lab.refused(create('bad', policy(kind)), 1, says).catch((cause: unknown) => {
      throw new Error(what, { cause });
    });
  }
  await lab.refused(create('bad', policy(daily, 'Middle Earth Time')), 1, input);
  await lab.refused(`backup policy show ${IN_VAULT} -n bad`, 3, /BMSUserErrorPolicyNotFound/);
});

test('a policy is changed with its items, given to an item, listed with its items, and deleted when none is left', async () => {
  const { az, refused } = lab;
  const item = `${IN_VAULT} -c web`;
  await az(`backup protection enable-for-vm ${IN_VAULT} --vm web -p standard-daily`);
  const standard = KINDS['standard-daily']!;
  const longer = { ...standard, retentionPolicy: { ...DAYS, dailySchedule: kept(50, 'Days') } };
  const changed = await az(
    `backup policy set ${IN_VAULT} -n standard-daily --policy ${policy(longer)}`,
  );
  assert.equal(changed.properties.retentionPolicy.dailySchedule.retentionDuration.count, 50);
  assert.equal(changed.properties.protectedItemsCount, 1);

  const associated = `backup policy list-associated-items ${IN_VAULT} --backup-management-type AzureIaasVM`;
  assert.equal((await az(`${associated} -n standard-daily`)).length, 1);
  const deleted = `backup policy delete ${IN_VAULT} -n standard-daily`;
  await refused(deleted, 1, /\(BMSUserErrorPolicyInUse\)/);
  const set = `backup item set-policy ${item} -n web --backup-management-type AzureIaasVM`;
  const job = await az(`${set} -p enhanced-hourly`);
  assert.equal(job.properties.operation, 'ConfigureBackup');
  const shown = `backup item show ${item} -n web --backup-management-type AzureIaasVM`;
  const { properties } = await az(`${shown} --workload-type VM`);
  assert.match(properties.policyId, /enhanced-hourly$/);
  assert.deepEqual(await az(`${associated} -n standard-daily`), []);
  const [listed] = await az(`${associated} -n enhanced-hourly`);
  assert.equal(listed.properties.friendlyName, 'web');
  await refused(`${set} -p none`, 1, /BMSUserErrorPolicyNotFound/);
  // R13: an enhanced policy never becomes a standard one again.
  const back = `backup policy set ${IN_VAULT} -n enhanced-daily --policy ${policy(standard)}`;
  await refused(back, 1, /\(UserErrorPolicyTypeChangeNotAllowed\)/);

  await az(deleted);
  await refused(
    `backup policy show ${IN_VAULT} -n standard-daily`,
    3,
    /BMSUserErrorPolicyNotFound/,
  );
  // One that is not there is deleted already.
  await az(deleted);
});
