import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import type { BackupPolicy } from './backup-policy.ts';
import { defaultPolicy } from './default-policy.ts';
import { policyFromJson, policyToJson } from './policy-json.ts';

const times = ['16:00'];
const full: BackupPolicy = {
  kind: 'enhanced',
  timeZone: 'Tokyo Standard Time',
  schedule: { frequency: 'hourly', intervalHours: 4, windowStart: '16:00', windowHours: 24 },
  retention: {
    daily: { times, duration: { count: 180, unit: 'days' } },
    weekly: { times, weekdays: ['sunday'], duration: { count: 12, unit: 'weeks' } },
    monthly: {
      times,
      days: { format: 'daily', dates: [1, 'last'] },
      duration: { count: 60, unit: 'months' },
    },
    yearly: {
      times,
      days: { format: 'weekly', weeks: ['last'], weekdays: ['friday'] },
      months: ['december'],
      duration: { count: 10, unit: 'years' },
    },
  },
  instantRestoreDays: 11,
  snapshotGroup: { namePrefix: 'snapshots' },
  tiering: { mode: 'after', duration: { count: 3, unit: 'months' } },
};
const weekly: BackupPolicy = {
  ...defaultPolicy('02:00'),
  schedule: { frequency: 'weekly', weekdays: ['monday'], runTimes: times, weeklyFrequency: 1 },
};

test('a policy comes back from its JSON as it was', () => {
  for (const policy of [full, weekly, defaultPolicy('02:30')]) {
    assert.deepEqual(policyFromJson(policyToJson(policy)), policy);
  }
});

test('equal policies give equal JSON, whatever the order of their fields', () => {
  const reversed = Object.fromEntries(Object.entries(full).reverse()) as BackupPolicy;
  assert.notDeepEqual(Object.keys(reversed), Object.keys(full));
  assert.equal(policyToJson(reversed), policyToJson(full));
});

test('version 1 of the JSON stays as it is', () => {
  assert.equal(
    policyToJson(defaultPolicy('02:00')),
    '{"version":1,"kind":"standard","timeZone":"UTC",' +
      '"schedule":{"frequency":"daily","runTimes":["02:00"]},' +
      '"retention":{"daily":{"times":["02:00"],"duration":{"count":30,"unit":"days"}}},' +
      '"instantRestoreDays":2}',
  );
});

test('another version is refused, not guessed at', () => {
  const text = policyToJson(full);
  assert.throws(
    () => policyFromJson(text.replace('"version":1', '"version":2')),
    (error) => isHoldfastError(error, 'FormatUnsupported') && /version 2/.test(error.message),
  );
});

test('damaged JSON is told as that', () => {
  const text = policyToJson(full);
  const damaged = [
    '',
    'null',
    text.slice(0, -1),
    text.replace('"version":1,', ''),
    text.replace('"hourly"', '"yearly"'),
    text.replace('"kind"', '"sort"'),
    text.replace('"count":12', '"count":"12"'),
  ];
  for (const broken of damaged) {
    assert.throws(
      () => policyFromJson(broken),
      (error) => isHoldfastError(error, 'ObjectDamaged'),
      broken,
    );
  }
});

test('R4 a stored policy that keeps less than 7 days is still read', () => {
  const text = policyToJson(defaultPolicy('02:00')).replace('"count":30', '"count":3');
  assert.equal(policyFromJson(text).retention.daily?.duration.count, 3);
});
