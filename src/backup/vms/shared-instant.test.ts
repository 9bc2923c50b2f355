import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { FakeClock, HoldfastError, isHoldfastError } from '#base';
import type { ReadyPoint } from '#repository';
import { InstantOfSeveral, type InstantOptions } from './shared-instant.ts';

const VMS = ['web', 'db'];

/** What happens, in its order. */
function instantOf(options: Partial<InstantOptions> = {}) {
  const clock = new FakeClock();
  const done: string[] = [];
  const instant = new InstantOfSeveral({
    group: { id: '1', points: [] },
    vms: VMS,
    clock,
    commit: async (points) => {
      await turn();
      done.push(`commit ${points.map(({ session }) => session).join(' ')}`);
    },
    inTurn: async (transfers) => await transfers(),
    ...options,
  });
  const note = async (what: string, work: Promise<unknown>): Promise<void> => {
    await work;
    done.push(what);
  };
  return { instant, clock, done, note };
}

const ready = (session: string): ReadyPoint => ({ session }) as ReadyPoint;
const settle = async (): Promise<void> => {
  for (let turns = 0; turns < 10; turns += 1) await turn();
};

test('nobody is frozen before all are ready, nor goes on before all have their snapshot', async () => {
  const { instant, done, note } = instantOf();
  const [web, db] = VMS.map((vm) => instant.of(vm));
  const all = [note('web ready', web!.ready())];
  await settle();
  assert.deepEqual(done, []);
  all.push(note('db ready', db!.ready()));
  await settle();
  assert.deepEqual(done, ['web ready', 'db ready']);
  all.push(note('db quiet', db!.quiet({ waits: true })));
  await settle();
  assert.equal(done.length, 2);
  all.push(note('web quiet', web!.quiet({ waits: true })));
  await settle();
  assert.equal(done.length, 4);
  all.push(note('web goes on', web!.atRest()));
  await settle();
  assert.equal(done.length, 4);
  all.push(note('db goes on', db!.atRest()));
  await Promise.all(all);
  assert.equal(done.length, 6);
});

test('a VM that is off has its snapshot before the others are frozen, and they wait for that', async () => {
  const { instant, done, note } = instantOf();
  const [web, off] = VMS.map((vm) => instant.of(vm));
  const all = [note('web ready', web!.ready())];
  await off!.quiet({ waits: false });
  await all[0];
  all.push(note('web quiet', web!.quiet({ waits: true })));
  await settle();
  assert.deepEqual(done, ['web ready']);
  all.push(note('off', off!.atRest()));
  await settle();
  assert.deepEqual(done, ['web ready', 'web quiet']);
  await web!.atRest();
  await Promise.all(all);
});

test('transfers follow one another in the order of the VMs, and one commit follows them', async () => {
  const { instant, done } = instantOf();
  const backUp = async (vm: string): Promise<void> => {
    const shared = instant.of(vm);
    await shared.ready();
    await shared.quiet({ waits: true });
    await shared.atRest();
    await shared.inTurn(async () => {
      done.push(`${vm} begins`);
      await settle();
      done.push(`${vm} ends`);
    });
    await shared.committed(ready(vm));
    done.push(`${vm} is visible`);
  };
  await Promise.all(VMS.toReversed().map(backUp));
  assert.deepEqual(done.slice(0, 5), [
    'web begins',
    'web ends',
    'db begins',
    'db ends',
    'commit web db',
  ]);
  assert.deepEqual(done.slice(5).toSorted(), ['db is visible', 'web is visible']);
});

test('one that fails fails all: whoever waits is told, what is under way is ended, nothing is committed', async () => {
  for (const stage of ['ready', 'atRest', 'committed'] as const) {
    const { instant, done } = instantOf();
    const web = instant.of('web');
    const waiting =
      stage === 'committed' ? web.committed(ready('web')) : (web[stage]() as Promise<void>);
    const refused = assert.rejects(waiting, (error) => isHoldfastError(error, 'Cancelled'));
    const failure = new HoldfastError('VmBusy', 'no');
    instant.fail(failure);
    await refused;
    assert.equal(instant.failure, failure);
    assert.equal(instant.signal.aborted, true);
    await assert.rejects(instant.of('db').ready());
    assert.deepEqual(done, []);
    instant.fail(new Error('later'));
    assert.equal(instant.failure, failure, 'the first counts');
  }
});

test('a VM that is late with its snapshot is named, and the others stand still no longer', async () => {
  const { instant, clock } = instantOf();
  const [web, db] = VMS.map((vm) => instant.of(vm));
  await Promise.all([web!.quiet({ waits: true }), db!.quiet({ waits: true })]);
  const standing = assert.rejects(web!.atRest());
  await settle();
  clock.advance(7999);
  await settle();
  assert.equal(instant.failure, undefined);
  clock.advance(1);
  await standing;
  assert.match(instant.failure!.message, /"db" took more than 8 s/);
});

test('a turn that never comes, and a commit that fails, fail all with their reason', async () => {
  const cancelled = new HoldfastError('Cancelled', 'while it waited');
  const turnless = instantOf({ inTurn: async () => await Promise.reject(cancelled) });
  const through = async (instant: InstantOfSeveral, vm: string): Promise<void> => {
    const shared = instant.of(vm);
    await shared.inTurn(async () => await settle());
    await shared.committed(ready(vm));
  };
  await assert.rejects(Promise.all(VMS.map((vm) => through(turnless.instant, vm))));
  assert.equal(turnless.instant.failure, cancelled);
  const full = new HoldfastError('StoreFull', 'no room');
  const uncommitted = instantOf({ commit: async () => await Promise.reject(full) });
  const outcomes = await Promise.allSettled(VMS.map((vm) => through(uncommitted.instant, vm)));
  for (const one of outcomes) assert.equal(one.status === 'rejected' && one.reason, full);
  assert.equal(uncommitted.instant.failure, full);
});

test('who comes after a failure is refused, and nothing begins because all have come', async () => {
  const turns: string[] = [];
  const { instant } = instantOf({ inTurn: async () => void turns.push('turn') });
  const web = assert.rejects(instant.of('web').inTurn(async () => await settle()));
  instant.fail(new Error('no'));
  await web;
  await assert.rejects(instant.of('db').inTurn(async () => await settle()));
  await settle();
  assert.deepEqual(turns, []);
});
