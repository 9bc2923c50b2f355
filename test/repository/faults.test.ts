/**
 * A fault at every storage call of every operation: the repository is then opened again as the disk is,
 * and must be sound (soundness.ts), with every point that was there before. `npm run test:long` tries
 * every kind of fault at every call; `npm test` every call, with kinds in turn.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import type { Repository } from '#repository';
import type { FaultKind } from '#storage';
import { diskOf, OPERATIONS, type Operation } from './faulted-operations.ts';
import { assertSound, visibleOf } from './soundness.ts';
import { World } from './world.ts';

const isLong = process.env['HOLDFAST_TEST_LONG'] !== undefined;
const DEADLY = ['fail', 'failAfter', 'torn', 'powerLoss'] as const;
const KINDS: readonly FaultKind[] = [...DEADLY, 'full', 'transient', 'transientAfter'];
/** In `npm test`, so many kinds at each call; opening's calls get the others in other operations. */
const KINDS_A_CALL = 1;
/** Trials under way at a time: they wait for files more than they compute. */
const TRIALS = 4;

for (const [at, operation] of OPERATIONS.entries()) {
  test(`${operation.name} may fail at any storage call`, async (t) => {
    const prepared = new World({ seed: 7, memtableRecords: 256 });
    try {
      await operation.prepare(prepared);
      const calls = await countCalls(operation, prepared);
      const faults = faultsOf(calls, isLong ? KINDS.length : KINDS_A_CALL, at);
      const next = faults.values();
      const work = async (): Promise<void> => {
        for (const fault of next) await tryFault(operation, prepared, fault);
      };
      await Promise.all(Array.from({ length: TRIALS }, work));
      t.diagnostic(`${calls} calls, ${faults.length} faults`);
    } finally {
      prepared.remove();
    }
  });
}

function faultsOf(calls: number, kindsACall: number, offset: number): Fault[] {
  return Array.from({ length: calls * kindsACall }, (_, at) => ({
    atCall: 1 + Math.floor(at / kindsACall),
    kind: KINDS[(at + offset) % KINDS.length]!,
  }));
}

async function countCalls(operation: Operation, prepared: World): Promise<number> {
  const world = prepared.clone();
  try {
    world.disk.plan = undefined;
    await operation.run(world, () => undefined);
    return world.disk.callCount;
  } finally {
    world.remove();
  }
}

type Fault = { readonly atCall: number; readonly kind: FaultKind };

async function tryFault(operation: Operation, prepared: World, fault: Fault): Promise<void> {
  const world = prepared.clone();
  try {
    await runFaulted(operation, world, fault);
    await assertRecovers(operation, prepared, world);
  } catch (error) {
    throw new Error(`${operation.name}, ${fault.kind} at call ${fault.atCall}`, { cause: error });
  } finally {
    world.remove();
  }
}

/** Runs until the fault; then the process is dead, or lives and gives up in good order. */
async function runFaulted(operation: Operation, world: World, fault: Fault): Promise<void> {
  let repository: Repository | undefined;
  world.disk.plan = fault;
  try {
    await operation.run(world, (opened) => {
      repository = opened;
    });
  } catch (error) {
    assert.ok(isHoldfastError(error), String(error));
    const isDead = DEADLY.some((kind) => kind === fault.kind);
    if (!isDead) await repository?.close().catch(assertOperatingError);
    await repository?.abandon();
  }
  world.disk.restart();
}

function assertOperatingError(error: unknown): void {
  assert.ok(isHoldfastError(error), String(error));
}

async function assertRecovers(operation: Operation, prepared: World, world: World): Promise<void> {
  const repository = await world.open();
  try {
    const mayGo = operation.expires ?? 0;
    const visible = new Set(visibleOf(repository));
    const gone = [...prepared.expected.keys()].filter((point) => !visible.has(point));
    const before = await goneBefore(prepared);
    const lost = gone.filter((point) => !before.includes(point));
    assert.ok(lost.length <= mayGo, `points are gone: ${lost.join(', ')}`);
    await assertSound(world, repository, { item: 'web', disks: diskOf(30) });
  } finally {
    await repository.close();
  }
}

const goneIn = new WeakMap<World, readonly string[]>();

/** Points that the preparation has expired. */
async function goneBefore(prepared: World): Promise<readonly string[]> {
  const known = goneIn.get(prepared);
  if (known !== undefined) return known;
  const world = prepared.clone();
  try {
    const repository = await world.open();
    const visible = visibleOf(repository);
    await repository.abandon();
    const gone = [...prepared.expected.keys()].filter((point) => !visible.includes(point));
    goneIn.set(prepared, gone);
    return gone;
  } finally {
    world.remove();
  }
}
