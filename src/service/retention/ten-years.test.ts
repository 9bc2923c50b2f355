/**
 * Ten years of a policy, day by day: what is left of 3 653 backups, some of which failed, and which rule keeps each.
 * docs/retention.md shows it. To write it anew: HOLDFAST_WRITE_RETENTION=1 and this test.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { runsBetween } from '../schedule/runs.ts';
import { seeded } from '../testing/seeded.ts';
import { planRetention, type PlannedPoint, type RetainedPoint } from './plan.ts';
import { tagsFor } from './tag-point.ts';
import { DAILY, policyOf } from './test-policies.ts';

const DOCUMENT = 'docs/retention.md';
const POLICY = policyOf(
  DAILY,
  { days: 30, weeks: 12, months: 60, years: 10 },
  'W. Europe Standard Time',
);
const FROM = Date.parse('2026-01-01T00:00:00Z');
/** Backups, by chance. */
const FAILURE_EVERY = 12;
const UNTIL = Date.parse('2036-01-01T12:00:00Z');
type Day = { readonly date: string; readonly plan: PlannedPoint };

function tenYears(): readonly Day[] {
  const dates = new Map<string, string>();
  const earlierRuns: number[] = [];
  let points: readonly RetainedPoint[] = [];
  const item = { state: 'Protected', policy: POLICY } as const;
  const random = seeded(11);
  const runs = runsBetween(POLICY, { afterMs: FROM, untilMs: UNTIL });
  for (const [index, run] of runs.entries()) {
    if (random(FAILURE_EVERY) < 1) continue;
    const tags = tagsFor(POLICY, { run, earlierRuns: earlierRuns.slice(-400), sinceMs: FROM });
    const [id, takenAt] = [String(index), run.atMs];
    const retention = { runAt: run.atMs, tags };
    points = [...points, { id, takenAt, origin: 'scheduled', askedUntil: undefined, retention }];
    dates.set(id, run.policyDate);
    earlierRuns.push(run.atMs);
    // Clean-up comes within a day (R31); later it finds the same.
    if (index % 10 === 0) points = kept(points, run.atMs);
  }
  const plans = planRetention(item, points, UNTIL).filter(({ fate }) => fate === 'kept');
  return plans.map((plan) => ({ date: dates.get(plan.id)!, plan }));

  function kept(all: readonly RetainedPoint[], now: number): readonly RetainedPoint[] {
    const plan = planRetention(item, all, now);
    return all.filter((_, at) => plan[at]!.fate === 'kept');
  }
}

/** A line a month, a column a day, of months that have a point. */
function figure(days: readonly Day[]): string {
  const byMonth = Map.groupBy(days, ({ date }) => date.slice(0, 7));
  const header = `         ${Array.from({ length: 31 }, (_, at) => String((at + 1) % 10)).join('')}`;
  const lines = Array.from(byMonth, ([month, these]) => {
    const columns = Array.from({ length: 31 }, (_, at) => {
      const date = `${month}-${String(at + 1).padStart(2, '0')}`;
      const day = these.find((one) => one.date === date);
      if (day !== undefined) return day.plan.keptBy.charAt(0).toUpperCase();
      return Number.isNaN(Date.parse(date)) || new Date(date).getUTCDate() !== at + 1 ? ' ' : '·';
    });
    return `${month}  ${columns.join('')}`.trimEnd();
  });
  return [header, ...lines].join('\n');
}

test('R17 R18 R32 ten years of daily, weekly, monthly and yearly retention leave what docs/retention.md draws', () => {
  const days = tenYears();
  const by = Map.groupBy(days, ({ plan }) => plan.keptBy);
  const count = (tag: PlannedPoint['keptBy']): number => by.get(tag)?.length ?? 0;
  // A point that two rules keep is counted with the longer one.
  assert.deepEqual([count('yearly'), count('monthly')], [10, 55]);
  assert.ok(count('weekly') >= 8 && count('weekly') <= 12);
  assert.ok(count('daily') >= 20 && count('daily') <= 30);
  const block = `\`\`\`text\n${figure(days)}\n\`\`\``;
  const document = readFileSync(DOCUMENT, 'utf8');
  const found = /```text\n[\s\S]*?\n```/;
  if (process.env['HOLDFAST_WRITE_RETENTION'] === '1') {
    writeFileSync(DOCUMENT, document.replace(found, block));
  }
  assert.ok(readFileSync(DOCUMENT, 'utf8').includes(block));
});
