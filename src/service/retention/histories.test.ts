/**
 * Random histories against a model that is eager where the engine is lazy: it writes every point's date, class by
 * class, anew with every change and every day, and remembers nothing else.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ItemState } from '../items/item-states.ts';
import type { BackupPolicy } from '../policy/backup-policy.ts';
import { seeded } from '../testing/seeded.ts';
import { changedPoints, type RetentionChange } from './change.ts';
import { planRetention, type RetainedPoint } from './plan.ts';
import type { PointRetention, TagClass } from './point-retention.ts';
import { DAILY, HOURLY, policyOf, weeklyOn } from './test-policies.ts';

const DAY = 86_400_000;
const STEP_COUNT = process.env['HOLDFAST_TEST_LONG'] === '1' ? 100_000 : 4000;

type Model = {
  readonly id: string;
  readonly takenAt: number;
  /** Class → until when; none: it keeps nothing (any more). */
  readonly dates: Map<TagClass, number | undefined>;
  readonly asked: number | undefined;
  extended: number | undefined;
  isPinned: boolean;
  lost: { readonly until: number; readonly by: 'policy' | 'hand' } | undefined;
};

class World {
  now = Date.UTC(2024, 0, 1);
  state: ItemState = 'Protected';
  policy: BackupPolicy | undefined;
  softDeleteDays: number | undefined = 14;
  points: readonly RetainedPoint[] = [];
  model: Model[] = [];
  #count = 0;

  constructor(policy: BackupPolicy) {
    this.policy = policy;
  }

