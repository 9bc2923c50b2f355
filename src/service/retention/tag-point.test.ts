import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  MONTHS,
  WEEKDAYS,
  WEEKS_OF_MONTH,
  type BackupPolicy,
  type RetentionDays,
} from '../policy/backup-policy.ts';
import { runsBetween, type ScheduledRun } from '../schedule/runs.ts';
import type { TagClass } from './point-retention.ts';
import { tagsFor } from './tag-point.ts';
import { DAILY, HOURLY, policyOf, weeklyOn } from './test-policies.ts';

const DAY_MS = 86_400_000;

type Tagged = { readonly run: ScheduledRun; readonly tags: readonly TagClass[] };

/** Every run of some days, and the tags of those that succeed. */
function history(
  policy: BackupPolicy,
  of: {
    readonly from: string;
    readonly days: number;
    readonly fails?: (run: ScheduledRun, index: number) => boolean;
    readonly sinceMs?: number;
  },
): readonly Tagged[] {
  const { from, days, fails = () => false } = of;
  const afterMs = Date.parse(from) - 1;
  const runs = runsBetween(policy, { afterMs, untilMs: afterMs + days * DAY_MS });
  const points: Tagged[] = [];
  for (const run of runs.filter((one, index) => !fails(one, index))) {
    const earlierRuns = points.map((point) => point.run.atMs);
    const tags = tagsFor(policy, { run, earlierRuns, sinceMs: of.sinceMs ?? afterMs });
    points.push({ run, tags: tags.map((tag) => tag.class) });
  }
  return points;
}

/** The dates whose points carry the tag. */
function datesOf(points: readonly Tagged[], tagClass: TagClass): readonly string[] {
  return points.filter(({ tags }) => tags.includes(tagClass)).map(({ run }) => run.policyDate);
}

const on =
  (...dates: readonly string[]) =>
  ({ policyDate }: ScheduledRun): boolean =>
    dates.includes(policyDate);

test('R17 the point of the weekday or date carries the tag, of every class that has it', () => {
  const policy = policyOf(DAILY, { days: 30, weeks: 12, months: 60, years: 10 });
  const points = history(policy, { from: '2023-01-01', days: 32 });
  assert.equal(datesOf(points, 'daily').length, 32);
  const sundays = ['2023-01-01', '2023-01-08', '2023-01-15', '2023-01-22', '2023-01-29'];
  assert.deepEqual(datesOf(points, 'weekly'), sundays);
  assert.deepEqual(datesOf(points, 'monthly'), ['2023-01-01', '2023-02-01']);
  assert.deepEqual(datesOf(points, 'yearly'), ['2023-01-01']);
  assert.deepEqual(points[0]!.tags, ['daily', 'weekly', 'monthly', 'yearly']);
});

test('R16 R17 the last day of every month is tagged, in leap years the 29th of February', () => {
  const monthly = { format: 'daily', dates: ['last'] } as const;
  const policy = policyOf(DAILY, { days: 7, months: 12, monthly });
  assert.deepEqual(datesOf(history(policy, { from: '2024-01-01', days: 125 }), 'monthly'), [
    '2024-01-31',
    '2024-02-29',
    '2024-03-31',
    '2024-04-30',
  ]);
  const dates = datesOf(history(policy, { from: '2025-02-01', days: 40 }), 'monthly');
  assert.deepEqual(dates, ['2025-02-28']);
});

test('R16 R17 the last Friday and the first and third Monday of a month are tagged', () => {
  const days = (weeks: readonly string[], weekday: string) =>
    ({ format: 'weekly', weeks, weekdays: [weekday] }) as RetentionDays;
  const tagged = (monthly: RetentionDays) =>
    datesOf(
      history(policyOf(DAILY, { days: 7, months: 12, monthly }), { from: '2026-01-01', days: 59 }),
      'monthly',
    );
  assert.deepEqual(tagged(days(['last'], 'friday')), ['2026-01-30', '2026-02-27']);
  const mondays = ['2026-01-05', '2026-01-19', '2026-02-02', '2026-02-16'];
  assert.deepEqual(tagged(days(['first', 'third'], 'monday')), mondays);
});

test('R18 where the backup of the tagged day failed, the next successful one of its period carries the tag', () => {
  const policy = policyOf(DAILY, { days: 30, weeks: 12, months: 60 });
  const fails = on('2026-01-04', '2026-01-05', '2026-02-01');
  const points = history(policy, { from: '2026-01-02', days: 40, fails });
  assert.deepEqual(datesOf(points, 'weekly').slice(0, 2), ['2026-01-06', '2026-01-11']);
  // One failed day was Sunday and the first of the month.
  const second = points.find(({ run }) => run.policyDate === '2026-02-02')!;
  assert.deepEqual(second.tags, ['daily', 'weekly', 'monthly']);
});

