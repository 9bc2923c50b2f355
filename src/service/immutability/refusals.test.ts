import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ItemState } from '../items/item-states.ts';
import type { BackupPolicy } from '../policy/backup-policy.ts';
import { changedPoints } from '../retention/change.ts';
import { planRetention, type RetainedPoint } from '../retention/plan.ts';
import type { PointRetention, TagClass } from '../retention/point-retention.ts';
import { DAILY, HOURLY, policyOf, weeklyOn } from '../retention/test-policies.ts';
import { seeded } from '../testing/seeded.ts';
import { refusalOfEdit, refusalOfItemChange, type ItemBeforeAndAfter } from './refusals.ts';

const DAY = 86_400_000;
const NOW = Date.parse('2026-06-01T12:00:00Z');
const VAULT = { name: 'v', isLocked: false };
const ITEM = { vmGroup: 'lab', vmName: 'web' };
const FULL = { days: 30, weeks: 12, months: 12, years: 10 };
const STEP_COUNT = process.env['HOLDFAST_TEST_LONG'] === '1' ? 100_000 : 2500;

/** Taken that many days ago. */
function point(
  days: number,
  tags: readonly TagClass[],
  more: Partial<PointRetention> = {},
): RetainedPoint {
  const takenAt = NOW - days * DAY;
  const retention = { tags: tags.map((tag) => ({ class: tag })), ...more };
  return { id: `p${days}`, takenAt, origin: 'scheduled', askedUntil: undefined, retention };
}

/** An edit of the policy of one VM. */
function edited(
  before: BackupPolicy,
  after: BackupPolicy,
  of: { readonly points?: readonly RetainedPoint[]; readonly state?: ItemState } = {},
) {
  const { points = [], state = 'Protected' } = of;
  const change = {
    before: { state, policy: before },
    after: { state, policy: after },
    now: NOW,
    softDeleteDays: 14,
  };
  const items = [{ item: ITEM, change, before: points, after: changedPoints(points, change) }];
  const refusal = refusalOfEdit(VAULT, { policy: 'P', before, after, items });
  return refusal && `${refusal.code}: ${refusal.message}`;
}

test('R25 an edit is refused for a class that is kept shorter or not at all, with or without VMs', () => {
  const full = policyOf(DAILY, FULL);
  for (const [name, unit] of [
    ['daily', 'days'],
    ['weekly', 'weeks'],
    ['monthly', 'months'],
    ['yearly', 'years'],
  ] as const) {
    const count = FULL[unit];
    const less = edited(full, policyOf(DAILY, { ...FULL, [unit]: count - 1 }));
    const units = `${count - 1} ${unit} instead of ${count} ${unit}`;
    assert.match(less!, new RegExp(`^UserErrorRetentionReduction.*keep ${name} points ${units}`));
    assert.equal(edited(full, policyOf(DAILY, { ...FULL, [unit]: count + 1 })), undefined);
    if (name === 'daily') continue;
    const none = edited(full, policyOf(DAILY, { ...FULL, [unit]: 0 }));
    assert.match(none!, new RegExp(`keep no ${name} points, which are kept ${count} ${unit}`));
    assert.equal(edited(policyOf(DAILY, { ...FULL, [unit]: 0 }), full), undefined);
  }
  // One longer makes up for no other that is shorter.
  assert.match(edited(full, policyOf(DAILY, { ...FULL, days: 9, years: 99 }))!, /daily points 9/);
});

