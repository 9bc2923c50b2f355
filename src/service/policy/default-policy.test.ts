import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BackupPolicy } from './backup-policy.ts';
import { defaultPolicy, spreadDefaultTime } from './default-policy.ts';
import { validatePolicy } from './validate-policy.ts';

test('R7 the default policy is standard, daily, keeps 30 days, and is valid', () => {
  const policy = defaultPolicy('03:30');
  assert.deepEqual(validatePolicy(policy), policy);
  assert.equal(policy.kind, 'standard');
  assert.deepEqual(policy.schedule, { frequency: 'daily', runTimes: ['03:30'] });
  assert.deepEqual(policy.retention.daily?.duration, { count: 30, unit: 'days' });
});

/** Policies made one after another, each at its default time. */
function defaults(count: number, timeZone = 'UTC'): string[] {
  const policies: BackupPolicy[] = [];
  const times: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const time = spreadDefaultTime(policies, timeZone);
    times.push(time);
    policies.push(defaultPolicy(time, timeZone));
  }
  return times;
}

test('default times are spread: by night and two hours apart, then by night, then by day, never twice', () => {
  assert.deepEqual(defaults(4), ['22:00', '00:00', '02:00', '04:00']);
  const times = defaults(48);
  assert.equal(new Set(times).size, 48);
  const byNight = times.slice(0, 16).every((time) => time >= '22:00' || time < '06:00');
  assert.ok(byNight, times.join(' '));
  assert.ok(times.slice(16).every((time) => time >= '06:00' && time < '22:00'));
});

test('with every half hour taken, the least used one is next', () => {
  const times = defaults(96);
  for (const time of new Set(times)) {
    assert.equal(times.filter((other) => other === time).length, 2, time);
  }
});

test('policies of other time zones and hourly ones take the half hours that they run at', () => {
  const india = defaultPolicy('03:30', 'India Standard Time');
  assert.equal(spreadDefaultTime([india], 'UTC'), '00:00', '22:00 UTC is 03:30 in India');
  const hourly: BackupPolicy = {
    ...defaultPolicy('02:00'),
    kind: 'enhanced',
    schedule: { frequency: 'hourly', intervalHours: 4, windowStart: '18:00', windowHours: 12 },
  };
  assert.equal(spreadDefaultTime([hourly]), '00:00', 'it runs at 18:00, 22:00, 02:00 and 06:00');
});