test('R18 a period that failed to its end has no tag, and none of the next stands for it', () => {
  const monthly = { format: 'daily', dates: ['last'] } as const;
  const policy = policyOf(DAILY, { days: 30, weeks: 12, months: 60, monthly });
  const week = (run: ScheduledRun): boolean =>
    run.policyDate >= '2026-01-04' && run.policyDate <= '2026-01-10';
  const fails = (run: ScheduledRun): boolean => week(run) || run.policyDate === '2026-01-31';
  const points = history(policy, { from: '2026-01-02', days: 60, fails });
  assert.deepEqual(datesOf(points, 'weekly')[0], '2026-01-11');
  assert.deepEqual(datesOf(points, 'monthly'), ['2026-02-28']);
});

test('R18 a day before the VM was protected has not failed', () => {
  const policy = policyOf(DAILY, { days: 30, weeks: 12, months: 60, years: 10 });
  const sinceMs = Date.parse('2026-01-07T12:00:00Z');
  const points = history(policy, { from: '2026-01-07T12:00:00Z', days: 5, sinceMs });
  assert.deepEqual(datesOf(points, 'weekly'), ['2026-01-11']);
  assert.deepEqual(datesOf(points, 'yearly'), []);
});

test('R10 R19 of an hourly day only the last point is tagged; the others stay for the instant-restore days', () => {
  const policy = policyOf(HOURLY, { days: 30, weeks: 12 }, 'Tokyo Standard Time');
  // A Saturday's window: 16 20, then 0 4 8 12 of Sunday.
  const points = history(policy, { from: '2026-01-03T07:00:00Z', days: 2 });
  const seen = points.slice(0, 12).map(({ tags }) => tags.join());
  const instant = Array.from({ length: 5 }, () => 'instant');
  assert.deepEqual(seen, [...instant, 'daily', ...instant, 'daily,weekly']);
});

test('R10 R18 where the last of an hourly day failed, the first of the next carries its tags', () => {
  const policy = policyOf(HOURLY, { days: 30, weeks: 12 });
  // The last run of Sunday the 4th is at 12:00 on Monday.
  const last = Date.parse('2026-01-05T12:00:00Z');
  const points = history(policy, {
    from: '2026-01-04T16:00:00Z',
    days: 2,
    fails: ({ atMs }) => atMs === last,
  });
  const seen = points.slice(4, 12).map(({ tags }) => tags.join());
  assert.deepEqual(seen.slice(0, 3), ['instant', 'instant,daily,weekly', 'instant']);
  assert.deepEqual(seen.slice(5, 7), ['instant', 'daily']);
});

const ZONES = [
  'W. Europe Standard Time',
  'AUS Eastern Standard Time',
  'Lord Howe Standard Time',
  'Pacific Standard Time',
];

for (const zone of ZONES) {
  test(`R17 every date of a year is tagged once across both changes of the clock: ${zone}`, () => {
    for (const time of ['02:00', '02:30', '00:00']) {
      const schedule = { frequency: 'daily', runTimes: [time] } as const;
      const policy = policyOf(schedule, { days: 30, weeks: 12, months: 12 }, zone);
      const points = history(policy, { from: '2026-01-01T12:00:00Z', days: 365 });
      assert.equal(new Set(datesOf(points, 'daily')).size, 365);
      assert.equal(datesOf(points, 'weekly').length, 52);
      assert.equal(datesOf(points, 'monthly').length, 12);
    }
  });
}

/**
 * The model goes forward, run by run: a tag that has fallen due waits for the first success, and lapses with its
 * period. Its days are found by listing the month.
 */
function modelTags(
  policy: BackupPolicy,
  runs: readonly ScheduledRun[],
  succeeds: readonly boolean[],
): readonly (readonly TagClass[] | undefined)[] {
  const waiting = new Map<TagClass, string>();
  const isHourly = policy.schedule.frequency === 'hourly';
  return runs.map((run, index) => {
    for (const [tagClass, date] of waiting) {
      if (!isSamePeriod(tagClass, date, run.policyDate)) waiting.delete(tagClass);
    }
    if (run.isLastOfPolicyDay) {
      for (const tagClass of classesOf(policy, run.policyDate))
        waiting.set(tagClass, run.policyDate);
    }
    if (!succeeds[index]!) return undefined;
    const tags = [...waiting.keys()];
    waiting.clear();
    return [...(isHourly && !run.isLastOfPolicyDay ? (['instant'] as const) : []), ...tags];
  });
}

function classesOf({ retention }: BackupPolicy, date: string): readonly TagClass[] {
  const { daily, weekly, monthly, yearly } = retention;
  const month = MONTHS[Number(date.slice(5, 7)) - 1]!;
  const weekday = WEEKDAYS[new Date(date).getDay()]!;
  return [
    ...(daily ? (['daily'] as const) : []),
    ...(weekly?.weekdays.includes(weekday) ? (['weekly'] as const) : []),
    ...(monthly && listed(monthly.days, date).includes(date) ? (['monthly'] as const) : []),
    ...(yearly?.months.includes(month) && listed(yearly.days, date).includes(date)
      ? (['yearly'] as const)
      : []),
  ];
}