test('R25 a schedule may be edited, its days and times too, but not into one without daily points', () => {
  const month = policyOf(DAILY, { days: 30 });
  const later = { ...month, schedule: { frequency: 'daily', runTimes: ['05:30'] } } as const;
  assert.equal(edited(month, later, { points: [point(3, ['daily'])] }), undefined);
  const sundays = policyOf(weeklyOn('sunday', 'monday'), { weeks: 4 });
  const mondays = policyOf(weeklyOn('monday'), { weeks: 4 });
  assert.equal(edited(sundays, mondays, { points: [point(3, ['weekly'])] }), undefined);
  assert.match(edited(month, policyOf(weeklyOn('sunday'), { weeks: 99 }))!, /no daily points/);
  // From weekly to daily, with its weekly points kept on.
  assert.equal(edited(sundays, policyOf(DAILY, { days: 7, weeks: 4 })), undefined);
  assert.match(edited(sundays, policyOf(DAILY, { days: 9999 }))!, /no weekly points/);
});

test('R25 points between those of the hourly days are kept as long as they are, and days that date nothing are free', () => {
  const [hours, daily] = [policyOf(HOURLY, { days: 30 }), policyOf(DAILY, { days: 30 })];
  const fewer = (policy: BackupPolicy) => ({ ...policy, instantRestoreDays: 1 });
  assert.match(edited(hours, fewer(hours))!, /instant points 1 day instead of 2 days/);
  assert.equal(edited(daily, fewer(daily)), undefined);
  assert.equal(edited(hours, fewer(daily)), undefined, 'there are no such points any more');
  const points = [point(0.5, ['instant']), point(0.1, ['daily'])];
  assert.match(edited(hours, fewer(daily), { points })!, /p0\.5 of 'lab\/web' would be kept until/);
});

test('R25 a time zone in which a point would go earlier is refused', () => {
  const zoned = (zone: string): BackupPolicy => policyOf(DAILY, { days: 300 }, zone);
  const [utc, berlin] = [zoned('UTC'), zoned('W. Europe Standard Time')];
  // Taken in summer, it goes in winter: an hour later by the wall of Berlin.
  const points = [point(3, ['daily'])];
  assert.equal(edited(utc, berlin, { points }), undefined);
  const earlier =
    /p3 of 'lab\/web' would be kept until 2027-03-25T12:00:00.000Z instead of until 2027-03-25T13:00/;
  assert.match(edited(berlin, utc, { points })!, earlier);
});

test('R25 longer retention is refused where backups are suspended, and a schedule is not', () => {
  const [month, year] = [policyOf(DAILY, { days: 30 }), policyOf(DAILY, { days: 365 })];
  const points = [point(3, ['daily'])];
  const suspended = { points, state: 'BackupsSuspended' } as const;
  const refused = edited(month, year, suspended);
  assert.match(
    refused!,
    /^UserErrorRetentionChangeOfSuspendedItem: The backups of 'lab\/web' are suspended/,
  );
  const later = { ...month, schedule: { frequency: 'daily', runTimes: ['05:30'] } } as const;
  assert.equal(edited(month, later, suspended), undefined);
  assert.equal(edited(month, year, { points }), undefined);
});

/** A VM of an immutable vault; every change is asked about, and made unless it is refused. */
class World {
  now = NOW;
  state: ItemState = 'Protected';
  policy: BackupPolicy | undefined;
  last: BackupPolicy;
  points: readonly RetainedPoint[] = [];
  /** The latest that was ever promised of each, by what the list of points showed; ms. */
  readonly promised = new Map<string, number>();
  refusedCount = 0;
  madeCount = 0;
  #count = 0;

  constructor(policy: BackupPolicy) {
    this.policy = policy;
    this.last = policy;
  }

  add(tags: readonly TagClass[], askedUntil?: number): void {
    const id = `p${(this.#count += 1)}`.padStart(8, '0');
    const origin = askedUntil === undefined ? 'scheduled' : 'on-demand';
    const retention = { tags: tags.map((tag) => ({ class: tag })) };
    this.points = [...this.points, { id, takenAt: this.now, origin, askedUntil, retention }];
  }

