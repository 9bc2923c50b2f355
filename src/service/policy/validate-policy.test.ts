import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HoldfastError, type ErrorCode } from '#base';
import type { BackupPolicy, Retention, Schedule, Weekday } from './backup-policy.ts';
import { defaultPolicy } from './default-policy.ts';
import { validatePolicy } from './validate-policy.ts';

const TIMES = ['02:00'];
const daily: Schedule = { frequency: 'daily', runTimes: TIMES };
const weekly: Schedule = { frequency: 'weekly', weekdays: ['monday', 'friday'], runTimes: TIMES };
const hourly = {
  frequency: 'hourly',
  intervalHours: 4,
  windowStart: '08:00',
  windowHours: 24,
} as const;
const keepDaily = { times: TIMES, duration: { count: 30, unit: 'days' } } as const;
const keepWeekly = {
  times: TIMES,
  weekdays: ['monday', 'friday'],
  duration: { count: 12, unit: 'weeks' },
} as const;
const firstMonday = { format: 'weekly', weeks: ['first'], weekdays: ['monday'] } as const;
const keepMonthly = {
  times: TIMES,
  days: firstMonday,
  duration: { count: 60, unit: 'months' },
} as const;
const keepYearly = {
  times: TIMES,
  days: firstMonday,
  months: ['january'],
  duration: { count: 10, unit: 'years' },
} as const;

const standard = defaultPolicy('02:00');
const enhancedHourly: BackupPolicy = {
  ...standard,
  kind: 'enhanced',
  schedule: hourly,
  instantRestoreDays: 7,
};
const standardWeekly: BackupPolicy = {
  ...standard,
  schedule: weekly,
  retention: { weekly: keepWeekly },
  instantRestoreDays: 5,
};

const accept = (draft: unknown, current?: BackupPolicy): BackupPolicy =>
  validatePolicy(draft, current);

/** The message that refuses a draft. */
function refuse(draft: unknown, code: ErrorCode, current?: BackupPolicy): string {
  try {
    validatePolicy(draft, current);
  } catch (error) {
    assert.ok(error instanceof HoldfastError, String(error));
    assert.equal(error.code, code, error.message);
    return error.message;
  }
  return assert.fail(`was let through: ${JSON.stringify(draft)}`);
}

const malformed = (draft: unknown): string => refuse(draft, 'BMSUserErrorInvalidPolicyInput');
const withRetention = (retention: Retention): BackupPolicy => ({ ...standard, retention });

test('R4 each retention has its range, and a retention of 0 is refused', () => {
  const ranges = [
    ['daily', 7, 9999],
    ['weekly', 1, 5163],
    ['monthly', 1, 1188],
    ['yearly', 1, 99],
  ] as const;
  const all = { daily: keepDaily, weekly: keepWeekly, monthly: keepMonthly, yearly: keepYearly };
  for (const [rule, min, max] of ranges) {
    const { unit } = all[rule].duration;
    const keeping = (count: number): BackupPolicy =>
      withRetention({ ...all, [rule]: { ...all[rule], duration: { count, unit } } });
    for (const count of [min, max]) accept(keeping(count));
    for (const count of [min - 1, max + 1, 0, -1]) {
      const message = refuse(keeping(count), 'UserErrorInvalidRetentionDuration');
      const said = `retention.${rule}.duration is ${count} ${unit}, allowed: ${min} to ${max} ${unit}`;
      assert.ok(message.endsWith(said), message);
    }
    malformed(keeping(min + 0.5));
  }
});

test('R4 a duration is in the unit of its rule', () => {
  const inWeeks = { ...keepDaily, duration: { count: 30, unit: 'weeks' } } as const;
  assert.match(malformed(withRetention({ daily: inWeeks })), /unit is "weeks", allowed: days/);
});

test('R8 a daily or weekly schedule has exactly one run time', () => {
  for (const runTimes of [[], ['02:00', '14:00']]) {
    for (const policy of [standard, standardWeekly]) {
      const message = malformed({ ...policy, schedule: { ...policy.schedule, runTimes } });
      assert.match(message, /schedule.runTimes is .*allowed: exactly one time/);
    }
  }
});

test('R8 the run time is on a full or half hour, without seconds', () => {
  const at = (time: string): BackupPolicy => ({
    ...standard,
    schedule: { frequency: 'daily', runTimes: [time] },
    retention: { daily: { ...keepDaily, times: [time] } },
  });
  for (const time of ['00:00', '02:30', '23:30', '23:30:00']) accept(at(time));
  for (const time of ['02:15', '02:01', '02:29', '02:30:01', '23:59']) {
    assert.match(malformed(at(time)), new RegExp(`runTimes\\[0\\] is "${time}", allowed: a full`));
  }
  for (const time of ['24:00', '2:00', '', '02:60', '02:00Z']) malformed(at(time));
});

