/**
 * Random histories of what users do with items, against a small model. Now and then a change is killed before or
 * after one of its documents, or before its catalogue: then the next start must show it whole, or not at all.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import { backUpNow } from './backing-up/start-backup.ts';
import { examine } from './doctor/doctor.ts';
import { listItems, type ItemName } from './items/items.ts';
import { deleteData, protect, stopByPolicy, stopRetaining, undelete } from './items/protect.ts';
import { listPoints } from './points/points.ts';
import type { Service } from './service.ts';
import { seeded } from './testing/seeded.ts';
import {
  addImages,
  endOf,
  GROUP,
  testService,
  VAULT,
  withVault,
  type TestService,
} from './testing/test-service.ts';
import { getVault } from './vaults/vaults.ts';

const isLong = process.env['HOLDFAST_TEST_LONG'] !== undefined;
const STEPS = isLong ? 600 : 60;
const VMS = ['a', 'b', 'c'];
/** One change in so many is killed. */
const ONE_KILLED = 4;

const ACTIONS = ['protect', 'backup', 'stop', 'suspend', 'delete', 'undelete', 'restart'] as const;
type Action = (typeof ACTIONS)[number];

/** Of one VM; undefined: it is not protected. */
type Modelled = { readonly state: string; readonly points: number } | undefined;

/** What follows from which state; `active`: IRPending without points, Protected with some. */
const NEXT: Readonly<Record<Exclude<Action, 'restart'>, Readonly<Record<string, string>>>> = {
  protect: {
    none: 'active',
    IRPending: 'active',
    Protected: 'active',
    ProtectionStopped: 'active',
    BackupsSuspended: 'active',
  },
  backup: { IRPending: 'Protected', Protected: 'Protected' },
  stop: {
    IRPending: 'ProtectionStopped',
    Protected: 'ProtectionStopped',
    BackupsSuspended: 'ProtectionStopped',
  },
  suspend: { Protected: 'BackupsSuspended' },
  delete: {
    IRPending: 'SoftDeleted',
    Protected: 'SoftDeleted',
    ProtectionStopped: 'SoftDeleted',
    BackupsSuspended: 'SoftDeleted',
  },
  undelete: { SoftDeleted: 'ProtectionStopped' },
};

function expected(before: Modelled, action: Exclude<Action, 'restart'>): Modelled | 'refused' {
  const { state, points } = before ?? { state: 'none', points: 0 };
  const next = NEXT[action][state];
  if (next === undefined) return 'refused';
  const active = points > 0 ? 'Protected' : 'IRPending';
  return {
    state: next === 'active' ? active : next,
    points: action === 'backup' ? points + 1 : points,
  };
}

class Killed extends Error {}

/** The service as it is to a change that is killed after so many of its steps. */
function killedAfter(service: Service, steps: number): Service {
  let left = steps;
  const step = (): void => {
    left -= 1;
    if (left < 0) throw new Killed();
  };
  const { repositories, catalogue } = service;
  return {
    ...service,
    repositories: {
      ...repositories,
      remember: async (...document) => {
        step();
        return await repositories.remember(...document);
      },
    },
    catalogue: {
      ...catalogue,
      change: async (work) => {
        step();
        return await catalogue.change(work);
      },
    },
  };
}

async function act(service: Service, vm: string, action: Action): Promise<void> {
  const name: ItemName = { vault: VAULT, vm: { group: GROUP, name: vm } };
  if (action === 'protect') await protect(service, name, { policy: 'DefaultPolicy' });
  else if (action === 'stop') await stopRetaining(service, name);
  else if (action === 'suspend') await stopByPolicy(service, name);
  else if (action === 'delete') await deleteData(service, name);
  else if (action === 'undelete') await undelete(service, name);
  else if (action === 'backup') {
    const { jobId } = await backUpNow(service, name, undefined);
    const { id } = await getVault(service.catalogue.read, VAULT);
    const job = await endOf(service, id, jobId);
    assert.equal(job.status, 'Completed', JSON.stringify(job));
  }
}

