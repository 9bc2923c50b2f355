import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testApi, type TestApi } from '../testing/test-api.ts';

const DAILY = {
  backupManagementType: 'AzureIaasVM',
  policyType: 'V1',
  timeZone: 'UTC',
  schedulePolicy: {
    schedulePolicyType: 'SimpleSchedulePolicy',
    scheduleRunFrequency: 'Daily',
    scheduleRunTimes: ['2021-12-17T02:30:00.000Z'],
    scheduleWeeklyFrequency: 0,
  },
  retentionPolicy: {
    retentionPolicyType: 'LongTermRetentionPolicy',
    dailySchedule: {
      retentionTimes: ['2021-12-17T02:30:00.000Z'],
      retentionDuration: { count: 30, durationType: 'Days' },
    },
  },
  instantRpRetentionRangeInDays: 3,
  instantRPDetails: { azureBackupRGNamePrefix: 'snap', azureBackupRGNameSuffix: 'x' },
  tieringPolicy: { ArchivedRP: { tieringMode: 'DoNotTier', duration: 0, durationType: 'Invalid' } },
};

/** Every form of retention at once, by a weekly schedule. */
const WEEKLY_V2 = {
  backupManagementType: 'AzureIaasVM',
  policyType: 'V2',
  timeZone: 'W. Europe Standard Time',
  schedulePolicy: {
    schedulePolicyType: 'SimpleSchedulePolicyV2',
    scheduleRunFrequency: 'Weekly',
    weeklySchedule: {
      scheduleRunDays: ['Sunday', 'Wednesday'],
      scheduleRunTimes: ['2021-12-17T23:00:00Z'],
    },
  },
  retentionPolicy: {
    retentionPolicyType: 'LongTermRetentionPolicy',
    weeklySchedule: {
      daysOfTheWeek: ['Sunday', 'Wednesday'],
      retentionTimes: ['2021-12-17T23:00:00Z'],
      retentionDuration: { count: 12, durationType: 'Weeks' },
    },
    monthlySchedule: {
      retentionScheduleFormatType: 'Weekly',
      retentionScheduleWeekly: { daysOfTheWeek: ['Sunday'], weeksOfTheMonth: ['First', 'Last'] },
      retentionTimes: ['2021-12-17T23:00:00Z'],
      retentionDuration: { count: 60, durationType: 'Months' },
    },
    yearlySchedule: {
      monthsOfYear: ['January', 'July'],
      retentionScheduleFormatType: 'Weekly',
      retentionScheduleWeekly: { daysOfTheWeek: ['Wednesday'], weeksOfTheMonth: ['Second'] },
      retentionTimes: ['2021-12-17T23:00:00Z'],
      retentionDuration: { count: 10, durationType: 'Years' },
    },
  },
  instantRpRetentionRangeInDays: 7,
};

/** examples/Policy_V2_hourly.json of Azure's API, and dates of the month. */
const HOURLY_V2 = {
  backupManagementType: 'AzureIaasVM',
  timeZone: 'India Standard Time',
  instantRpRetentionRangeInDays: 11,
  policyType: 'V2',
  schedulePolicy: {
    hourlySchedule: {
      interval: 4,
      scheduleWindowDuration: 16,
      scheduleWindowStartTime: '2021-12-17T08:00:00Z',
    },
    schedulePolicyType: 'SimpleSchedulePolicyV2',
    scheduleRunFrequency: 'Hourly',
  },
  retentionPolicy: {
    retentionPolicyType: 'LongTermRetentionPolicy',
    dailySchedule: {
      retentionDuration: { count: 180, durationType: 'Days' },
      retentionTimes: ['2021-12-17T08:00:00+00:00'],
    },
    weeklySchedule: {
      daysOfTheWeek: ['Sunday'],
      retentionDuration: { count: 12, durationType: 'Weeks' },
      retentionTimes: ['2021-12-17T08:00:00+00:00'],
    },
    monthlySchedule: {
      retentionScheduleFormatType: 'Daily',
      retentionScheduleDaily: {
        daysOfTheMonth: [
          { date: 1, isLast: false },
          { date: 0, isLast: true },
        ],
      },
      retentionDuration: { count: 6, durationType: 'Months' },
      retentionTimes: ['2021-12-17T08:00:00+00:00'],
    },
  },
};

