/** Consistency groups by the rules (decision 0013): who is in them, when they run, and what is refused. */
import type { BackupPolicy } from '../../src/service/policy/backup-policy.ts';
import type { Run } from './calendar.ts';
import { isActive, owedRun, REFUSALS, type ModelItem, type Refusal } from './rules.ts';

export type ModelGroup = {
  readonly name: string;
  members: readonly ModelItem[];
  /** Its name; undefined: backed up on demand only. */
  policy: string | undefined;
  changedAt: number;
  lastRun: number | undefined;
};

type TakenPoint = { readonly id: string; readonly at: number; readonly rules: string };

/** A point of each member, by VM. */
type Taken = ReadonlyMap<string, TakenPoint>;

/** What they need of the whole model. */
type Whole = {
  readonly now: number;
  readonly items: ReadonlyMap<string, ModelItem>;
  readonly policies: ReadonlyMap<
    string,
    { readonly body: BackupPolicy; readonly changedAt: number }
  >;
  readonly backedUp: (
    vm: string,
    of: {
      run?: Run;
      tagging?: BackupPolicy;
      asked?: number | undefined;
      taken: TakenPoint | undefined;
    },
  ) => void;
};

export class ModelGroups {
  readonly all = new Map<string, ModelGroup>();
  readonly #model: Whole;

  constructor(model: Whole) {
    this.#model = model;
  }

  put(name: string, vms: readonly string[], policy: string | undefined): Refusal {
    const found = vms.map((vm) => this.#model.items.get(vm));
    const members = found.filter((item) => item !== undefined);
    if (members.length < found.length) return 'BMSUserErrorProtectedItemNotFound';
    if (members.length < 2) return 'ConsistencyGroupInvalid';
    const refusal = refusalOf(members);
    if (refusal !== undefined) return refusal;
    const others = this.list().filter((group) => group.name !== name);
    const isTaken = others.some((group) => group.members.some((item) => members.includes(item)));
    if (isTaken) return 'ConsistencyGroupInvalid';
    const lastRun = this.all.get(name)?.lastRun;
    this.all.set(name, { name, members, policy, changedAt: this.#model.now, lastRun });
    return undefined;
  }

  backUp(name: string): Refusal {
    const members = this.all.get(name)?.members;
    if (members === undefined) return 'ResourceNotFound';
    return members.length < 2 ? 'ConsistencyGroupInvalid' : refusalOf(members);
  }

  /** Those that are gone are out of them; a group of none goes. */
  list(): readonly ModelGroup[] {
    for (const group of this.all.values()) {
      group.members = group.members.filter((item) => this.#model.items.get(item.vm) === item);
      if (group.members.length === 0) this.all.delete(group.name);
    }
    return [...this.all.values()];
  }

  /** Of the group that runs it, whose schedule takes the place of its own. */
  scheduledWith(item: ModelItem): ModelGroup | undefined {
    return this.list().find(
      ({ members, policy }) => policy !== undefined && members.includes(item),
    );
  }

  /** What is due now; it is noted, of its members too. */
  dueRuns(): ReadonlyMap<ModelGroup, Run> {
    const due = new Map<ModelGroup, Run>();
    for (const group of this.list()) {
      if (group.policy === undefined) continue;
      const { body, changedAt } = this.#model.policies.get(group.policy)!;
      const since = Math.max(group.changedAt, changedAt);
      const run = owedRun(body, { now: this.#model.now, noted: [since, group.lastRun] });
      if (run === undefined) continue;
      due.set(group, run);
      group.lastRun = run.at;
      for (const item of group.members) item.lastRun = run.at;
    }
    return due;
  }

  /** Its runs are those of its members, of which `Model.forget` knows. */
  forget(): void {
    for (const group of this.list()) {
      const runs = group.members.flatMap(({ lastRun }) => lastRun ?? []);
      const isKnown = group.policy !== undefined && runs.length > 0;
      group.lastRun = isKnown ? Math.max(...runs) : undefined;
    }
  }

  /** Whom a run backs up: a member that is stopped is left out. */
  wanted({ members }: ModelGroup): readonly ModelItem[] {
    return members.filter(({ state }) => isActive(state));
  }

  /** The job has ended. @param taken undefined: one of them was not there, and nobody has a point. */
  backedUp(
    group: ModelGroup,
    of: {
      readonly run: Run | undefined;
      readonly asked: number | undefined;
      taken: Taken | undefined;
    },
  ): void {
    const { run, asked, taken } = of;
    for (const { vm, policy } of this.wanted(group)) {
      this.#model.backedUp(vm, {
        ...(run === undefined ? { asked } : { run, tagging: this.#tagging(group, policy!) }),
        taken: taken?.get(vm),
      });
    }
  }

  /** Each member is retained as its policy says, on the days of the group's schedule. */
  #tagging({ policy }: ModelGroup, ofItem: string): BackupPolicy {
    const { schedule, timeZone } = this.#model.policies.get(policy!)!.body;
    return { ...this.#model.policies.get(ofItem)!.body, schedule, timeZone };
  }
}

function refusalOf(members: readonly ModelItem[]): Refusal {
  const stopped = members.find(({ state }) => !isActive(state));
  return stopped === undefined ? undefined : REFUSALS[stopped.state];
}
