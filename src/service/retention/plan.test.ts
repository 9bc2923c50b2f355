import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BackupPolicy } from '../policy/backup-policy.ts';
import { changedPoints } from './change.ts';
import { planRetention, type RetainedItem, type RetainedPoint } from './plan.ts';
import type { PointRetention, TagClass } from './point-retention.ts';
import { DAILY, HOURLY, policyOf, weeklyOn } from './test-policies.ts';

const DAY_MS = 86_400_000;
const NOW = Date.parse('2026-06-01T12:00:00Z');
const MONTHS = policyOf(DAILY, { days: 30, weeks: 12, months: 12, years: 10 });

const at = (date: string): number => Date.parse(`${date}T02:00:00Z`);
const ago = (days: number): number => NOW - days * DAY_MS;
const protectedBy = (policy: BackupPolicy): RetainedItem => ({ state: 'Protected', policy });

function scheduled(
  takenAt: number,
  tags: readonly TagClass[],
  more: Partial<PointRetention> = {},
): RetainedPoint {
  const retention = { tags: tags.map((tag) => ({ class: tag })), runAt: takenAt, ...more };
  return { id: String(takenAt), takenAt, origin: 'scheduled', askedUntil: undefined, retention };
}

function onDemand(takenAt: number, askedUntil: number): RetainedPoint {
  const id = String(takenAt);
  return { id, takenAt, origin: 'on-demand', askedUntil, retention: { tags: [] } };
}

/** The newest, which no rule touches. */
const NEWEST = scheduled(ago(0.1), ['daily']);

/** What the plan says of the first point, the newest beside it. */
function planOf(item: RetainedItem, point: RetainedPoint, now = NOW) {
  const { fate, keptBy, expiresAt } = planRetention(item, [point, NEWEST], now)[0]!;
  return { fate, keptBy, ...(expiresAt === undefined ? {} : { day: dayOf(expiresAt) }) };
}

const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 16);

/** A change of policy now, and what the plan says of the first point after it. */
function changed(
  of: { readonly before: RetainedItem; readonly after: RetainedItem; readonly days?: number },
  point: RetainedPoint,
) {
  const { before, after, days } = of;
  const change = { before, after, now: NOW, softDeleteDays: days };
  const [first] = changedPoints([point, NEWEST], change);
  return { point: first!, plan: planOf(after, first!) };
}

test('R17 a point of several classes is kept by the longest', () => {
  const item = protectedBy(MONTHS);
  const plan = (tags: readonly TagClass[]) => planOf(item, scheduled(at('2026-05-31'), tags));
  assert.deepEqual(plan(['daily']), { fate: 'kept', keptBy: 'daily', day: '2026-06-30T02:00' });
  const weekly = { fate: 'kept', keptBy: 'weekly', day: '2026-08-23T02:00' };
  assert.deepEqual(plan(['daily', 'weekly']), weekly);
  const yearly = { fate: 'kept', keptBy: 'yearly', day: '2036-05-31T02:00' };
  assert.deepEqual(plan(['daily', 'weekly', 'monthly', 'yearly']), yearly);
});

test('R17 a year after the 29th of February is the 28th; a month after the 31st is the last day', () => {
  const item = protectedBy(MONTHS);
  const dayAfter = (date: string, tag: TagClass, policy = item) =>
    planOf(policy, scheduled(at(date), [tag]), at(date)).day;
  assert.equal(dayAfter('2024-02-29', 'yearly'), '2034-02-28T02:00');
  const oneMonth = protectedBy(policyOf(DAILY, { days: 7, months: 1 }));
  assert.equal(dayAfter('2026-01-31', 'monthly', oneMonth), '2026-02-28T02:00');
  assert.equal(dayAfter('2024-01-31', 'monthly', oneMonth), '2024-02-29T02:00');
});

test('R17 a day is a day on the wall across both changes of the clock, in four time zones', () => {
  const cases = [
    ['W. Europe Standard Time', '2026-03-25T01:00Z', '2026-04-01T00:00'],
    ['W. Europe Standard Time', '2026-10-21T00:00Z', '2026-10-28T01:00'],
    ['Pacific Standard Time', '2026-03-04T10:00Z', '2026-03-11T09:00'],
    ['Pacific Standard Time', '2026-10-28T09:00Z', '2026-11-04T10:00'],
    ['AUS Eastern Standard Time', '2026-04-01T15:00Z', '2026-04-08T16:00'],
    ['AUS Eastern Standard Time', '2026-09-30T16:00Z', '2026-10-07T15:00'],
    // Half an hour.
    ['Lord Howe Standard Time', '2026-04-01T15:00Z', '2026-04-08T15:30'],
    ['Lord Howe Standard Time', '2026-09-30T15:30Z', '2026-10-07T15:00'],
  ] as const;
  for (const [zone, taken, expected] of cases) {
    const item = protectedBy(policyOf(DAILY, { days: 7 }, zone));
    const takenAt = Date.parse(taken);
    assert.equal(planOf(item, scheduled(takenAt, ['daily']), takenAt).day, expected, zone);
  }
});