const WEEKLY_V1 = {
  ...DAILY,
  schedulePolicy: {
    ...DAILY.schedulePolicy,
    scheduleRunFrequency: 'Weekly',
    scheduleRunDays: ['Monday'],
  },
  retentionPolicy: {
    retentionPolicyType: 'LongTermRetentionPolicy',
    weeklySchedule: {
      daysOfTheWeek: ['Monday'],
      retentionTimes: ['2021-12-17T02:30:00.000Z'],
      retentionDuration: { count: 4, durationType: 'Weeks' },
    },
  },
  instantRpRetentionRangeInDays: 5,
};

const DAILY_V2 = {
  ...DAILY,
  policyType: 'V2',
  schedulePolicy: {
    schedulePolicyType: 'SimpleSchedulePolicyV2',
    scheduleRunFrequency: 'Daily',
    dailySchedule: { scheduleRunTimes: ['2021-12-17T02:30:00.000Z'] },
  },
};

async function withVault(api: TestApi): Promise<string> {
  const vault = `${await api.group('lab')}/providers/Microsoft.RecoveryServices/vaults/v`;
  await api.call('PUT', vault, { body: { location: 'local' } });
  return vault;
}

/** Only hh:mm of a time counts. */
function withoutDates(value: unknown): unknown {
  const json = JSON.stringify(value, (_key, field: unknown) =>
    typeof field === 'string' ? field.replace(/^\d{4}-\d\d-\d\dT(\d\d:\d\d):00.*$/, '$1') : field,
  );
  return JSON.parse(json);
}

test('R7 R8 R9 R16 policies of every kind come back as they were put, hh:mm only of times', async (t) => {
  const api = await testApi(t);
  const path = `${await withVault(api)}/backupPolicies`;
  const policies = { DAILY, WEEKLY_V1, DAILY_V2, WEEKLY_V2, HOURLY_V2 };
  for (const [name, properties] of Object.entries(policies)) {
    const put = await api.call('PUT', `${path}/${name}`, { body: { properties } });
    assert.equal(put.status, 200, JSON.stringify(put.body));
    const { body } = await api.call('GET', `${path}/${name.toLowerCase()}`);
    assert.deepEqual(body, put.body);
    assert.equal(body.type, 'Microsoft.RecoveryServices/vaults/backupPolicies');
    const given = withoutDates(properties) as Record<string, unknown>;
    const got = withoutDates(body.properties) as Record<string, unknown>;
    for (const field of Object.keys(given))
      assert.deepEqual(got[field], given[field], `${name} ${field}`);
    assert.equal(got['protectedItemsCount'], 0);
    // What was answered can be put back, as `az backup policy set` does.
    const again = await api.call('PUT', `${path}/${name}`, { body });
    assert.deepEqual(withoutDates(again.body.properties), got);
  }
  const { body } = await api.call('GET', path, {
    query: `api-version=2023-06-01&%24filter=backupManagementType+eq+%27AzureIaasVM%27`,
  });
  assert.deepEqual(
    body.value.map((one: { name: string }) => one.name),
    ['DAILY', 'DAILY_V2', 'DefaultPolicy', 'HOURLY_V2', 'WEEKLY_V1', 'WEEKLY_V2'],
  );
  const workloads = await api.call('GET', path, {
    query: `api-version=2023-06-01&$filter=backupManagementType eq 'AzureWorkload'`,
  });
  assert.deepEqual(workloads.body, { value: [] });
});

test('times with an offset are read in UTC', async (t) => {
  const api = await testApi(t);
  const path = `${await withVault(api)}/backupPolicies/p`;
  const time = '2021-12-17T05:30:00+03:00';
  const properties = {
    ...DAILY,
    schedulePolicy: { ...DAILY.schedulePolicy, scheduleRunTimes: [time] },
  };
  const { body } = await api.call('PUT', path, { body: { properties } });
  assert.match(body.properties.schedulePolicy.scheduleRunTimes[0], /T02:30:00Z$/);
});

