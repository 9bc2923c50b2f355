/** What users ask the API for: each request is made of service and model, its preview asked for before. */
import assert from 'node:assert/strict';
import type { AnyJson } from '../../src/api/testing/any-json.ts';
import { policyToWire } from '../../src/api/policies/policy-to-wire.ts';
import type { BackupPolicy } from '../../src/service/policy/backup-policy.ts';
import { DAY_MS } from './calendar.ts';
import { assertForetold, iso, previewed, type Preview } from './checks.ts';
import type { Course } from './course.ts';
import type { Model } from './model.ts';
import { pick, randomPolicy, type Draw } from './policies.ts';
import type { Refusal } from './rules.ts';
import type { Answer } from './client.ts';
import type { World } from './world.ts';

/** Of each, its kind for ever (R13). */
const POLICIES = { P1: 'standard', P2: 'enhanced', P3: 'enhanced' } as const;
type PolicyName = keyof typeof POLICIES;
const POLICY_NAMES = Object.keys(POLICIES) as readonly PolicyName[];
const VM_KIND = 'Microsoft.Compute/virtualMachines';
/** R73 */
const SELECTIONS = { all: null, system: { diskLunList: [], isInclusionList: true } } as const;

export class Requests {
  readonly #course: Course;
  readonly #world: World;
  readonly #model: Model;
  readonly #draw: Draw;

  constructor(course: Course, draw: Draw) {
    this.#course = course;
    this.#world = course.world;
    this.#model = course.model;
    this.#draw = draw;
  }

  /** All policies, for the first time. */
  async begin(): Promise<void> {
    for (const name of POLICY_NAMES) await this.putPolicy(name);
  }

  async backUp(vm: string): Promise<void> {
    const asked = this.#model.now + (1 + this.#draw(60)) * DAY_MS;
    const properties = {
      objectType: 'IaasVMBackupRequest',
      recoveryPointExpiryTimeInUTC: iso(asked),
    };
    const path = `${this.#world.itemPath(vm)}/backup`;
    const answer = await this.#world.call('POST', path, { properties });
    const refusal = this.#model.backUp(vm, asked);
    this.agree(refusal, answer);
    if (refusal !== undefined) return;
    await this.#world.quiet();
    this.#course.sync();
    await this.#course.learn(vm, { asked });
    await this.#course.order();
  }