test('R19 a point of an hourly day that carries no tag stays for the instant-restore days', () => {
  const item = protectedBy(policyOf(HOURLY, { days: 30 }));
  const plan = planOf(item, scheduled(ago(1), ['instant']));
  assert.deepEqual([plan.keptBy, plan.day], ['instant', dayOf(ago(-1))]);
});

test('R20 M29 a point on demand is kept until the date that was asked for, whatever happens to the policy', () => {
  const point = onDemand(ago(20), NOW + 1000);
  const plan = { fate: 'kept', keptBy: 'asked', day: dayOf(NOW + 1000) };
  for (const days of [7, 30, 9999]) {
    const after = protectedBy(policyOf(DAILY, { days }));
    assert.deepEqual(changed({ before: protectedBy(MONTHS), after, days: 14 }, point).plan, plan);
  }
  assert.equal(planOf(protectedBy(MONTHS), point, NOW + 1000).fate, 'removed');
});

test('R22 M32 longer retention keeps existing points longer, shorter retention less long', () => {
  const point = scheduled(ago(10), ['daily']);
  const day = (days: number) => planOf(protectedBy(policyOf(DAILY, { days })), point).day;
  assert.deepEqual([day(11), day(300)], [dayOf(ago(-1)), dayOf(ago(-290))]);
});

test('R22 daily to weekly cleans daily points, and leaves those that were weekly too to the weekly rule', () => {
  const before = protectedBy(policyOf(DAILY, { days: 30, weeks: 12 }));
  const after = protectedBy(policyOf(weeklyOn('sunday'), { weeks: 4 }));
  const daily = changed({ before, after }, scheduled(ago(5), ['daily']));
  assert.deepEqual(daily.plan, { fate: 'removed', keptBy: 'nothing' });
  const weekly = changed({ before, after }, scheduled(ago(5), ['daily', 'weekly']));
  assert.deepEqual([weekly.plan.keptBy, weekly.plan.day], ['weekly', dayOf(ago(-23))]);
});

test('R22 weekly to daily leaves weekly points the date they had', () => {
  const before = protectedBy(policyOf(weeklyOn('sunday'), { weeks: 12, months: 24 }));
  const after = protectedBy(policyOf(DAILY, { days: 30 }));
  const kept = { fate: 'kept', keptBy: 'weekly', day: dayOf(ago(5) + 84 * DAY_MS) };
  const weekly = changed({ before, after, days: 14 }, scheduled(ago(5), ['weekly']));
  assert.deepEqual(weekly.plan, kept);
  // Its monthly class goes, the weekly date stays.
  const both = changed({ before, after, days: 14 }, scheduled(ago(5), ['weekly', 'monthly']));
  assert.deepEqual(both.plan, kept);
  // Again and again, also by way of a stop.
  const stopped = { state: 'ProtectionStopped', policy: undefined } as const;
  const again = changed({ before: after, after: stopped, days: 14 }, weekly.point);
  assert.deepEqual(changed({ before: stopped, after, days: 14 }, again.point).plan, kept);
  // A weekly rule of the new policy governs them.
  const withRule = protectedBy(policyOf(DAILY, { days: 30, weeks: 2 }));
  const ruled = changed({ before, after: withRule, days: 14 }, scheduled(ago(5), ['weekly']));
  assert.deepEqual(ruled.plan, { fate: 'kept', keptBy: 'weekly', day: dayOf(ago(-9)) });
});

test('R23 a class that is added or changed touches no point of another class', () => {
  const before = protectedBy(policyOf(DAILY, { days: 30, months: 12 }));
  const after = protectedBy(policyOf(DAILY, { days: 30, months: 12, years: 10 }));
  const point = scheduled(at('2026-01-01'), ['daily', 'monthly']);
  assert.deepEqual(changed({ before, after, days: 14 }, point).plan, planOf(before, point));
});

test('R24 points that a change loses are soft-deleted for the days of the vault; raised retention has them back', () => {
  const long = protectedBy(policyOf(DAILY, { days: 30 }));
  const short = protectedBy(policyOf(DAILY, { days: 7 }));
  const lost = changed({ before: long, after: short, days: 14 }, scheduled(ago(10), ['daily']));
  const until = dayOf(NOW + 14 * DAY_MS);
  assert.deepEqual(lost.plan, { fate: 'softDeleted', keptBy: 'lostByPolicy', day: until });
  const [plan] = planRetention(short, [lost.point, NEWEST], NOW + 14 * DAY_MS);
  assert.deepEqual([plan!.fate, plan!.keptBy], ['removed', 'lostByPolicy']);
  const back = changed({ before: short, after: long, days: 14 }, lost.point);
  assert.deepEqual(back.plan, { fate: 'kept', keptBy: 'daily', day: dayOf(ago(-20)) });
  assert.equal(back.point.retention.lost, undefined);
  // Not raised enough: still soft-deleted, and not longer for it.
  const nine = protectedBy(policyOf(DAILY, { days: 9 }));
  assert.equal(changed({ before: short, after: nine, days: 90 }, lost.point).plan.day, until);
});

