/** The course of a history: time that passes, what the model learns of it, and the comparison after each step. */
import assert from 'node:assert/strict';
import type { Run } from './calendar.ts';
import { ModelCharges } from './charges.ts';
import {
  assertCharges,
  assertGroups,
  assertHolds,
  assertItems,
  assertOwned,
  assertPoints,
  iso,
  listedPoints,
  monthOf,
} from './checks.ts';
import type { ModelGroup } from './group-model.ts';
import { Model, type Taken } from './model.ts';
import { pick, type Draw } from './policies.ts';
import type { ModelPoint } from './rules.ts';
import { assertFreed } from './storage.ts';
import { MINUTE_MS, type World } from './world.ts';

export const HOUR_MS = 3_600_000;
/** By how much less or more the seals of all blocks may take after a compaction. */
const SEALS = 2000;

export class Course {
  readonly world: World;
  readonly model: Model;
  readonly charges: ModelCharges;
  /** What was done so far. */
  readonly story: string[] = [];
  readonly #draw: Draw;
  #pointCount = 0;
  /** Of which days were read since they were compared. */
  readonly #months = new Set<string>();
  /** No run was due when it was looked last. */
  #isQuiet = true;

  constructor(world: World, draw: Draw) {
    this.world = world;
    this.#draw = draw;
    this.model = new Model(world.clock.nowMs());
    this.charges = new ModelCharges(world.clock.nowMs());
  }

  tell(what: string): void {
    this.story.push(what);
  }

  async hop(ms: number): Promise<void> {
    this.tell(`by ${Math.round(ms / HOUR_MS)} h`);
    await this.world.hop(ms);
    await this.follow();
  }

  /** Until a minute has passed in which no run was due: clean-up has seen all there is. */
  async settle(): Promise<void> {
    for (let isQuiet = false; !isQuiet;) {
      const wasQuiet = this.#isQuiet;
      const before = { live: await this.world.liveBytes(), all: this.model.allPoints() };
      await this.world.hop(MINUTE_MS + 1);
      const { runs, gone } = await this.follow();
      isQuiet = runs === 0;
      // Beside a backup clean-up may have looked before it, or after.
      if (isQuiet && wasQuiet) {
        const freed = before.live - (await this.world.liveBytes());
        // Compaction may have sealed what is left together with other blocks.
        const closest = Math.abs(freed) < SEALS ? 0 : freed;
        assertFreed(closest, { all: before.all, gone, what: 'expired by itself' });
      }
    }
  }

  /** What has come of the time that has passed. */
  async follow(): Promise<{ runs: number; gone: ReadonlySet<string> }> {
    this.sync();
    this.model.looked();
    const dueGroups = this.model.groups.dueRuns();
    for (const [group, run] of dueGroups) await this.learnGroup(group, { run });
    const due = this.model.dueRuns();
    for (const [vm, run] of due) await this.learn(vm, { run });
    await this.order();
    // What goes is charged for until the day that has ended, whoever reads it first.
    const isMeasured = this.#readDays();
    const gone = new Set(this.model.expire());
    const purged = this.model.purge();
    for (const { points } of purged) for (const { id } of points) gone.add(id);
    await this.world.readDays();
    // Whatever goes is followed by a compaction, whose seals differ by bytes.
    if (isMeasured && gone.size === 0 && purged.length === 0) await assertOwned(this.compared);
    const runs = due.size + dueGroups.size;
    this.#isQuiet = runs === 0;
    return { runs, gone };
  }

  sync(): void {
    const { clock } = this.world;
    [this.model.now, this.model.passed] = [clock.nowMs(), clock.monotonicMs()];
  }

  /** @returns whether they were measured; days that are taken back are not. */
  #readDays(): boolean {
    const before = this.charges.lastRead;
    if (!this.charges.read(this.model)) return false;
    for (const day of [before, before + 1, this.charges.lastRead]) this.#months.add(monthOf(day));
    return this.charges.lastRead > before;
  }

  /** A backup has ended: its point is the one that was not there. */
  async learn(
    vm: string,
    of: { readonly run?: Run; readonly asked?: number; readonly isSafety?: boolean },
  ): Promise<void> {
    const { isThere } = this.model.vms.get(vm)!;
    this.model.backedUp(vm, { ...of, taken: await this.#taken(vm, { ...of, isThere }) });
  }

  /** As `learn`, of the group: all of them have a point, or none. */
  async learnGroup(
    group: ModelGroup,
    { run, asked }: { readonly run?: Run; readonly asked?: number },
  ): Promise<void> {
    const wanted = this.model.groups.wanted(group);
    const isThere = wanted.every(({ vm }) => this.model.vms.get(vm)!.isThere);
    const taken = new Map<string, Taken>();
    for (const { vm } of wanted) {
      const point = await this.#taken(vm, { run, isThere });
      if (point !== undefined) taken.set(vm, point);
    }
    assert.ok(new Set([...taken.values()].map(({ at }) => at)).size <= 1, 'one instant');
    this.model.groups.backedUp(group, { run, asked, taken: isThere ? taken : undefined });
  }

  async #taken(
    vm: string,
    { run, isThere }: { readonly run?: Run | undefined; readonly isThere: boolean },
  ): Promise<Taken | undefined> {
    const known = new Set(this.model.items.get(vm)!.points.map(({ id }) => id));
    const listed = await listedPoints(this.world, vm);
    const fresh = listed.filter(({ name }) => !known.has(name));
    const told = fresh.map(({ properties }) => String(properties.recoveryPointTime));
    const what = `${vm} at ${iso(this.model.now)}, run ${run === undefined ? 'on demand' : iso(run.at)}`;
    assert.equal(fresh.length, isThere ? 1 : 0, `new points of ${what}: ${told.join()}`);
    const [point] = fresh;
    if (point === undefined) return undefined;
    const { recoveryPointTime, recoveryPointProperties } = point.properties;
    const rules = String(recoveryPointProperties.ruleName ?? '');
    return { id: String(point.name), at: Date.parse(recoveryPointTime), rules };
  }

  /** Which of them came first only the log knows. */
  async order(): Promise<void> {
    const fresh = this.model.allPoints().filter(({ order }) => order === Infinity);
    if (fresh.length === 0) return;
    const log = await this.world.log();
    for (const id of log) {
      const point = fresh.find((one) => one.id === id);
      if (point !== undefined) point.order = this.#pointCount += 1;
    }
  }

  // Comparing

  get compared() {
    return { world: this.world, model: this.model };
  }

  async compare(): Promise<void> {
    const items = [...this.model.items.values()];
    await assertItems(this.compared);
    await assertGroups(this.compared);
    for (const item of items) await assertPoints(this.compared, item);
    const points = items.flatMap((item): readonly ModelPoint[] => item.points);
    if (points.length > 0) await assertHolds(this.world, pick(this.#draw, points));
    if (this.#months.size === 0) return;
    await assertCharges(this.compared, this.charges, [...this.#months]);
    this.#months.clear();
  }
}