  add(tags: readonly TagClass[], asked?: number): void {
    const [id, takenAt] = [String((this.#count += 1)).padStart(15, '0'), this.now];
    const retention = { tags: tags.map((tag) => ({ class: tag })) };
    const origin = asked === undefined ? 'scheduled' : 'on-demand';
    this.points = [...this.points, { id, takenAt, origin, askedUntil: asked, retention }];
    const dates = new Map(tags.map((tag) => [tag, promised(this.policy!, tag, takenAt)]));
    const rest = { extended: undefined, isPinned: false, lost: undefined };
    this.model.push({ id, takenAt, dates, asked, ...rest });
  }

  /** Another policy, another state. */
  become(state: ItemState, policy: BackupPolicy | undefined): void {
    const change: RetentionChange = {
      before: { state: this.state, policy: this.policy },
      after: { state, policy },
      now: this.now,
      softDeleteDays: this.softDeleteDays,
    };
    this.points = changedPoints(this.points, change);
    for (const point of this.model) this.#rewrite(point, state, policy);
    [this.state, this.policy] = [state, policy];
  }

  #rewrite(point: Model, state: ItemState, policy: BackupPolicy | undefined): void {
    const before = this.#date(point);
    if (policy !== undefined) promiseAnew(point, policy);
    const { now, softDeleteDays } = this;
    if (isResting(state) || point.lost?.by === 'hand') return;
    if (point.isPinned || isAfter(this.#date(point), now)) point.lost = undefined;
    else if (point.lost === undefined && isAfter(before, now) && softDeleteDays !== undefined) {
      point.lost = { until: now + softDeleteDays * DAY, by: 'policy' };
    }
  }

  #date(point: Model): number | undefined {
    const all = [...point.dates.values(), point.asked, point.extended];
    const dates = all.filter((date) => date !== undefined);
    return dates.length === 0 ? undefined : Math.max(...dates);
  }

  set(at: number, retention: Partial<PointRetention>): void {
    const { id } = this.model[at]!;
    this.points = this.points.map((point) =>
      point.id === id ? { ...point, retention: { ...point.retention, ...retention } } : point,
    );
  }

  /** What is to become of each point, by the model. */
  expected(): readonly { readonly id: string; readonly fate: string; readonly at: unknown }[] {
    return this.model.map((point) => ({ id: point.id, ...this.#fateOf(point) }));
  }

  #fateOf(point: Model): { readonly fate: string; readonly at: unknown } {
    const { lost } = point;
    const isNewest = point === this.model.at(-1);
    if (this.#isAlwaysKept(point, isNewest)) return { fate: 'kept', at: undefined };
    const date = this.#date(point);
    if (isNewest) return { fate: 'kept', at: date };
    const isOver = !isAfter(date, this.now);
    if (lost === undefined || (lost.by === 'policy' && !isOver)) {
      return { fate: isOver ? 'removed' : 'kept', at: date };
    }
    return { fate: lost.until <= this.now ? 'removed' : 'softDeleted', at: lost.until };
  }

  #isAlwaysKept({ lost, isPinned }: Model, isNewest: boolean): boolean {
    const isGone = this.state === 'ProtectionStopped' && lost?.by === 'hand' && !isNewest;
    return isPinned || (isResting(this.state) && !isGone);
  }

  check(told: string): void {
    const { state, policy, now } = this;
    const plan = planRetention({ state, policy }, this.points, now);
    const seen = plan.map(({ id, fate, expiresAt: at }) => ({ id, fate, at }));
    assert.deepEqual(seen, this.expected(), told);
  }

  cleanUp(): void {
    const gone = new Set(this.expected().flatMap(({ id, fate }) => (fate === 'removed' ? id : [])));
    this.points = this.points.filter(({ id }) => !gone.has(id));
    this.model = this.model.filter(({ id }) => !gone.has(id));
  }
}

function promiseAnew(point: Model, policy: BackupPolicy): void {
  const isOfWeekly = !point.dates.has('daily') && !point.dates.has('instant');
  for (const tag of point.dates.keys()) {
    const date = promised(policy, tag, point.takenAt);
    const isKept = tag === 'weekly' && isOfWeekly && policy.schedule.frequency !== 'weekly';
    if (date !== undefined || !isKept) point.dates.set(tag, date);
  }
}

function isResting(state: ItemState): boolean {
  return state === 'ProtectionStopped' || state === 'SoftDeleted';
}

function isAfter(date: number | undefined, now: number): boolean {
  return date !== undefined && date > now;
}

/** By the calendar of UTC, which all these policies have. */
function promised(policy: BackupPolicy, tag: TagClass, takenAt: number): number | undefined {
  if (tag === 'instant') return takenAt + policy.instantRestoreDays * DAY;
  const count = policy.retention[tag]?.duration.count;
  if (count === undefined) return undefined;
  if (tag === 'daily') return takenAt + count * DAY;
  if (tag === 'weekly') return takenAt + count * 7 * DAY;
  const months = tag === 'monthly' ? count : 12 * count;
  const date = new Date(takenAt);
  const day = date.getUTCDate();
  date.setUTCDate(1);
  date.setUTCMonth(date.getUTCMonth() + months);
  const last = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  return date.setUTCDate(Math.min(day, last));
}

type Draw = (limit: number) => number;

function anyPolicy(draw: Draw): BackupPolicy {
  const schedule = [DAILY, HOURLY, weeklyOn('sunday')][draw(3)]!;
  const isWeekly = schedule.frequency === 'weekly';
  return policyOf(schedule, {
    ...(isWeekly ? {} : { days: 7 + draw(60) }),
    ...(isWeekly || draw(2) === 0 ? { weeks: 1 + draw(20) } : {}),
    ...(draw(2) === 0 ? { months: 1 + draw(24) } : {}),
    ...(draw(3) === 0 ? { years: 1 + draw(5) } : {}),
  });
}

function anyTags({ schedule, retention }: BackupPolicy, draw: Draw): readonly TagClass[] {
  if (schedule.frequency === 'hourly' && draw(3) > 0) return ['instant'];
  const own = schedule.frequency === 'weekly' ? 'weekly' : 'daily';
  const higher = (['weekly', 'monthly', 'yearly'] as const).filter(
    (tag) => tag !== own && retention[tag] !== undefined && draw(4) === 0,
  );
  return [own, ...higher];
}

type Step = (world: World, draw: Draw) => void;

const backUp: Step = (world, draw) => {
  if (world.state === 'Protected') world.add(anyTags(world.policy!, draw));
};

const backUpOnDemand: Step = (world, draw) => {
  if (world.state === 'Protected') world.add([], world.now + (1 + draw(50)) * DAY);
};

const changePolicy: Step = (world, draw) => {
  if (world.policy !== undefined) world.become(world.state, anyPolicy(draw));
};

const stopOrResume: Step = (world, draw) => {
  if (world.state !== 'Protected') return world.become('Protected', anyPolicy(draw));
  const how = draw(3);
  if (how === 0) return world.become('ProtectionStopped', undefined);
  if (how === 1) return world.become('BackupsSuspended', world.policy);
  // Deleted, and undeleted some days later.
  world.become('SoftDeleted', undefined);
  world.now += draw(20) * DAY;
  world.check('soft-deleted');
  world.become('ProtectionStopped', undefined);
};

const pinOrUnpin: Step = (world, draw) => {
  const at = draw(world.model.length);
  const point = world.model[at];
  if (point === undefined || point.lost !== undefined) return;
  point.isPinned = !point.isPinned;
  world.set(at, { isPinned: point.isPinned });
};

const extend: Step = (world, draw) => {
  const at = draw(world.model.length);
  const point = world.model[at];
  if (point === undefined || point.lost !== undefined) return;
  point.extended = world.now + draw(100) * DAY;
  world.set(at, { extendedTo: point.extended });
};

const deletePoint: Step = (world, draw) => {
  const at = draw(world.model.length - 1);
  const point = world.model[at];
  if (point === undefined || point.isPinned || point.lost !== undefined) return;
  point.lost = { until: world.now + (world.softDeleteDays ?? 0) * DAY, by: 'hand' };
  world.set(at, { lost: point.lost });
};

const setSoftDelete: Step = (world, draw) => {
  world.softDeleteDays = [undefined, 14, 30][draw(3)];
};

const cleanUp: Step = (world) => world.cleanUp();

const OTHERS = [backUpOnDemand, changePolicy, stopOrResume, pinOrUnpin, extend, deletePoint];
const STEPS: readonly Step[] = [
  ...Array.from({ length: 5 }, () => backUp),
  ...OTHERS,
  setSoftDelete,
  cleanUp,
];

test('R20 R22 R23 R24 R31 R32 R54 R59 every point fares as in a model that writes all dates anew with every change', (t) => {
  const seed = Number(process.env['HOLDFAST_TEST_SEED'] ?? Date.now() % 1_000_000);
  t.diagnostic(`seed ${seed}; again: HOLDFAST_TEST_SEED=${seed}`);
  const random = seeded(seed);
  const draw = (limit: number): number => Math.floor(random(limit));
  const world = new World(anyPolicy(draw));
  for (let step = 0; step < STEP_COUNT; step += 1) {
    STEPS[draw(STEPS.length)]!(world, draw);
    // Now and then to the very instant.
    world.now += draw(5) === 0 ? 0 : draw(2 * DAY);
    world.check(`seed ${seed}, step ${step}`);
  }
});