test('bad policies are refused with the code and the field', async (t) => {
  const api = await testApi(t);
  const path = `${await withVault(api)}/backupPolicies/bad`;
  const daily = DAILY.retentionPolicy.dailySchedule;
  const retention = (dailySchedule: object) => ({
    retentionPolicy: { ...DAILY.retentionPolicy, dailySchedule },
  });
  const cases: readonly (readonly [object, string, RegExp])[] = [
    [
      retention({ ...daily, retentionDuration: { count: 0, durationType: 'Days' } }),
      'UserErrorInvalidRetentionDuration',
      /7 to 9999 days/,
    ],
    [{ instantRpRetentionRangeInDays: 9 }, 'UserErrorInvalidInstantRpRetention', /1 to 5/],
    [{ timeZone: 'Europe/Berlin' }, 'BMSUserErrorInvalidPolicyInput', /W. Europe Standard Time/],
    [
      { schedulePolicy: { ...DAILY.schedulePolicy, scheduleRunTimes: ['2021-12-17T02:10:00Z'] } },
      'BMSUserErrorInvalidPolicyInput',
      /half hour/,
    ],
    [
      { schedulePolicy: { ...DAILY.schedulePolicy, scheduleRunDays: ['Sunday'] } },
      'BMSUserErrorInvalidPolicyInput',
      /scheduleRunDays/,
    ],
    [
      { schedulePolicy: DAILY_V2.schedulePolicy },
      'BMSUserErrorInvalidPolicyInput',
      /SimpleSchedulePolicy$/,
    ],
    [{ policyType: 'V2' }, 'BMSUserErrorInvalidPolicyInput', /SimpleSchedulePolicyV2/],
    [
      {
        tieringPolicy: {
          ArchivedRP: { tieringMode: 'TierAfter', duration: 3, durationType: 'Months' },
        },
      },
      'NotSupported',
      /archive tier/,
    ],
    [{ resourceGuardOperationRequests: ['/guard'] }, 'NotSupported', /Resource guards/],
    [{ backupManagementType: 'AzureSql' }, 'InvalidRequestContent', /backupManagementType/],
    [
      { schedulePolicy: { schedulePolicyType: 'LogSchedulePolicy', scheduleFrequencyInMins: 15 } },
      'InvalidRequestContent',
      /schedulePolicyType/,
    ],
    [
      { retentionPolicy: { retentionPolicyType: 'SimpleRetentionPolicy' } },
      'InvalidRequestContent',
      /retentionPolicy/,
    ],
    [
      { snapshotConsistencyType: 'OnlyCrashConsistent' },
      'InvalidRequestContent',
      /snapshotConsistencyType/,
    ],
  ];
  for (const [change, code, message] of cases) {
    const { status, body } = await api.call('PUT', path, {
      body: { properties: { ...DAILY, ...change } },
    });
    assert.deepEqual([status, body.error?.code], [400, code], JSON.stringify(change));
    assert.match(body.error.message, message);
  }
  assert.equal((await api.call('GET', path)).body.error.code, 'BMSUserErrorPolicyNotFound');
});

test('R13 an enhanced policy never becomes a standard one; a policy that is gone is deleted again in peace', async (t) => {
  const api = await testApi(t);
  const path = `${await withVault(api)}/backupPolicies/p`;
  const put = async (properties: object) => await api.call('PUT', path, { body: { properties } });
  assert.equal((await put(DAILY)).status, 200);
  assert.equal((await put(DAILY_V2)).status, 200);
  assert.equal((await put(DAILY)).body.error.code, 'UserErrorPolicyTypeChangeNotAllowed');
  assert.equal((await api.call('DELETE', path)).status, 200);
  assert.equal((await api.call('DELETE', path)).status, 204);
});

test('runs are previewed for a policy that is there and for one that is not saved', async (t) => {
  const api = await testApi(t);
  const vault = await withVault(api);
  const asked = { properties: HOURLY_V2, from: '2026-03-01T00:00:00Z', count: 5 };
  const draft = await api.call(
    'POST',
    `${api.subscription}/providers/Holdfast.Backup/previewRuns`,
    { body: asked },
  );
  assert.deepEqual(
    draft.body.value.map((run: { localTime: string }) => run.localTime),
    [
      '2026-03-01T08:00:00+05:30',
      '2026-03-01T12:00:00+05:30',
      '2026-03-01T16:00:00+05:30',
      '2026-03-01T20:00:00+05:30',
      '2026-03-02T00:00:00+05:30',
    ],
  );
  assert.equal(draft.body.value[4].isLastOfPolicyDay, true);
  const own = vault.replace('Microsoft.RecoveryServices', 'Holdfast.Backup');
  const saved = await api.call('POST', `${own}/backupPolicies/defaultpolicy/previewRuns`);
  assert.equal(saved.body.value.length, 10);
  const endless = { ...asked, count: 100_000 };
  const refused = await api.call(
    'POST',
    `${api.subscription}/providers/Holdfast.Backup/previewRuns`,
    { body: endless },
  );
  assert.equal(refused.status, 400);
});