  async protect(vm: string): Promise<void> {
    const policy = this.somePolicy();
    const selection = pick(this.#draw, [undefined, undefined, undefined, 'all', 'system'] as const);
    this.#course.tell(`${policy} ${selection ?? ''}`);
    const isThere = this.#model.items.has(vm);
    const body = { change: 'PolicySwitch', vm: { resourceGroup: 'lab', name: vm }, policy };
    const said = isThere ? await previewed(this.#course.compared, body) : undefined;
    const policyId = this.policyPath(policy);
    const extended =
      selection === undefined
        ? {}
        : { extendedProperties: { diskExclusionProperties: SELECTIONS[selection] } };
    const refusal = this.#model.protect(vm, policy, selection);
    const answer = await this.put(vm, { policyId, ...extended });
    if (selection === undefined && said !== undefined) {
      assert.equal(said.refusal, refusal, 'a preview is refused as the change is');
    }
    this.agree(refusal, answer);
    if (refusal === undefined && said !== undefined) {
      assertForetold(this.#model, said);
      await this.#carryOut(said);
    }
  }

  async editPolicy(): Promise<void> {
    const { name, body } = this.wantedPolicy();
    await this.putPolicy(name, body);
  }

  /** Another one for one that is there. */
  wantedPolicy(): { readonly name: PolicyName; readonly body: BackupPolicy } {
    const name = this.somePolicy();
    this.#course.tell(name);
    const isLike = this.#draw(3) === 0;
    return {
      name,
      body: isLike ? this.#otherRetention(name) : randomPolicy(this.#draw, POLICIES[name]),
    };
  }

  somePolicy(): PolicyName {
    return pick(this.#draw, POLICY_NAMES);
  }

  policyPath(name: string): string {
    return `${this.#world.vaultPath}/backupPolicies/${name}`;
  }

  /** Its schedule stays. */
  #otherRetention(name: PolicyName): BackupPolicy {
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

  async putPolicy(
    name: PolicyName,
    body: BackupPolicy = randomPolicy(this.#draw, POLICIES[name]),
  ): Promise<void> {
    const { protectedItemsCount: _, ...properties } = policyToWire(body, 0);
    const isEdit = this.#model.policies.has(name);
    const asked = { change: 'PolicyEdit', policy: name, properties };
    const said = isEdit ? await previewed(this.#course.compared, asked) : undefined;
    const answer = await this.#world.call('PUT', this.policyPath(name), { properties });
    this.agree(undefined, answer);
    this.#model.putPolicy(name, body);
    if (said === undefined) return;
    assertForetold(this.#model, said);
    await this.#carryOut(said);
  }

  /** What a change has left to clean-up is what its preview said, and goes by hand to the byte. */
  async #carryOut({ freedBytes, removed }: Preview): Promise<void> {
    if (removed.size === 0 || this.#model.isResting || this.#draw(4) === 0) return;
    const said = await this.expire();
    assert.deepEqual(said.removed, removed);
    assert.equal(said.freedBytes, freedBytes);
  }

  async expire(): Promise<Preview> {
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

  async delete(vm: string): Promise<void> {
    const item = this.#model.items.get(vm);
    const isThere = item !== undefined;
    const asked = { change: 'DeleteData', vm: { resourceGroup: 'lab', name: vm } };
    const said = isThere ? await previewed(this.#course.compared, asked) : undefined;
    const before = await this.#world.liveBytes();
    const answer = await this.#world.call('DELETE', this.#world.itemPath(vm));
    if (item === undefined) {
      assert.equal(answer.status, 204);
      return;
    }
    const points = item.points.map(({ id }) => id);
    const refusal = this.#model.delete(vm);
    this.agree(refusal, answer);
    assert.equal(said?.refusal, refusal, 'a preview is refused as the deletion is');
    if (said === undefined || refusal !== undefined) return;
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

  async hold(vm: string): Promise<void> {
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
    this.agree(refusal, answer);
    if (refusal !== undefined || action !== 'delete') return;
    await this.#world.quiet();
    this.#course.sync();
    if (this.#model.softDeleteDays === undefined) this.#model.expire({ vm, deletedOnly: true });
  }

  async put(vm: string, properties: object): Promise<Answer> {
    const of = { protectedItemType: VM_KIND, sourceResourceId: this.#world.vmId(vm) };
    return await this.#world.call('PUT', this.#world.itemPath(vm), {
      properties: { ...of, ...properties },
    });
  }

  agree(refusal: Refusal, { status, body }: Answer): void {
    if (refusal !== undefined) this.#course.tell(`refused: ${refusal}`);
    const told: unknown = status < 300 ? undefined : (body as AnyJson)?.error?.code;
    assert.equal(told, refusal, JSON.stringify(body));
  }

  async stop(vm: string): Promise<void> {
    const answer = await this.put(vm, WANTED.stop);
    this.agree(this.#model.stop(vm), answer);
  }

  async suspend(vm: string): Promise<void> {
    const answer = await this.put(vm, WANTED.suspend);
    this.agree(this.#model.suspend(vm), answer);
  }

  async undelete(vm: string): Promise<void> {
    this.agree(this.#model.undelete(vm), await this.put(vm, WANTED.undelete));
  }

  async softDelete(): Promise<void> {
    const days = pick(this.#draw, [undefined, 14, 14, 20, 60]);
    this.#course.tell(String(days));
    const properties = {
      softDeleteFeatureState: days === undefined ? 'Disabled' : 'Enabled',
      ...(days === undefined ? {} : { softDeleteRetentionPeriodInDays: days }),
    };
    const path = `${this.#world.vaultPath}/backupconfig/vaultconfig`;
    this.agree(undefined, await this.#world.call('PATCH', path, { properties }));
    this.#model.softDeleteDays = days;
  }
}

/** Properties of an item that is to become so. */
export const WANTED = {
  stop: { protectionState: 'ProtectionStopped' },
  suspend: { protectionState: 'BackupsSuspended' },
  undelete: { protectionState: 'ProtectionStopped', isRehydrate: true },
} as const;

function withTimes(retention: BackupPolicy['retention'], times: readonly string[]) {
  const rules = Object.entries(retention).map(([of, rule]) => [of, { ...rule, times }]);
  return Object.fromEntries(rules) as BackupPolicy['retention'];
}