test('R8 the time zone is a Windows name; of an IANA name the message tells it', () => {
  for (const timeZone of ['UTC', 'Pacific Standard Time', 'Lord Howe Standard Time']) {
    assert.equal(accept({ ...standard, timeZone }).timeZone, timeZone);
  }
  const message = malformed({ ...standard, timeZone: 'Asia/Tokyo' });
  assert.match(message, /timeZone is "Asia\/Tokyo", allowed: .*"Tokyo Standard Time"/);
  for (const timeZone of ['', 'Nowhere', undefined, 5]) malformed({ ...standard, timeZone });
});

test('R8 a weekly schedule names at least one weekday, each once', () => {
  const on = (weekdays: readonly Weekday[]): BackupPolicy => ({
    ...standardWeekly,
    schedule: { ...weekly, weekdays },
    retention: { weekly: { ...keepWeekly, weekdays } },
  });
  accept(on(['sunday']));
  assert.match(malformed(on([])), /schedule.weekdays is \[\], allowed: at least one weekday/);
  assert.match(malformed(on(['monday', 'monday'])), /allowed: each weekday once/);
  malformed(on(['Monday' as Weekday]));
  accept({ ...standard, schedule: { ...daily, weeklyFrequency: 0 } });
  assert.match(
    malformed({ ...standard, schedule: { ...daily, weeklyFrequency: 2 } }),
    /every week/,
  );
});

test('R9 an hourly schedule runs every 4, 6, 8 or 12 hours', () => {
  for (const intervalHours of [4, 6, 8, 12]) {
    accept({ ...enhancedHourly, schedule: { ...hourly, intervalHours } });
  }
  for (const intervalHours of [0, 1, 3, 5, 24, -4]) {
    const message = malformed({ ...enhancedHourly, schedule: { ...hourly, intervalHours } });
    assert.ok(
      message.includes(`schedule.intervalHours is ${intervalHours}, allowed: 4, 6, 8, 12 hours`),
      message,
    );
  }
});

test('R9 the window starts from 00:00 to 19:30 on half hours, and lasts from its interval to 24 hours', () => {
  const starting = (windowStart: string): BackupPolicy => ({
    ...enhancedHourly,
    schedule: { ...hourly, windowStart },
  });
  for (const start of ['00:00', '08:30', '19:30']) accept(starting(start));
  for (const start of ['20:00', '23:30']) assert.match(malformed(starting(start)), /to 19:30/);
  assert.match(malformed(starting('08:10')), /windowStart is "08:10", allowed: a full or half/);
  const lasting = (windowHours: number, intervalHours = 4): BackupPolicy => ({
    ...enhancedHourly,
    schedule: { ...hourly, windowHours, intervalHours },
  });
  for (const hours of [4, 23, 24]) accept(lasting(hours));
  accept(lasting(12, 12));
  for (const hours of [3, 25, 0]) assert.match(malformed(lasting(hours)), /allowed: 4 to 24 hours/);
  assert.match(malformed(lasting(11, 12)), /windowHours is 11 hours, allowed: 12 to 24 hours/);
});

test('R9 hourly is for enhanced policies, and takes no weekdays or run times', () => {
  assert.match(
    malformed({ ...enhancedHourly, kind: 'standard', instantRestoreDays: 2 }),
    /schedule.frequency is "hourly", allowed: daily, weekly/,
  );
  const message = malformed({
    ...enhancedHourly,
    schedule: { ...hourly, weekdays: ['monday'], runTimes: TIMES },
  });
  assert.match(message, /schedule.weekdays is \["monday"\], allowed: no such field here/);
  assert.match(message, /schedule.runTimes is \["02:00"\]/);
});

test('R13 a standard policy becomes enhanced, and an enhanced one never standard', () => {
  const enhanced: BackupPolicy = { ...standard, kind: 'enhanced' };
  assert.equal(accept(enhanced, standard).kind, 'enhanced');
  accept(standard, standard);
  accept(enhancedHourly, enhanced);
  const message = refuse(standard, 'UserErrorPolicyTypeChangeNotAllowed', enhanced);
  assert.match(message, /kind is "standard", allowed: enhanced/);
});

