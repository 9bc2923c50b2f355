/**
 * One vault by the rules: what each request does to it or is refused with, what passing time does, what is charged.
 * Knows nothing of the service but the names of its states and codes.
 */
import type { BackupPolicy } from '../../src/service/policy/backup-policy.ts';
import { DAY_MS, promiseOf, type Class, type Run } from './calendar.ts';
import { ModelGroups } from './group-model.ts';
import {
  change,
  dateOf,
  fateOf,
  isActive,
  newestOf,
  newestRunOf,
  owedRun,
  promiseAnew,
  REFUSALS,
  ruleNames,
  tagsOf,
  type Content,
  type ModelItem,
  type ModelPoint,
  type Refusal,
  type State,
} from './rules.ts';

const LONGEST_MS = 99 * 366 * DAY_MS;
const LEAP_MS = 6 * 3_600_000;

export type ModelVm = {
  readonly name: string;
  content: Map<string, number[]>;
  isThere: boolean;
  /** By the newest look at its host: a backup that misses it looks, too. */
  isKnownGone: boolean;
};

/** A point that came; `rules`: as the API names what keeps it. */
export type Taken = { readonly id: string; readonly at: number; readonly rules: string };

export type ModelPolicy = { body: BackupPolicy; changedAt: number };

/** What is done with one point; `to`: until when it is extended. */
type Asked = {
  readonly action: 'pin' | 'unpin' | 'extend' | 'delete' | 'undelete';
  readonly to: number;
};

export class Model {
  readonly vms = new Map<string, ModelVm>();
  readonly policies = new Map<string, ModelPolicy>();
  readonly items = new Map<string, ModelItem>();
  readonly groups = new ModelGroups(this);
  /** Undefined: soft delete is off. */
  softDeleteDays: number | undefined = 14;
  now: number;
  /** How far the wall is ahead of the time that has passed, as far as it was seen. */
  #ahead = 0;
  /** Clean-up rests: until when, in time that has passed; how far the wall was ahead then. */
  #rest: { readonly until: number; readonly ahead: number } | undefined;
  passed = 0;

  constructor(now: number) {
    this.now = now;
  }

  // Time

  pass(ms: number): void {
    this.now += ms;
    this.passed += ms;
  }

  /** The wall is set, and no time passes. */
  leap(ms: number): void {
    this.now += ms;
    this.#ahead += ms;
  }