test('R24 what had expired before a change is not soft-deleted, and neither is anything without soft delete', () => {
  const before = protectedBy(policyOf(DAILY, { days: 30 }));
  const after = protectedBy(policyOf(DAILY, { days: 7 }));
  const gone = (days: number | undefined, point: RetainedPoint) =>
    changed({ before, after, ...(days === undefined ? {} : { days }) }, point).plan.fate;
  assert.equal(gone(14, scheduled(ago(31), ['daily'])), 'removed');
  assert.equal(gone(undefined, scheduled(ago(10), ['daily'])), 'removed');
});

test('R31 R54 while protection is stopped for ever and while soft-deleted nothing goes, and has no date', () => {
  const points = [
    scheduled(ago(900), ['daily']),
    onDemand(ago(800), ago(700)),
    scheduled(ago(5), ['daily'], { lost: { until: ago(1), by: 'policy' } }),
    NEWEST,
  ];
  for (const [state, keptBy] of [
    ['ProtectionStopped', 'stopped'],
    ['SoftDeleted', 'itemSoftDeleted'],
  ] as const) {
    for (const plan of planRetention({ state, policy: undefined }, points, NOW)) {
      assert.deepEqual([plan.fate, plan.keptBy, plan.expiresAt], ['kept', keptBy, undefined]);
    }
  }
});

test('R31 R54 in stop/retain by policy clean-up goes on, and the last point stays for ever', () => {
  const item: RetainedItem = { state: 'BackupsSuspended', policy: MONTHS };
  const points = [scheduled(ago(5000), ['daily']), scheduled(ago(4999), ['daily'])];
  const seen = planRetention(item, points, NOW).map(({ fate, keptBy }) => [fate, keptBy]);
  assert.deepEqual(seen, [
    ['removed', 'daily'],
    ['kept', 'latest'],
  ]);
});

test('R32 the newest point is kept although it has expired, until there is a newer one', () => {
  const item = protectedBy(MONTHS);
  for (const point of [
    scheduled(ago(100), ['daily']),
    onDemand(ago(100), ago(70)),
    scheduled(ago(100), ['daily'], { lost: { until: ago(2), by: 'policy' } }),
    scheduled(ago(100), ['daily'], { lost: { until: ago(2), by: 'hand' } }),
  ]) {
    const [plan] = planRetention(item, [point], NOW);
    assert.deepEqual([plan!.fate, plan!.keptBy], ['kept', 'latest']);
    assert.equal(planOf(item, point).fate, 'removed');
  }
});

test('R32 a point that was taken while the clock was ahead is not the newest before its time: the last honest one is kept', () => {
  const item = protectedBy(MONTHS);
  const ahead = scheduled(NOW + 365 * DAY_MS, ['daily']);
  const last = scheduled(ago(100), ['daily']);
  const plans = planRetention(item, [last, ahead], NOW);
  assert.deepEqual(
    plans.map(({ fate, keptBy }) => [fate, keptBy]),
    [
      ['kept', 'latest'],
      ['kept', 'daily'],
    ],
  );
  const [later] = planRetention(item, [last, ahead], NOW + 366 * DAY_MS);
  assert.equal(later!.fate, 'removed');
});

test('R54 R59 resumed, points whose time passed while stopped expire at once; those that a shorter policy loses are soft-deleted', () => {
  const stopped: RetainedItem = { state: 'ProtectionStopped', policy: undefined };
  const before = protectedBy(policyOf(DAILY, { days: 30 }));
  const after = protectedBy(policyOf(DAILY, { days: 7 }));
  const resumed = (takenAt: number) => {
    const stop = { before, after: stopped, now: ago(20), softDeleteDays: 14 };
    const [point] = changedPoints([scheduled(takenAt, ['daily']), NEWEST], stop);
    return changed({ before: stopped, after, days: 14 }, point!).plan.fate;
  };
  assert.equal(resumed(ago(35)), 'removed');
  assert.equal(resumed(ago(25)), 'softDeleted');
  assert.equal(resumed(ago(6)), 'kept');
});

test('a pinned point has no end, an extended one not before its date, one deleted by hand is soft-deleted', () => {
  const item = protectedBy(MONTHS);
  const old = (more: Partial<PointRetention>) => planOf(item, scheduled(ago(100), ['daily'], more));
  assert.deepEqual(old({ isPinned: true }), { fate: 'kept', keptBy: 'pinned' });
  const extended = { fate: 'kept', keptBy: 'extended', day: dayOf(NOW + DAY_MS) };
  assert.deepEqual(old({ extendedTo: NOW + DAY_MS }), extended);
  const deleted = scheduled(ago(1), ['daily'], { lost: { until: NOW + DAY_MS, by: 'hand' } });
  assert.equal(planOf(item, deleted).fate, 'softDeleted');
  // No policy has it back; stopped for ever, it goes all the same (R54: kept until deleted by hand).
  const more = protectedBy(policyOf(DAILY, { days: 999 }));
  assert.equal(changed({ before: item, after: more, days: 14 }, deleted).plan.fate, 'softDeleted');
  const stopped: RetainedItem = { state: 'ProtectionStopped', policy: undefined };
  assert.equal(planOf(stopped, deleted, NOW + 2 * DAY_MS).fate, 'removed');
});
