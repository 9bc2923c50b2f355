import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../usage-error.ts';
import { policyOf, retentionText, scheduleText } from './policy-words.ts';

test('a weekly policy keeps the days of its schedule, monthly points on the first of them', () => {
  const policy = policyOf({ weekly: 'wed,sun', at: '3:30', keepMonthly: '6', keepYearly: '1' });
  assert.equal(scheduleText(policy), 'Wednesday, Sunday at 03:30');
  assert.equal(
    retentionText(policy),
    '12 weeks (Wednesday, Sunday), 6 months (First Wednesday), 1 year (First Wednesday of January)',
  );
  assert.equal(policy.retentionPolicy.dailySchedule, undefined);
  assert.deepEqual(policy.retentionPolicy.weeklySchedule?.retentionTimes, ['2026-01-01T03:30:00Z']);
});

test('an hourly policy is an enhanced one, without times in its retention', () => {
  const policy = policyOf({ hourly: '4' });
  assert.equal(policy.policyType, 'V2');
  assert.equal(policy.schedulePolicy.schedulePolicyType, 'SimpleSchedulePolicyV2');
  assert.equal(scheduleText(policy), 'every 4 hours from 08:00 for 12 hours');
  assert.equal(policy.retentionPolicy.dailySchedule?.retentionTimes, undefined);
});

test('dates of the month, its last day too', () => {
  const policy = policyOf({ daily: '22:00', keepMonthly: '2', keepMonthlyOn: '1, 15,last' });
  assert.equal(retentionText(policy), '30 days, 2 months (day 1, 15, last)');
});

test('a change leaves what it does not name', () => {
  const before = {
    ...policyOf({
      daily: '22:00',
      keepDaily: '40',
      keepWeekly: '5',
      timeZone: 'Tokyo Standard Time',
    }),
    instantRpRetentionRangeInDays: 3,
  };
  const after = policyOf({ daily: '1:00', keepWeekly: 'none' }, before);
  assert.equal(`${scheduleText(after)}, ${after.timeZone}`, 'daily at 01:00, Tokyo Standard Time');
  assert.equal(retentionText(after), '40 days');
  assert.equal(after.instantRpRetentionRangeInDays, 3);
  assert.deepEqual(after.retentionPolicy.dailySchedule?.retentionTimes, ['2026-01-01T01:00:00Z']);
  const other = policyOf({ hourly: '6' }, before);
  assert.equal(other.instantRpRetentionRangeInDays, undefined, 'other limits hold for it');
});

test('what contradicts itself is refused, and named', () => {
  for (const [options, says] of [
    [{}, /say when/],
    [{ daily: '22:00', hourly: '4' }, /contradict/],
    [{ weekly: 'sunday' }, /needs --at/],
    [{ daily: '22:00', at: '1:00' }, /--at belongs to --weekly/],
    [{ daily: '22:00', from: '1:00' }, /belong to --hourly/],
    [{ daily: '22:00', keepWeeklyOn: 'sunday' }, /--keep-weekly-on needs --keep-weekly/],
    [{ daily: '22:00', keepMonthly: '1', keepMonthlyOn: 'sunday' }, /which week/],
    [{ daily: '22:00', keepYearly: '1', keepYearlyOn: 'first sunday' }, /names no month/],
    [{ daily: '22:00', keepDaily: 'x' }, /--keep-daily "x" is not a whole number/],
  ] as const) {
    assert.throws(
      () => policyOf(options),
      (error) => error instanceof UsageError && says.test(error.message),
    );
  }
});