  /** The service has looked at the clock: one that is ahead by more than six hours is not trusted for a day. */
  looked(): void {
    if (Math.abs(this.#ahead) <= LEAP_MS) this.#rest = undefined;
    else if (this.#ahead < 0) this.#trust();
    else if (this.#rest === undefined || this.#ahead - this.#rest.ahead > LEAP_MS) {
      this.#rest = { until: this.passed + DAY_MS, ahead: this.#ahead };
    } else if (this.passed >= this.#rest.until) this.#trust();
  }

  #trust(): void {
    this.#ahead = 0;
    this.#rest = undefined;
  }

  get isResting(): boolean {
    return this.#rest !== undefined;
  }

  /** Runs that are due now, by VM. */
  dueRuns(): Map<string, Run> {
    const due = new Map<string, Run>();
    for (const item of this.items.values()) {
      if (!isActive(item.state) || item.policy === undefined) continue;
      if (this.groups.scheduledWith(item) !== undefined) continue;
      const { body, changedAt } = this.policies.get(item.policy)!;
      const noted = [Math.max(item.since, changedAt), item.lastRun];
      const run = owedRun(body, { now: this.now, noted });
      if (run !== undefined) due.set(item.vm, run);
    }
    return due;
  }

  /** The service has looked at the host. */
  seen(): void {
    for (const known of this.vms.values()) known.isKnownGone = !known.isThere;
  }

  /**
   * The job of a run, or of a user, has ended.
   *
   * @param of.tagging by which policy the run is tagged; absent: the item's.
   * @param of.taken undefined: it failed.
   */
  backedUp(
    vm: string,
    of: {
      run?: Run;
      tagging?: BackupPolicy;
      asked?: number | undefined;
      /** Before the VM's disks are replaced: of all of them. */
      isSafety?: boolean;
      taken: Taken | undefined;
    },
  ): void {
    const item = this.items.get(vm)!;
    const { run, asked, taken } = of;
    if (run !== undefined) item.lastRun = run.at;
    // Whoever misses a VM looks at its host.
    if (taken === undefined || this.vms.get(vm)!.isKnownGone) this.seen();
    if (taken === undefined) {
      item.lastBackup = 'Failed';
      return;
    }
    item.lastBackup = 'Completed';
    const { id, at } = taken;
    const isSafety = of.isSafety === true;
    const origin = run === undefined ? 'on-demand' : 'scheduled';
    const point: ModelPoint = {
      id,
      at,
      order: Infinity,
      origin: isSafety ? 'safety' : origin,
      asked,
      runAt: run?.at,
      content: contentOf(this.vms.get(vm)!, isSafety ? 'all' : item.disks),
      promises: run === undefined ? new Map() : this.#promised(item, { ...of, run, taken }),
      isTagless: isSafety,
      isPinned: false,
      extended: undefined,
      lost: undefined,
    };
    if (isSafety) promiseAnew(point, this.policies.get(item.policy!)!.body);
    item.points.push(point);
    if (item.state === 'IRPending') item.state = 'Protected';
  }

  /** Clean-up may have been there before: which of them came first the point's rules tell. */
  #promised(
    item: ModelItem,
    { run, tagging, taken }: { run: Run; tagging?: BackupPolicy; taken: Taken },
  ): ModelPoint['promises'] {
    const policy = this.policies.get(item.policy!)!.body;
    const left = item.points.filter((point) => fateOf(item, point, this.now).fate !== 'removed');
    const [first, other] = [item.points, left].map((points) => {
      const tags = tagsOf({ ...item, points }, tagging ?? policy, run);
      return new Map(tags.map((tag: Class) => [tag, promiseOf(policy, tag, taken.at)]));
    });
    return ruleNames(other!) === taken.rules ? other! : first!;
  }

  /** What clean-up takes away now. @param byHand whatever the clock did; `deleted`: only what a user deleted of that VM. */
  expire(byHand?: { vm?: string; deletedOnly?: boolean }): ReadonlySet<string> {
    const gone = new Set<string>();
    if (this.isResting && byHand === undefined) return gone;
    for (const item of this.items.values()) {
      if (byHand?.vm !== undefined && byHand.vm !== item.vm) continue;
      for (const point of item.points) {
        const { fate, by } = fateOf(item, point, this.now);
        if (fate !== 'removed') continue;
        if (byHand?.deletedOnly !== true || by === 'deletedByHand') gone.add(point.id);
      }
      item.points = item.points.filter(({ id }) => !gone.has(id));
    }
    return gone;
  }

  /** Items whose soft delete has ended are gone. @param atOnce one that was deleted without soft delete. */
  purge(atOnce?: string): readonly ModelItem[] {
    const gone = [...this.items.values()].filter(
      ({ vm, state, purgeAt }) =>
        state === 'SoftDeleted' && (vm === atOnce || (!this.isResting && purgeAt! <= this.now)),
    );
    for (const { vm } of gone) this.items.delete(vm);
    return gone;
  }

  /** The catalogue is lost: which runs were done is known of points only, and of the clock nothing. */
  forget(): void {
    this.#trust();
    for (const item of this.items.values()) item.lastRun = newestRunOf(item);
    this.groups.forget();
  }

  // What users do

  putPolicy(name: string, body: BackupPolicy): void {
    const before = this.policies.get(name)?.body;
    this.policies.set(name, { body, changedAt: this.now });
    for (const item of this.items.values()) {
      if (item.policy === name) this.#become(item, { state: item.state, policy: name, before });
    }
  }

  /** The edit was killed when this item was remembered and the policy was not: what was to be lost is noted. */
  noteLost(vm: string, body: BackupPolicy): void {
    const item = this.items.get(vm)!;
    const before = item.points.map(({ promises }) => new Map(promises));
    const { now, softDeleteDays } = this;
    const had = this.policies.get(item.policy!)!.body;
    change(item, { state: item.state, policy: body, before: had, now, softDeleteDays });
    for (const [at, { promises }] of item.points.entries()) {
      promises.clear();
      for (const [of, date] of before[at]!) promises.set(of, date);
    }
  }

  /** @param disks which are backed up; undefined: as they were, at first all. */
  protect(vm: string, policy: string, disks: 'all' | 'system' | undefined): Refusal {
    const item = this.items.get(vm);
    const { isKnownGone } = this.vms.get(vm)!;
    if (item === undefined) {
      if (isKnownGone) return 'ResourceNotFound';
      this.items.set(vm, { ...newItem(vm, policy, this.now), disks: disks ?? 'all' });
      return undefined;
    }
    if (item.state === 'SoftDeleted') return 'UserErrorItemSoftDeleted';
    // Disks are chosen of those that are there.
    const needsVm = !isActive(item.state) || disks === 'system';
    if (isKnownGone && needsVm) return 'ResourceNotFound';
    item.disks = disks ?? item.disks;
    if (isActive(item.state)) {
      this.#become(item, { state: item.state, policy });
      return undefined;
    }
    const state = item.points.length === 0 ? 'IRPending' : 'Protected';
    this.#become(item, { state, policy });
    item.since = this.now;
    return undefined;
  }

  stop(vm: string): Refusal {
    const item = this.items.get(vm);
    if (item === undefined) return 'BMSUserErrorProtectedItemNotFound';
    if (item.state === 'ProtectionStopped') return 'UserErrorProtectionStopped';
    if (item.state === 'SoftDeleted') return 'UserErrorItemSoftDeleted';
    item.lastPolicy = item.policy;
    this.#become(item, { state: 'ProtectionStopped', policy: undefined });
    return undefined;
  }

  suspend(vm: string): Refusal {
    const item = this.items.get(vm);
    if (item === undefined) return 'BMSUserErrorProtectedItemNotFound';
    if (item.state !== 'Protected') return REFUSALS[item.state];
    this.#become(item, { state: 'BackupsSuspended', policy: item.policy });
    return undefined;
  }

  /** Of an item that is there. */
  delete(vm: string): Refusal {
    const item = this.items.get(vm)!;
    if (item.state === 'SoftDeleted') return 'UserErrorItemSoftDeleted';
    item.lastPolicy = item.policy ?? item.lastPolicy;
    this.#become(item, { state: 'SoftDeleted', policy: undefined });
    item.deletedAt = this.now;
    item.purgeAt = this.now + (this.softDeleteDays ?? 0) * DAY_MS;
    return undefined;
  }

  undelete(vm: string): Refusal {
    const item = this.items.get(vm);
    if (item === undefined) return 'BMSUserErrorProtectedItemNotFound';
    if (item.state !== 'SoftDeleted') return REFUSALS[item.state];
    if (item.purgeAt! <= this.now) return 'UserErrorSoftDeleteEnded';
    this.#become(item, { state: 'ProtectionStopped', policy: undefined });
    [item.deletedAt, item.purgeAt] = [undefined, undefined];
    return undefined;
  }

  backUp(vm: string, asked: number): Refusal {
    const item = this.items.get(vm);
    if (asked <= this.now) return 'UserErrorInvalidRecoveryPointExpiry';
    if (item === undefined) return 'BMSUserErrorProtectedItemNotFound';
    return isActive(item.state) ? undefined : REFUSALS[item.state];
  }

  /** Its disks; of an item that has points. */
  replace(vm: string): Refusal {
    const { state } = this.items.get(vm)!;
    if (!isActive(state)) return REFUSALS[state];
    const { isThere, isKnownGone } = this.vms.get(vm)!;
    // Whoever misses a VM looks at its host.
    if (!isThere || isKnownGone) this.seen();
    return isThere ? undefined : 'UserErrorVmNotFoundV2';
  }

  hold(vm: string, point: ModelPoint, asked: Asked): Refusal {
    const item = this.items.get(vm)!;
    if (item.state === 'SoftDeleted') return 'UserErrorItemSoftDeleted';
    if (asked.action === 'unpin') {
      point.isPinned = false;
      return undefined;
    }
    if (asked.action === 'undelete') {
      if (point.lost?.by !== 'hand') return 'UserErrorRecoveryPointNotDeleted';
      point.lost = undefined;
      return undefined;
    }
    if (fateOf(item, point, this.now).fate === 'softDeleted') {
      return 'UserErrorRecoveryPointSoftDeleted';
    }
    if (asked.action === 'delete') return this.#deletePoint(item, point);
    if (asked.action === 'pin') {
      point.isPinned = true;
      return undefined;
    }
    const { to } = asked;
    const least = Math.max(dateOf(point).date ?? this.now, this.now);
    const isRight = to > least && to <= this.now + LONGEST_MS;
    if (!isRight) return 'UserErrorInvalidRecoveryPointExpiry';
    point.extended = to;
    return undefined;
  }

  #deletePoint(item: ModelItem, point: ModelPoint): Refusal {
    if (point === newestOf(item, this.now)) return 'UserErrorLastRecoveryPoint';
    if (point.isPinned) return 'UserErrorRecoveryPointPinned';
    point.lost = { until: this.now + (this.softDeleteDays ?? 0) * DAY_MS, by: 'hand' };
    return undefined;
  }

  /** The points of all items, in the order in which they came. */
  allPoints(): readonly ModelPoint[] {
    const all = [...this.items.values()].flatMap(({ points }) => points);
    return all.toSorted((one, other) => one.order - other.order);
  }

  /** @param to.before its policy, where that is not what its name says any more. */
  #become(
    item: ModelItem,
    to: { state: State; policy: string | undefined; before?: BackupPolicy | undefined },
  ): void {
    const { now, softDeleteDays } = this;
    const { state, policy, before = this.policies.get(item.policy ?? '')?.body } = to;
    const body = policy === undefined ? undefined : this.policies.get(policy)!.body;
    item.policy = policy;
    change(item, { state, policy: body, before, now, softDeleteDays });
  }
}

function newItem(vm: string, policy: string, now: number): ModelItem {
  const none = { lastPolicy: undefined, lastRun: undefined, deletedAt: undefined };
  const rest = { since: now, lastBackup: '', purgeAt: undefined, disks: 'all' } as const;
  return { vm, state: 'IRPending', policy, ...none, ...rest, points: [] };
}

function contentOf({ content }: ModelVm, disks: ModelItem['disks']): Content {
  const all = [...content].filter(([disk]) => disks === 'all' || disk === 'sda');
  return new Map(all.map(([disk, tokens]) => [disk, [...tokens]]));
}
