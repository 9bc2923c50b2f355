import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError, type Clock } from '#base';
import { CountingStore, MemoryDisk, RetryingStore } from './index.ts';
import {
  bytes,
  listAll,
  readText,
  rejects,
  testObjectStoreContract,
} from './object-store.contract.ts';

/** A clock whose waits pass at once and are written down. */
function quickClock(): { clock: Clock; waits: number[] } {
  const waits: number[] = [];
  const sleep = async (durationMs: number): Promise<void> => {
    waits.push(durationMs);
  };
  return { clock: { nowMs: () => 0, monotonicMs: () => 0, sleep }, waits };
}

testObjectStoreContract('a retrying store', async () => {
  const disk = new MemoryDisk();
  const { clock } = quickClock();
  const retrying = (): RetryingStore => new RetryingStore(disk.store(), { clock });
  return { store: retrying(), other: retrying(), release: async () => {} };
});

test('createIfAbsent that failed after its effect recognises its own object', async () => {
  const disk = new MemoryDisk();
  const store = new RetryingStore(disk.store(), quickClock());
  disk.plan = { atCall: 1, kind: 'transientAfter' };
  assert.equal(await store.createIfAbsent('log/1', bytes('mine')), 'created');
  assert.equal(await readText(store, 'log/1'), 'mine');
});

test('createIfAbsent that failed before another caller won answers exists', async () => {
  for (const text of ['their', 'longer than mine', 'm']) {
    const disk = new MemoryDisk();
    const rival = disk.store();
    const { clock } = quickClock();
    const sleep = async (): Promise<void> =>
      void (await rival.createIfAbsent('log/1', bytes(text)));
    const store = new RetryingStore(disk.store(), { clock: { ...clock, sleep } });
    disk.plan = { atCall: 1, kind: 'transient' };
    assert.equal(await store.createIfAbsent('log/1', bytes('mine!')), 'exists');
    assert.equal(await readText(store, 'log/1'), text);
  }
});

test('an object with equal bytes that was there before the first call is not taken for its own', async () => {
  const store = new RetryingStore(new MemoryDisk().store(), quickClock());
  await store.createIfAbsent('log/1', bytes('same'));
  assert.equal(await store.createIfAbsent('log/1', bytes('same')), 'exists');
});

test('one failure of each repeatable call passes unnoticed', async () => {
  const disk = new MemoryDisk();
  const store = new RetryingStore(disk.store(), quickClock());
  await store.createIfAbsent('a', bytes('x'));
  const calls = [
    () => store.read('a', { maxBytes: 1 }),
    () => store.readRange('a', { offsetBytes: 0, lengthBytes: 1 }),
    () => store.size('a'),
    () => store.openWriter('b'),
    () => listAll(store, ''),
    () => store.discardUnfinished(''),
    () => store.delete('a'),
  ];
  for (const call of calls) {
    disk.plan = { atCall: 1, kind: 'transient' };
    await call();
  }
});

test('waits double up to the limit, then the failure is the caller’s', async () => {
  const disk = new MemoryDisk();
  const { clock, waits } = quickClock();
  const counting = new CountingStore(disk.store());
  const store = new RetryingStore(counting, {
    clock,
    attempts: 5,
    firstDelayMs: 100,
    maxDelayMs: 300,
  });
  disk.plan = { atCall: 1, kind: 'fail' };
  await rejects('StoreFailed', store.size('a'));
  assert.deepEqual(waits, [100, 200, 300, 300]);
  assert.equal(counting.counts.size.calls, 5);
});

test('a stream is never sent again: write and commit fail at once', async () => {
  for (const atCall of [2, 3]) {
    const disk = new MemoryDisk();
    const { clock, waits } = quickClock();
    const store = new RetryingStore(disk.store(), { clock });
    disk.plan = { atCall, kind: 'transient' };
    const writer = await store.openWriter('a');
    const put = async (): Promise<void> => {
      await writer.write(bytes('x'));
      await writer.commit();
    };
    await rejects('StoreFailed', put());
    await writer.abort();
    assert.deepEqual(waits, []);
    assert.equal(disk.objects.size + disk.unfinished.size, 0);
  }
});

test('what no repetition can mend is not repeated', async () => {
  const { clock, waits } = quickClock();
  const disk = new MemoryDisk();
  const store = new RetryingStore(disk.store(), { clock });
  await rejects('ObjectNotFound', store.read('none', { maxBytes: 1 }));
  disk.plan = { atCall: 1, kind: 'full' };
  await assert.rejects(store.createIfAbsent('a', bytes('x')), HoldfastError);
  assert.deepEqual(waits, []);
});