test('R15 a daily or hourly schedule needs daily retention', () => {
  const retention = { weekly: keepWeekly };
  assert.match(malformed({ ...standard, retention }), /retention.daily is missing/);
  assert.match(malformed({ ...enhancedHourly, retention }), /retention.daily is missing/);
  malformed({ ...standard, retention: {} });
});

test('R15 a weekly schedule takes no daily retention, and needs weekly retention of its weekdays', () => {
  accept(standardWeekly);
  const keeping = (retention: Retention): unknown => ({ ...standardWeekly, retention });
  assert.match(malformed(keeping({ daily: keepDaily, weekly: keepWeekly })), /no daily rule/);
  assert.match(malformed(keeping({})), /retention.weekly is missing/);
  accept(keeping({ weekly: { ...keepWeekly, weekdays: ['friday', 'monday'] } }));
  const others: Weekday[][] = [['monday'], ['monday', 'sunday'], ['monday', 'friday', 'sunday']];
  for (const weekdays of others) {
    const message = malformed(keeping({ weekly: { ...keepWeekly, weekdays } }));
    assert.match(message, /retention.weekly.weekdays .* those of the schedule: monday, friday/);
  }
});

test('R15 with a weekly schedule, months and years keep some of its weekdays, and no dates', () => {
  const rules = [
    ['monthly', keepMonthly],
    ['yearly', keepYearly],
  ] as const;
  for (const [name, rule] of rules) {
    const keeping = (days: unknown): unknown => ({
      ...standardWeekly,
      retention: { weekly: keepWeekly, [name]: { ...rule, days } },
    });
    accept(keeping({ ...firstMonday, weekdays: ['friday'] }));
    assert.match(
      malformed(keeping({ ...firstMonday, weekdays: ['monday', 'sunday'] })),
      /those of the schedule: monday, friday/,
    );
    const message = malformed(keeping({ format: 'daily', dates: [1] }));
    assert.match(message, /days.format is "daily", allowed: weekly/);
  }
});

test('R15 every retention has one time, that of the schedule; hourly schedules do not ask', () => {
  for (const times of [[], ['03:00'], ['02:00', '02:00']]) {
    const retention = { daily: { ...keepDaily, times } };
    const message = malformed({ ...standard, retention });
    assert.match(message, /retention.daily.times is .*allowed: that of the schedule: 02:00/);
    accept({ ...enhancedHourly, retention });
  }
  accept(withRetention({ daily: { ...keepDaily, times: ['02:00:00'] } }));
});

test('R16 dates are 1 to 28 or the last, each once', () => {
  const keeping = (dates: unknown): unknown => ({
    ...standard,
    retention: {
      daily: keepDaily,
      monthly: { ...keepMonthly, days: { format: 'daily', dates } },
    },
  });
  for (const dates of [[1], [28], ['last'], [1, 15, 28, 'last']]) accept(keeping(dates));
  for (const date of [0, 29, 31, -1]) {
    assert.match(malformed(keeping([date])), new RegExp(`is ${date}, allowed: 1 to 28, last`));
  }
  for (const dates of [[], [1, 1], ['last', 'last'], ['first'], [1.5], 5])
    malformed(keeping(dates));
});

test('R16 weeks and weekdays, and the months of a yearly rule, are there, each once', () => {
  const yearly = (changed: object): unknown => ({
    ...standard,
    retention: { daily: keepDaily, yearly: { ...keepYearly, ...changed } },
  });
  const weeks = ['first', 'second', 'third', 'fourth', 'last'];
  accept(yearly({ days: { ...firstMonday, weeks, weekdays: ['sunday', 'saturday'] } }));
  accept(yearly({ days: { format: 'daily', dates: ['last'] }, months: ['february', 'december'] }));
  malformed(yearly({ days: { ...firstMonday, weeks: [] } }));
  malformed(yearly({ days: { ...firstMonday, weeks: ['last', 'last'] } }));
  malformed(yearly({ days: { ...firstMonday, weeks: ['fifth'] } }));
  malformed(yearly({ days: { ...firstMonday, weekdays: [] } }));
  malformed(yearly({ days: { ...firstMonday, weekdays: ['sunday', 'sunday'] } }));
  malformed(yearly({ days: { ...firstMonday, dates: [1] } }));
  assert.match(malformed(yearly({ days: { format: 'hourly' } })), /format .*daily, weekly/);
  assert.match(malformed(yearly({ months: [] })), /at least one month/);
  malformed(yearly({ months: ['may', 'may'] }));
  malformed(yearly({ months: ['smarch'] }));
});

