/** One random history: each step does something, lets a minute pass, and compares everything. */
import assert from 'node:assert/strict';
import type { AnyJson } from '../../src/api/testing/any-json.ts';
import { policyToWire } from '../../src/api/policies/policy-to-wire.ts';
import type { BackupPolicy } from '../../src/service/policy/backup-policy.ts';
import { DAY_MS } from './calendar.ts';
import { assertForetold, iso, previewed } from './checks.ts';
import { Course, HOUR_MS } from './course.ts';
import type { Model, Refusal } from './model.ts';
import { pick, randomPolicy, type Draw } from './policies.ts';
import { MINUTE_MS, type Answer, type World } from './world.ts';

const VMS = ['a', 'b', 'c'];
/** Of each, its kind for ever (R13). */
const POLICIES = { P1: 'standard', P2: 'enhanced', P3: 'enhanced' } as const;
const VM_KIND = 'Microsoft.Compute/virtualMachines';

export class History {
  readonly counts: Record<string, number> = {};
  readonly #course: Course;
  readonly #world: World;
  readonly #model: Model;
  readonly #draw: Draw;

  constructor(world: World, draw: Draw) {
    this.#course = new Course(world, draw);
    this.#world = world;
    this.#model = this.#course.model;
    this.#draw = draw;
  }

  /** What was done so far. */
  get story(): readonly string[] {
    return this.#course.story;
  }