/** The dates of the month of `date` that the rule names. */
function listed(days: RetentionDays, date: string): readonly string[] {
  const all = Array.from(
    { length: 31 },
    (_, at) => `${date.slice(0, 8)}${String(at + 1).padStart(2, '0')}`,
  );
  const month = all.filter(
    (one) => !Number.isNaN(Date.parse(one)) && new Date(one).toISOString().startsWith(one),
  );
  if (days.format === 'daily') {
    return days.dates.map((wanted) => (wanted === 'last' ? month.at(-1)! : month[wanted - 1]!));
  }
  return days.weekdays.flatMap((weekday) => {
    const these = month.filter((one) => WEEKDAYS[new Date(one).getDay()] === weekday);
    return days.weeks.map((week) =>
      week === 'last' ? these.at(-1)! : these[WEEKS_OF_MONTH.indexOf(week)]!,
    );
  });
}

function isSamePeriod(tagClass: TagClass, date: string, later: string): boolean {
  const days = (Date.parse(later) - Date.parse(date)) / DAY_MS;
  if (tagClass === 'daily') return days <= 1;
  if (tagClass === 'weekly') return days < 7 - new Date(date).getDay();
  return tagClass === 'monthly'
    ? date.slice(0, 7) === later.slice(0, 7)
    : date.slice(0, 4) === later.slice(0, 4);
}

const arbitraryDays: fc.Arbitrary<RetentionDays> = fc.oneof(
  fc.record({
    format: fc.constant('daily' as const),
    dates: fc.uniqueArray(fc.oneof(fc.integer({ min: 1, max: 28 }), fc.constant('last' as const)), {
      minLength: 1,
      maxLength: 4,
    }),
  }),
  fc.record({
    format: fc.constant('weekly' as const),
    weeks: fc.uniqueArray(fc.constantFrom(...WEEKS_OF_MONTH), { minLength: 1 }),
    weekdays: fc.uniqueArray(fc.constantFrom(...WEEKDAYS), { minLength: 1, maxLength: 3 }),
  }),
);

const arbitraryPolicy = fc
  .record({
    schedule: fc.oneof(
      fc.constant(DAILY),
      fc.constant(HOURLY),
      fc
        .uniqueArray(fc.constantFrom(...WEEKDAYS), { minLength: 1, maxLength: 3 })
        .map((days) => weeklyOn(...days)),
    ),
    weekdays: fc.uniqueArray(fc.constantFrom(...WEEKDAYS), { minLength: 1, maxLength: 3 }),
    monthly: arbitraryDays,
    yearly: fc.record({
      days: arbitraryDays,
      months: fc.uniqueArray(fc.constantFrom(...MONTHS), { minLength: 1, maxLength: 3 }),
    }),
    zone: fc.constantFrom('UTC', ...ZONES),
  })
  .map(({ schedule, weekdays, monthly, yearly, zone }) => {
    // R15: with a weekly schedule its own days, and only the weekly format.
    const own = schedule.frequency === 'weekly' ? schedule.weekdays : weekdays;
    const fitting = (days: RetentionDays): RetentionDays =>
      schedule.frequency !== 'weekly'
        ? days
        : { format: 'weekly', weeks: ['first', 'last'], weekdays: [own[0]!] };
    const rules = { weeks: 12, weekdays: own, months: 12, monthly: fitting(monthly), years: 5 };
    const kept = schedule.frequency === 'weekly' ? {} : { days: 30 };
    const years = { ...yearly, days: fitting(yearly.days) };
    return policyOf(schedule, { ...rules, ...kept, yearly: years }, zone);
  });

test('R17 R18 R10 tags are those of a model that goes forward through runs that fail at random', (t) => {
  const seed = Date.now();
  t.diagnostic(`seed ${seed}`);
  fc.assert(
    fc.property(
      arbitraryPolicy,
      fc.integer({ min: 0, max: 4 * 365 }),
      fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }),
      (policy, day, succeeds) => {
        const afterMs = Date.UTC(2023, 0, 1) + day * DAY_MS;
        const runs = runsBetween(policy, { afterMs, untilMs: afterMs + 400 * DAY_MS }).slice(0, 60);
        const model = modelTags(policy, runs, succeeds);
        const earlierRuns: number[] = [];
        for (const [index, run] of runs.entries()) {
          if (!succeeds[index]!) continue;
          // What came before the first run is no failure.
          const tags = tagsFor(policy, { run, earlierRuns, sinceMs: afterMs + 1 });
          assert.deepEqual(
            tags.map((tag) => tag.class),
            ['instant', 'daily', 'weekly', 'monthly', 'yearly'].filter((one) =>
              model[index]!.includes(one as TagClass),
            ),
            JSON.stringify({ policy, run }),
          );
          earlierRuns.push(run.atMs);
        }
      },
    ),
    { numRuns: 300, seed },
  );
});
