/** The small decorators: limited, read-only, counting. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeClock } from '#base';
import {
  CountingStore,
  LimitedStore,
  MemoryDisk,
  ReadOnlyStore,
  type ObjectStore,
} from './index.ts';
import {
  bytes,
  listAll,
  readText,
  rejects,
  testObjectStoreContract,
} from './object-store.contract.ts';

testObjectStoreContract('a limited store', async () => {
  const disk = new MemoryDisk();
  const limited = (): LimitedStore =>
    new LimitedStore(disk.store(), { clock: new FakeClock(), maxConcurrentCalls: 2 });
  return { store: limited(), other: limited(), release: async () => {} };
});

testObjectStoreContract('a counting store', async () => {
  const disk = new MemoryDisk();
  const counting = (): CountingStore => new CountingStore(disk.store());
  return { store: counting(), other: counting(), release: async () => {} };
});

/** A store that knows how many of its reads run at once, each ended by `finish`. */
function slowStore(inner: ObjectStore): {
  store: ObjectStore;
  running: () => number;
  finish: () => void;
} {
  const waiting: (() => void)[] = [];
  const store = Object.create(inner) as ObjectStore;
  store.size = async () => {
    await new Promise<void>((resolve) => waiting.push(resolve));
    return 1;
  };
  return { store, running: () => waiting.length, finish: () => waiting.shift()?.() };
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}

describe('a limited store', () => {
  test('lets so many calls run at once, and each end lets one more in', async () => {
    const { store, running, finish } = slowStore(new MemoryDisk().store());
    const limited = new LimitedStore(store, { clock: new FakeClock(), maxConcurrentCalls: 3 });
    const calls = Array.from({ length: 5 }, (_, index) => limited.size(`x/${index}`));
    await settle();
    assert.equal(running(), 3);
    finish();
    await settle();
    assert.equal(running(), 3);
    for (let index = 0; index < 4; index++) {
      finish();
      await settle();
    }
    assert.deepEqual(await Promise.all(calls), [1, 1, 1, 1, 1]);
  });

  test('a failed call gives its place back', async () => {
    const store = new MemoryDisk().store();
    const limited = new LimitedStore(store, { clock: new FakeClock(), maxConcurrentCalls: 1 });
    await rejects('ObjectNotFound', limited.read('none', { maxBytes: 1 }));
    assert.equal(await limited.size('none'), undefined);
  });

  test('a consumer may call the store for each object that it lists', async () => {
    const store = new MemoryDisk().store();
    const limited = new LimitedStore(store, { clock: new FakeClock(), maxConcurrentCalls: 1 });
    for (const name of ['x/1', 'x/2']) await limited.createIfAbsent(name, bytes('x'));
    for await (const { name } of limited.list('x/')) await limited.delete(name);
    assert.deepEqual(await listAll(limited, ''), []);
  });

  test('spreads bytes over time, those of writers and unknown reads included', async () => {
    const clock = new FakeClock();
    const store = new MemoryDisk().store();
    const limited = new LimitedStore(store, { clock, maxConcurrentCalls: 9, bytesPerSecond: 1000 });
    await limited.createIfAbsent('a', Buffer.alloc(500)); // Books the line until 500 ms.
    let done = false;
    const next = limited.createIfAbsent('b', Buffer.alloc(100)).then(() => {
      done = true;
    });
    await settle();
    clock.advance(499);
    await settle();
    assert.equal(done, false);
    clock.advance(1);
    await next;
    await limited.read('a', { maxBytes: 500 }); // Until 1100 ms.
    const writer = await limited.openWriter('c');
    const write = writer.write(bytes('x'));
    await settle();
    assert.equal(writer.writtenBytes, 0);
    clock.advance(600);
    await write;
    assert.equal(writer.writtenBytes, 1);
  });
});

describe('a read-only store', () => {
  test('reads everything and refuses every change before the store beneath hears of it', async () => {
    const disk = new MemoryDisk();
    await disk.store().createIfAbsent('log/1', bytes('kept'));
    const counting = new CountingStore(disk.store());
    const store = new ReadOnlyStore(counting);
    await rejects('StoreReadOnly', store.createIfAbsent('a'));
    await rejects('StoreReadOnly', store.openWriter('a'));
    await rejects('StoreReadOnly', store.delete('log/1'));
    await rejects('StoreReadOnly', store.discardUnfinished(''));
    assert.ok(Object.values(counting.counts).every(({ calls }) => calls === 0));
    assert.equal(await readText(store, 'log/1'), 'kept');
    assert.equal(await store.size('log/1'), 4);
    assert.equal(
      (await store.readRange('log/1', { offsetBytes: 1, lengthBytes: 2 })).toString(),
      'ep',
    );
    assert.deepEqual(await listAll(store, ''), [{ name: 'log/1', sizeBytes: 4 }]);
    await store.close();
  });
});

describe('a counting store', () => {
  test('counts calls and bytes by method, failures as calls without bytes', async () => {
    const store = new CountingStore(new MemoryDisk().store());
    await store.createIfAbsent('a', bytes('12345'));
    await store.createIfAbsent('a', bytes('12345'));
    const writer = await store.openWriter('b');
    await writer.write(bytes('123'));
    await writer.write(bytes('45'));
    await writer.commit();
    await store.readRange('b', { offsetBytes: 0, lengthBytes: 2 });
    await store.read('b', { maxBytes: 9 });
    await rejects('ObjectNotFound', store.read('c', { maxBytes: 9 }));
    await listAll(store, '');
    const { createIfAbsent, openWriter, write, commit, readRange, read, list } = store.counts;
    assert.deepEqual(createIfAbsent, { calls: 2, bytes: 5 });
    assert.deepEqual(openWriter, { calls: 1, bytes: 0 });
    assert.deepEqual(write, { calls: 2, bytes: 5 });
    assert.deepEqual(commit, { calls: 1, bytes: 0 });
    assert.deepEqual(readRange, { calls: 1, bytes: 2 });
    assert.deepEqual(read, { calls: 2, bytes: 5 });
    assert.deepEqual(list, { calls: 1, bytes: 0 });
    store.resetCounts();
    assert.deepEqual(store.counts.read, { calls: 0, bytes: 0 });
  });
});