  /** VMs, the first one of two disks, and policies. */
  async begin(): Promise<void> {
    for (const name of VMS) {
      const content = new Map([
        ['os', this.#tokens(2 + this.#draw(4))],
        ...(name === VMS[0] ? [['data', this.#tokens(1 + this.#draw(6))] as const] : []),
      ]);
      this.#model.vms.set(name, { name, content, isThere: true, isKnownGone: false });
      this.#world.writeVm(name, content);
    }
    await this.#world.discover();
    // It is there from the start, and nobody asked for it.
    for (const name of Object.keys(POLICIES)) await this.#putPolicy(name as keyof typeof POLICIES);
  }

  async step(): Promise<void> {
    const vm = pick(this.#draw, VMS);
    const name = pick(this.#draw, WEIGHTED);
    this.counts[name] = (this.counts[name] ?? 0) + 1;
    this.#course.tell(`${iso(this.#model.now)} ${name} ${vm}`);
    await this.#actions[name](vm);
    await this.#course.settle();
    await this.#course.compare();
  }

  readonly #actions: Readonly<Record<Action, (vm: string) => Promise<void>>> = {
    write: async (vm) => {
      const { content, isThere } = this.#model.vms.get(vm)!;
      if (!isThere) return;
      const tokens = pick(this.#draw, [...content.values()]);
      tokens[this.#draw(tokens.length)] = this.#token();
      this.#world.writeVm(vm, content);
    },
    backUp: async (vm) => await this.#backUp(vm),
    nextRun: async () => {
      const items = await this.#world.service.catalogue.read
        .selectFrom('items')
        .select('nextRunAt')
        .where('nextRunAt', 'is not', null)
        .execute();
      const runs = items.map(({ nextRunAt }) => nextRunAt!).filter((at) => at > this.#model.now);
      if (runs.length > 0) await this.#course.hop(Math.min(...runs) - this.#model.now);
    },
    hours: async () => await this.#course.hop((1 + this.#draw(30)) * HOUR_MS),
    days: async () => await this.#course.hop((1 + this.#draw(20)) * DAY_MS),
    months: async () => await this.#course.hop((20 + this.#draw(400)) * DAY_MS),
    leap: async () => {
      const ms = pick(this.#draw, [
        -90 * MINUTE_MS,
        -3 * HOUR_MS,
        HOUR_MS,
        5 * HOUR_MS,
        40 * DAY_MS,
      ]);
      this.#course.tell(`by ${ms / HOUR_MS} h`);
      this.#world.clock.jump(ms);
      this.#model.leap(ms);
    },
    protect: async (vm) => await this.#protect(vm),
    edit: async () => await this.#editPolicy(),
    stop: async (vm) => {
      const { status, body } = await this.#put(vm, { protectionState: 'ProtectionStopped' });
      this.#agree(this.#model.stop(vm), { status, body });
    },
    suspend: async (vm) => {
      const answer = await this.#put(vm, { protectionState: 'BackupsSuspended' });
      this.#agree(this.#model.suspend(vm), answer);
    },
    delete: async (vm) => await this.#delete(vm),
    undelete: async (vm) => {
      const answer = await this.#put(vm, {
        protectionState: 'ProtectionStopped',
        isRehydrate: true,
      });
      this.#agree(this.#model.undelete(vm), answer);
    },
    hold: async (vm) => await this.#hold(vm),
    expire: async () => void (await this.#expire()),
    softDelete: async () => {
      const days = pick(this.#draw, [undefined, 14, 14, 20, 60]);
      const state = days === undefined ? 'Disabled' : 'Enabled';
      this.#course.tell(String(days));
      const properties = {
        softDeleteFeatureState: state,
        ...(days === undefined ? {} : { softDeleteRetentionPeriodInDays: days }),
      };
      const path = `${this.#world.vaultPath}/backupconfig/vaultconfig`;
      this.#agree(undefined, await this.#world.call('PATCH', path, { properties }));
      this.#model.softDeleteDays = days;
    },
    gone: async (vm) => {
      const known = this.#model.vms.get(vm)!;
      this.#world.moveVm(vm, known.isThere ? 'away' : 'back');
      known.isThere = !known.isThere;
      // Or it is found out by the next backup.
      if (this.#draw(3) > 0) await this.#discover();
    },
    discover: async () => await this.#discover(),
    restart: async () => {
      await this.#world.restart();
      this.#model.restarted();
      this.#course.sync();
      // A start looks at the hosts.
      this.#seen();
    },
  };

  // Each is a request or two

  async #backUp(vm: string): Promise<void> {
    const asked = this.#model.now + (1 + this.#draw(60)) * DAY_MS;
    const properties = {
      objectType: 'IaasVMBackupRequest',
      recoveryPointExpiryTimeInUTC: iso(asked),
    };
    const path = `${this.#world.itemPath(vm)}/backup`;
    const answer = await this.#world.call('POST', path, { properties });
    const refusal = this.#model.backUp(vm, asked);
    this.#agree(refusal, answer);
    if (refusal !== undefined) return;
    await this.#world.quiet();
    this.#course.sync();
    await this.#course.learn(vm, { asked });
    await this.#course.order();
  }

  async #protect(vm: string): Promise<void> {
    const { items } = this.#model;
    const policy = pick(this.#draw, Object.keys(POLICIES));
    this.#course.tell(policy);
    const item = items.get(vm);
    const isThere = item !== undefined && item.state !== 'SoftDeleted';
    const body = { change: 'PolicySwitch', vm: { resourceGroup: 'lab', name: vm }, policy };
    const said = isThere ? await previewed(this.#course.compared, body) : undefined;
    const policyId = `${this.#world.vaultPath}/backupPolicies/${policy}`;
    const refusal = this.#model.protect(vm, policy);
    this.#agree(refusal, await this.#put(vm, { policyId }));
    if (refusal === undefined && said !== undefined) {
      assertForetold(this.#model, said);
      await this.#carryOut(said);
    }
  }

  async #editPolicy(): Promise<void> {
    const name = pick(this.#draw, Object.keys(POLICIES)) as keyof typeof POLICIES;
    this.#course.tell(name);
    const body = this.#draw(3) === 0 ? this.#otherRetention(name) : undefined;
    await this.#putPolicy(name, body);
  }

  /** Its schedule stays. */
  #otherRetention(name: keyof typeof POLICIES): BackupPolicy {
    const before = this.#model.policies.get(name)!.body;
    for (;;) {
      const { schedule, retention } = randomPolicy(this.#draw, before.kind);
      const isLike = schedule.frequency === before.schedule.frequency;
      if (isLike && before.schedule.frequency === 'daily') {
        return { ...before, retention: withTimes(retention, before.schedule.runTimes) };
      }
      if (before.schedule.frequency !== 'daily') return randomPolicy(this.#draw, before.kind);
    }
  }

  async #putPolicy(
    name: keyof typeof POLICIES,
    body: BackupPolicy = randomPolicy(this.#draw, POLICIES[name]),
  ): Promise<void> {
    const { protectedItemsCount: _, ...properties } = policyToWire(body, 0);
    const isEdit = this.#model.policies.has(name);
    const asked = { change: 'PolicyEdit', policy: name, properties };
    const said = isEdit ? await previewed(this.#course.compared, asked) : undefined;
    const path = `${this.#world.vaultPath}/backupPolicies/${name}`;
    this.#agree(undefined, await this.#world.call('PUT', path, { properties }));
    this.#model.putPolicy(name, body);
    if (said === undefined) return;
    assertForetold(this.#model, said);
    await this.#carryOut(said);
  }

  /** What a change has left to clean-up is what its preview said, and goes by hand to the byte. */
  async #carryOut({ freedBytes, removed }: Awaited<ReturnType<typeof previewed>>): Promise<void> {
    if (removed.size === 0 || this.#model.isResting || this.#draw(4) === 0) return;
    const said = await this.#expire();
    assert.deepEqual(said.removed, removed);
    assert.equal(said.freedBytes, freedBytes);
  }

  async #expire(): Promise<Awaited<ReturnType<typeof previewed>>> {
    const said = await previewed(this.#course.compared, { change: 'Expire' });
    const before = await this.#world.liveBytes();
    const answer = await this.#world.call('POST', `${this.#world.ownVault}/expire`, {});
    assert.equal(answer.status, 202, JSON.stringify(answer.body));
    await this.#world.quiet();
    assert.equal(before - (await this.#world.liveBytes()), said.freedBytes);
    this.#course.sync();
    assert.deepEqual(said.removed, this.#model.expire({}));
    return said;
  }

  async #delete(vm: string): Promise<void> {
    const item = this.#model.items.get(vm);
    const isThere = item !== undefined && item.state !== 'SoftDeleted';
    const asked = { change: 'DeleteData', vm: { resourceGroup: 'lab', name: vm } };
    const said = isThere ? await previewed(this.#course.compared, asked) : undefined;
    const before = await this.#world.liveBytes();
    const answer = await this.#world.call('DELETE', this.#world.itemPath(vm));
    if (item === undefined) {
      assert.equal(answer.status, 204);
      return;
    }
    const points = item.points.map(({ id }) => id);
    this.#agree(this.#model.delete(vm), answer);
    if (said === undefined) return;
    const isSoft = this.#model.softDeleteDays !== undefined;
    const date = iso(item.purgeAt!);
    const fate = { fate: isSoft ? 'SoftDeleted' : 'Removed', by: 'itemSoftDeleted', expiry: date };
    assert.deepEqual(
      new Set(said.told.get(vm)),
      new Set(points.map((name) => ({ name, ...fate }))),
    );
    if (isSoft) return;
    await this.#world.quiet();
    this.#course.sync();
    this.#model.purge(vm);
    assert.equal(before - (await this.#world.liveBytes()), said.freedBytes);
  }

  async #hold(vm: string): Promise<void> {
    const item = this.#model.items.get(vm);
    if (item === undefined || item.points.length === 0) return;
    const point = pick(this.#draw, item.points);
    const action = pick(this.#draw, [
      'pin',
      'unpin',
      'extend',
      'delete',
      'delete',
      'undelete',
    ] as const);
    this.#course.tell(`${action} ${point.id}`);
    const to = this.#model.now + (1 + this.#draw(80)) * DAY_MS;
    const own = this.#world.itemPath(vm, this.#world.ownVault);
    const path = `${own}/recoveryPoints/${point.id}/${action}`;
    const extension = action === 'extend' ? { expiryTime: iso(to) } : undefined;
    const answer = await this.#world.call('POST', path, extension);
    const refusal = this.#model.hold(vm, point, { action, to });
    this.#agree(refusal, answer);
    if (refusal !== undefined || action !== 'delete') return;
    await this.#world.quiet();
    this.#course.sync();
    if (this.#model.softDeleteDays === undefined) this.#model.expire({ vm, deletedOnly: true });
  }

  async #discover(): Promise<void> {
    await this.#world.discover();
    this.#seen();
  }

  #seen(): void {
    for (const known of this.#model.vms.values()) known.isKnownGone = !known.isThere;
  }

  async #put(vm: string, properties: object): Promise<Answer> {
    const of = { protectedItemType: VM_KIND, sourceResourceId: this.#world.vmId(vm) };
    return await this.#world.call('PUT', this.#world.itemPath(vm), {
      properties: { ...of, ...properties },
    });
  }

  #agree(refusal: Refusal, { status, body }: Answer): void {
    if (refusal !== undefined) this.#course.tell(`refused: ${refusal}`);
    const told: unknown = status < 300 ? undefined : (body as AnyJson)?.error?.code;
    assert.equal(told, refusal, JSON.stringify(body));
  }

  /** Often one that is or was somewhere already, at times zeros. */
  #token(): number {
    return this.#draw(4) === 0 ? this.#draw(3) : this.#draw(100_000);
  }

  #tokens(count: number): number[] {
    return Array.from({ length: count }, () => this.#token());
  }
}

function withTimes(retention: BackupPolicy['retention'], times: readonly string[]) {
  const rules = Object.entries(retention).map(([of, rule]) => [of, { ...rule, times }]);
  return Object.fromEntries(rules) as BackupPolicy['retention'];
}

const WEIGHTS = {
  write: 12,
  backUp: 6,
  nextRun: 8,
  hours: 4,
  days: 5,
  months: 1,
  leap: 2,
  protect: 8,
  edit: 8,
  stop: 4,
  suspend: 4,
  delete: 3,
  undelete: 3,
  hold: 14,
  expire: 2,
  softDelete: 2,
  gone: 3,
  discover: 2,
  restart: 2,
} as const;
type Action = keyof typeof WEIGHTS;
const WEIGHTED = Object.entries(WEIGHTS).flatMap(([name, weight]) =>
  Array.from({ length: weight }, () => name as Action),
);