async function stateOf(service: Service): Promise<ReadonlyMap<string, Modelled>> {
  const { read } = service.catalogue;
  const all = new Map<string, Modelled>();
  for (const { id, vmName, state } of await listItems(read, VAULT)) {
    all.set(vmName, { state, points: (await listPoints(read, id)).length });
  }
  return all;
}

async function assertAgrees(
  made: TestService,
  model: ReadonlyMap<string, Modelled>,
): Promise<void> {
  const plain = (of: ReadonlyMap<string, Modelled>) =>
    VMS.map((vm) => [vm, of.get(vm)] as const).filter(([, item]) => item !== undefined);
  assert.deepEqual(plain(await stateOf(made.service())), plain(model));
}

/** One history: the service, the model, and what was done so far. */
class History {
  readonly story: string[] = [];
  readonly counts = { done: 0, refused: 0, killed: 0 };
  readonly #made: TestService;
  readonly #random: (limit: number) => number;
  readonly #model = new Map<string, Modelled>();

  constructor(made: TestService, random: (limit: number) => number) {
    this.#made = made;
    this.#random = random;
  }

  async step(): Promise<void> {
    const [vm, action] = [this.#pick(VMS), this.#pick(ACTIONS)];
    const isKilled = action !== 'backup' && this.#random(ONE_KILLED) < 1;
    this.story.push(`${action} ${vm}${isKilled ? ' killed' : ''}`);
    if (action === 'restart') await this.#made.restart();
    else {
      const after = expected(this.#model.get(vm), action);
      if (isKilled) await this.#killed(vm, action, after);
      else await this.#whole(vm, action, after);
    }
    await assertAgrees(this.#made, this.#model);
    const findings = await examine(this.#made.service());
    assert.deepEqual(
      findings.filter(({ severity }) => severity === 'error'),
      [],
    );
  }

  async #whole(vm: string, action: Action, after: Modelled | 'refused'): Promise<void> {
    if (after === 'refused') {
      await assert.rejects(act(this.#made.service(), vm, action), (error) =>
        isHoldfastError(error),
      );
      this.counts.refused += 1;
      return;
    }
    await act(this.#made.service(), vm, action);
    this.#model.set(vm, after);
    this.counts.done += 1;
  }

  /** Its one document is durable, or it is not; the catalogue learns it at the start. */
  async #killed(vm: string, action: Action, after: Modelled | 'refused'): Promise<void> {
    const steps = Math.floor(this.#random(2));
    const dying = act(killedAfter(this.#made.service(), steps), vm, action);
    await assert.rejects(dying, (error) =>
      after === 'refused' ? isHoldfastError(error) : error instanceof Killed,
    );
    await this.#made.restart();
    if (after !== 'refused' && steps === 1) this.#model.set(vm, after);
    this.counts.killed += 1;
  }

  #pick<Of>(all: readonly Of[]): Of {
    return all[Math.floor(this.#random(all.length))]!;
  }
}

test(`in ${STEPS} random steps, some of them killed, items and points are as a small model says`, async (t) => {
  const seed = Number(process.env['HOLDFAST_TEST_SEED'] ?? Date.now() % 1_000_000);
  t.diagnostic(`seed ${seed}; again: HOLDFAST_TEST_SEED=${seed}`);
  const made = await testService(t, { settings: { repositoryIdleMs: 5000 } });
  for (const vm of VMS) addImages(made, vm, [{ name: 'os', sizeBytes: 4096 }]);
  await withVault(made);
  const history = new History(made, seeded(seed));
  for (let step = 0; step < STEPS; step += 1) {
    try {
      await history.step();
    } catch (error) {
      throw new Error(`seed ${seed}, step ${step}: ${history.story.join(', ')}`, { cause: error });
    }
  }
  t.diagnostic(JSON.stringify(history.counts));
});