test('R33 snapshot days: 1 to 5 standard, 5 weekly, by interval hourly; Azure’s default where none is said', () => {
  const enhancedDaily: BackupPolicy = { ...standard, kind: 'enhanced' };
  const enhancedWeekly: BackupPolicy = { ...standardWeekly, kind: 'enhanced' };
  const every = (intervalHours: number): BackupPolicy => ({
    ...enhancedHourly,
    schedule: { ...hourly, intervalHours },
  });
  const ranges: [BackupPolicy, number, number, number][] = [
    [standard, 1, 5, 2],
    [standardWeekly, 5, 5, 5],
    [enhancedDaily, 1, 30, 7],
    [enhancedWeekly, 5, 30, 7],
    [every(4), 1, 11, 7],
    [every(6), 1, 17, 7],
    [every(8), 1, 22, 7],
    [every(12), 1, 30, 7],
  ];
  for (const [policy, min, max, normal] of ranges) {
    for (const days of [min, max]) accept({ ...policy, instantRestoreDays: days });
    for (const days of [min - 1, max + 1]) {
      const draft = { ...policy, instantRestoreDays: days };
      const message = refuse(draft, 'UserErrorInvalidInstantRpRetention');
      const allowed = min === max ? `${min} days` : `${min} to ${max} days`;
      assert.ok(message.includes(`is ${days} days, allowed: ${allowed}`), message);
    }
    const { instantRestoreDays: _, ...silent } = policy;
    assert.equal(accept(silent).instantRestoreDays, normal);
  }
  malformed({ ...standard, instantRestoreDays: 2.5 });
});

test('all faults are told at once, and the first gives the code', () => {
  const draft = {
    ...standard,
    timeZone: 'Nowhere',
    schedule: { frequency: 'daily', runTimes: ['02:15'] },
    retention: { daily: { times: ['03:00'], duration: { count: 0, unit: 'days' } } },
    instantRestoreDays: 9,
  };
  const message = malformed(draft);
  const empty = malformed({});
  assert.match(
    empty,
    /kind is missing.*timeZone is missing.*schedule is missing.*retention is missing/,
  );
  assert.doesNotMatch(empty, /instantRestoreDays/);
  assert.match(malformed(null), /the policy is null, allowed: an object/);
  for (const field of [
    'timeZone',
    'schedule.runTimes[0]',
    'retention.daily.duration',
    'retention.daily.times',
    'instantRestoreDays',
  ]) {
    assert.ok(message.includes(`${field} is `), `${field}: ${message}`);
  }
  refuse({ ...draft, timeZone: 'UTC', schedule: daily }, 'UserErrorInvalidRetentionDuration');
  const mixed = malformed({
    ...standard,
    retention: { daily: 5 },
    schedule: { ...daily, runTimes: [] },
  });
  assert.match(mixed, /retention.daily is 5.*schedule.runTimes is \[\]/);
});

test('what Azure can say of a policy besides is kept as it was given', () => {
  const full: BackupPolicy = {
    ...standard,
    retention: { daily: keepDaily, weekly: keepWeekly, monthly: keepMonthly, yearly: keepYearly },
    snapshotGroup: { namePrefix: 'rg-', nameSuffix: '-snapshots' },
    tiering: { mode: 'after', duration: { count: 3, unit: 'months' } },
  };
  assert.deepEqual(accept(full), full);
  accept({ ...full, tiering: { mode: 'none', duration: { count: 0, unit: 'days' } } });
  accept({ ...full, tiering: { mode: 'recommended' }, snapshotGroup: {} });
  malformed({ ...full, tiering: { mode: 'after' } });
  malformed({ ...full, tiering: { mode: 'sometimes' } });
  malformed({ ...full, snapshotGroup: { namePrefix: 'a/../b' } });
});

test('no draft whatsoever breaks the validator, and its message stays short', () => {
  const part = fc.oneof(
    fc.anything(),
    fc.json().map((text): unknown => JSON.parse(text)),
  );
  const draft = fc.record(
    {
      kind: fc.oneof(part, fc.constant('enhanced')),
      timeZone: fc.oneof(part, fc.constant('UTC')),
      schedule: fc.oneof(part, fc.constant(daily), fc.constant(weekly), fc.constant(hourly)),
      retention: fc.oneof(part, fc.constant({ daily: keepDaily })),
      instantRestoreDays: part,
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(draft, fc.anything()), (value) => {
      try {
        validatePolicy(value);
      } catch (error) {
        assert.ok(error instanceof HoldfastError, String(error));
        assert.ok(error.message.length < 4000, error.message);
      }
    }),
    { numRuns: 2000 },
  );
  malformed({ ...standard, schedule: { frequency: 'daily', runTimes: Array(1e5).fill('x') } });
});