  edit(after: BackupPolicy): void {
    const before = this.policy;
    if (before === undefined) return;
    const items = [this.#seen(this.state, after, this.points)];
    const refusal = refusalOfEdit(VAULT, { policy: 'P', before, after, items });
    if (this.#isMade(refusal)) this.#become(items[0]!);
  }

  /** Another state, another policy, or what is remembered of points. */
  change(of: {
    readonly state?: ItemState;
    readonly policy?: BackupPolicy | undefined;
    readonly points?: readonly RetainedPoint[];
  }): void {
    const { state = this.state, points = this.points } = of;
    const policy = 'policy' in of ? of.policy : this.policy;
    const seen = this.#seen(state, policy, points);
    const policies =
      policy === this.policy ? {} : { policies: { before: this.last, after: policy } };
    if (this.#isMade(refusalOfItemChange(VAULT, { ...seen, ...policies }))) this.#become(seen);
  }

  #seen(
    state: ItemState,
    policy: BackupPolicy | undefined,
    asked: readonly RetainedPoint[],
  ): ItemBeforeAndAfter {
    const { now } = this;
    const before = { state: this.state, policy: this.policy };
    const change = { before, after: { state, policy }, now, softDeleteDays: 14 };
    return { item: ITEM, change, before: this.points, after: changedPoints(asked, change) };
  }

  #isMade(refusal: unknown): boolean {
    if (refusal === undefined) this.madeCount += 1;
    else this.refusedCount += 1;
    return refusal === undefined;
  }

  #become({ change: { after }, after: points }: ItemBeforeAndAfter): void {
    this.points = points;
    this.state = after.state;
    this.policy = after.policy;
    this.last = after.policy ?? this.last;
  }

  /** No point goes, softly or not, before what was ever promised of it; those whose time has come go. */
  look(told: string): void {
    const item = { state: this.state, policy: this.policy };
    const gone = new Set<string>();
    for (const plan of planRetention(item, this.points, this.now)) {
      const { id, fate, keptBy, expiresAt } = plan;
      const promised = this.promised.get(id) ?? -Infinity;
      if (fate !== 'kept') assert.ok(promised <= this.now, `${told}: ${id} is ${fate} too early`);
      if (fate === 'removed') gone.add(id);
      if (keptBy === 'stopped' || keptBy === 'latest') continue;
      const until = keptBy === 'pinned' ? Infinity : expiresAt;
      if (until === undefined || fate !== 'kept') continue;
      assert.ok(until >= promised, `${told}: ${id} is kept less long than was promised`);
      this.promised.set(id, until);
    }
    this.points = this.points.filter(({ id }) => !gone.has(id));
  }
}

type Draw = (limit: number) => number;

/** Most edits are small ones, so that some are taken. */
function nearby({ retention, schedule, timeZone }: BackupPolicy, draw: Draw): BackupPolicy {
  const moved = (count: number | undefined, least: number, far: number): number =>
    count === undefined
      ? draw(6) && 0
      : Math.max(least, count + draw(far) - (draw(3) === 0 ? 2 : 0));
  const weekly = weeklyOn('sunday');
  const other = draw(12) === 0 ? [DAILY, HOURLY, weekly][draw(3)]! : schedule;
  const isWeekly = other.frequency === 'weekly';
  const { daily, weekly: weeks, monthly, yearly } = retention;
  const zone = draw(20) === 0 ? ['UTC', 'W. Europe Standard Time'][draw(2)]! : timeZone;
  const rules = {
    days: isWeekly ? 0 : moved(daily?.duration.count ?? 7, 7, 4),
    weeks: moved(weeks?.duration.count ?? (isWeekly ? 1 : undefined), 1, 3),
    months: moved(monthly?.duration.count, 1, 3),
    years: moved(yearly?.duration.count, 1, 2),
  };
  return { ...policyOf(other, rules, zone), instantRestoreDays: 1 + draw(5) };
}

/** Of a soft-deleted point nothing is changed but that (points/hold-point.ts). */
function withRetention(
  points: readonly RetainedPoint[],
  at: number,
  change: (retention: PointRetention) => PointRetention,
): readonly RetainedPoint[] {
  return points.map((one, place) =>
    place === at && one.retention.lost === undefined
      ? { ...one, retention: change(one.retention) }
      : one,
  );
}

