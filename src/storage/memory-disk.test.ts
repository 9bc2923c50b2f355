import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  MemoryDisk,
  type FaultKind,
  type FaultPlan,
  type ListingMode,
  type ObjectStore,
} from './index.ts';
import {
  bytes,
  listAll,
  readText,
  rejects,
  testObjectStoreContract,
} from './object-store.contract.ts';

testObjectStoreContract('memory', async () => {
  const disk = new MemoryDisk();
  return { store: disk.store(), other: disk.store(), release: async () => {} };
});

/** A little session: two objects streamed, one entry created. */
async function session(store: ObjectStore): Promise<void> {
  for (const name of ['packs/1', 'packs/2']) {
    const writer = await store.openWriter(name);
    await writer.write(bytes('half'));
    await writer.write(bytes('half'));
    await writer.commit();
  }
  await store.createIfAbsent('log/1', bytes('done'));
}

const SESSION_CALLS = 9;

test('without faults the calls of a session are counted, writer calls included', async () => {
  const disk = new MemoryDisk();
  await session(disk.store());
  assert.equal(disk.callCount, SESSION_CALLS);
});

test('after a deadly fault at any call, every later call fails until the disk is reopened', async () => {
  for (const kind of ['fail', 'failAfter', 'torn', 'powerLoss'] as const) {
    for (let atCall = 1; atCall <= SESSION_CALLS; atCall++) {
      const disk = new MemoryDisk();
      const store = disk.store();
      const plan: FaultPlan = { atCall, kind };
      disk.plan = plan;
      await rejects('StoreFailed', session(store));
      await rejects('StoreFailed', store.size('log/1'));
      const next = disk.reopen();
      await rejects('StoreFailed', store.size('log/1'));
      for (const { name, sizeBytes } of await listAll(next, '')) {
        assert.equal(sizeBytes, name === 'log/1' ? 4 : 8, `${kind} at ${atCall}: ${name}`);
      }
      assert.equal((await next.size('log/1')) !== undefined, kind === 'failAfter' && atCall === 9);
      if (kind === 'powerLoss') assert.equal(disk.unfinished.size, 0);
      await next.discardUnfinished('');
      assert.equal(disk.unfinished.size, 0);
    }
  }
});

test('transient faults fail one call, before or after its effect', async () => {
  const disk = new MemoryDisk();
  const store = disk.store();
  disk.plan = { atCall: 1, kind: 'transient' };
  await rejects('StoreFailed', store.createIfAbsent('a', bytes('x')));
  assert.equal(await store.size('a'), undefined);
  disk.plan = { atCall: 1, kind: 'transientAfter' };
  await rejects('StoreFailed', store.createIfAbsent('a', bytes('x')));
  assert.equal(await store.size('a'), 1);
  disk.plan = { atCall: 1, kind: 'full' };
  await rejects('StoreFull', store.createIfAbsent('b', bytes('x')));
});

test('tornVisible breaks the contract on purpose: half an object is visible', async () => {
  const disk = new MemoryDisk();
  disk.plan = { atCall: 1, kind: 'tornVisible' };
  await rejects('StoreFailed', disk.store().createIfAbsent('a', bytes('0123456789')));
  assert.equal(await readText(disk.reopen(), 'a'), '01234');
});

test('a bit flips in one read, or at rest for good', async () => {
  const disk = new MemoryDisk();
  const store = disk.store();
  await store.createIfAbsent('a', Buffer.alloc(8));
  const onesIn = async (): Promise<number> =>
    [...(await store.read('a', { maxBytes: 8 }))].filter((byte) => byte !== 0).length;
  disk.plan = { atCall: 1, kind: 'bitFlip' };
  assert.equal(await onesIn(), 1);
  assert.equal(await onesIn(), 0);
  disk.flipBit('a', 9);
  assert.deepEqual([...(await store.read('a', { maxBytes: 8 }))], [0, 2, 0, 0, 0, 0, 0, 0]);
  disk.flipBit('a', 9);
  disk.plan = { atCall: 1, kind: 'bitFlipAtRest' };
  await store.size('a');
  assert.equal(await onesIn(), 1);
  assert.equal(await onesIn(), 1);
});

test('partial listings miss objects that a direct look finds, and the seed repeats them', async () => {
  const listing: ListingMode = 'partial';
  const shown = async (seed: number): Promise<string[]> => {
    const disk = new MemoryDisk({ seed, listing });
    const store = disk.store();
    for (let index = 0; index < 60; index++) await store.createIfAbsent(`x/${index}`, bytes('x'));
    return (await listAll(store, 'x/')).map(({ name }) => name);
  };
  const first = await shown(7);
  assert.ok(first.length > 20 && first.length < 55, `${first.length} of 60`);
  assert.deepEqual(await shown(7), first);
  assert.notDeepEqual(await shown(8), first);
});

test('stale listings show deleted objects and miss new ones', async () => {
  const disk = new MemoryDisk({ listing: 'stale' });
  const store = disk.store();
  for (let index = 0; index < 10; index++) await store.createIfAbsent(`x/${index}`, bytes('x'));
  await store.delete('x/0');
  const names = (await listAll(store, 'x/')).map(({ name }) => name).toSorted();
  assert.deepEqual(names, ['x/0', 'x/1', 'x/2']);
});

test('the same seed and plan end the same', async () => {
  const kinds: FaultKind[] = ['fail', 'failAfter', 'torn', 'powerLoss', 'tornVisible', 'bitFlip'];
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: SESSION_CALLS }),
      fc.constantFrom(...kinds),
      async (atCall, kind) => {
        const run = async (): Promise<unknown> => {
          const disk = new MemoryDisk({ seed: 3 });
          disk.plan = { atCall, kind };
          await session(disk.store()).catch(() => undefined);
          return { objects: [...disk.objects], unfinished: [...disk.unfinished] };
        };
        assert.deepEqual(await run(), await run());
      },
    ),
  );
});