type Step = (world: World, draw: Draw) => void;

const backUp: Step = (world, draw) => {
  if (world.state !== 'Protected') return;
  const { schedule, retention } = world.policy!;
  if (schedule.frequency === 'hourly' && draw(3) > 0) return world.add(['instant']);
  const own = schedule.frequency === 'weekly' ? 'weekly' : 'daily';
  const higher = (['weekly', 'monthly', 'yearly'] as const).filter(
    (tag) => tag !== own && retention[tag] !== undefined && draw(3) === 0,
  );
  world.add([own, ...higher]);
};

const STEPS: readonly Step[] = [
  backUp,
  backUp,
  backUp,
  backUp,
  (world, draw) => {
    if (world.state === 'Protected') world.add([], world.now + (1 + draw(60)) * DAY);
  },
  (world, draw) => world.edit(nearby(world.policy ?? world.last, draw)),
  (world, draw) => world.edit(nearby(world.policy ?? world.last, draw)),
  // A switch, or resuming.
  (world, draw) => world.change({ state: 'Protected', policy: nearby(world.last, draw) }),
  (world) => world.change({ state: 'Protected', policy: world.last }),
  (world, draw) => {
    if (world.state === 'ProtectionStopped') return;
    if (draw(2) === 0) world.change({ state: 'ProtectionStopped', policy: undefined });
    else world.change({ state: 'BackupsSuspended' });
  },
  // Deleted, and where that is not refused undeleted.
  (world) => {
    world.change({ state: 'SoftDeleted', policy: undefined });
    if (world.state === 'SoftDeleted') world.change({ state: 'ProtectionStopped' });
  },
  (world, draw) => {
    if (draw(8) > 0) return;
    const at = draw(world.points.length);
    const pin = (of: PointRetention): PointRetention => ({ ...of, isPinned: of.isPinned !== true });
    world.change({ points: withRetention(world.points, at, pin) });
  },
  (world, draw) => {
    const extendedTo = world.now + draw(100) * DAY;
    const at = draw(world.points.length);
    world.change({ points: withRetention(world.points, at, (of) => ({ ...of, extendedTo })) });
  },
  (world, draw) => {
    const at = draw(world.points.length);
    const lost = { until: world.now + 14 * DAY, by: 'hand' as const };
    world.change({ points: withRetention(world.points, at, (of) => ({ ...of, lost })) });
  },
  // Undeleted, all of them.
  (world) => {
    const points = world.points.map((one) => {
      const { lost, ...retention } = one.retention;
      return lost?.by === 'hand' ? { ...one, retention } : one;
    });
    world.change({ points });
  },
];

test('R25 R62 whatever is asked of an immutable vault, no point goes before the latest date that was ever promised of it', (t) => {
  const seed = Number(process.env['HOLDFAST_TEST_SEED'] ?? Date.now() % 1_000_000);
  t.diagnostic(`seed ${seed}; again: HOLDFAST_TEST_SEED=${seed}`);
  const random = seeded(seed);
  const draw = (limit: number): number => Math.floor(random(limit));
  const world = new World(policyOf(DAILY, { days: 7, weeks: 2 }));
  for (let step = 0; step < STEP_COUNT; step += 1) {
    STEPS[draw(STEPS.length)]!(world, draw);
    world.look(`seed ${seed}, step ${step}`);
    world.now += draw(5) === 0 ? 0 : draw(2 * DAY);
    world.look(`seed ${seed}, after step ${step}`);
  }
  const { refusedCount, madeCount } = world;
  t.diagnostic(`${madeCount} changes were made, ${refusedCount} refused`);
  assert.ok(madeCount > STEP_COUNT / 20 && refusedCount > STEP_COUNT / 20);
});
