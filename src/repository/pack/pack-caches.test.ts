import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import { BoundedCache } from './bounded-cache.ts';
import { FooterCache, FrameCache } from './pack-caches.ts';
import { testPack } from './pack-fixture.ts';

test('a cache keeps what was used last, up to its limit', async () => {
  const cache = new BoundedCache<Buffer>({ limitBytes: 30, sizeOf: (value) => value.length });
  const load = async (): Promise<Buffer> => Buffer.alloc(10);
  for (const key of ['a', 'b', 'c']) await cache.get(key, load);
  assert.ok(cache.peek('a'));
  await cache.get('d', load);
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((key) => cache.peek(key) !== undefined),
    [true, false, true, true],
  );
  await cache.get('large', async () => Buffer.alloc(31));
  assert.equal(cache.peek('large'), undefined);
  assert.equal(cache.sizeBytes, 30);
});

test('overlapping callers share one load; a failed load is tried again', async () => {
  const cache = new BoundedCache<Buffer>({ limitBytes: 30, sizeOf: (value) => value.length });
  let loads = 0;
  const load = async (): Promise<Buffer> => {
    loads++;
    if (loads === 1) throw new Error('first');
    return Buffer.alloc(1);
  };
  const failed = await Promise.allSettled([cache.get('a', load), cache.get('a', load)]);
  assert.deepEqual(
    failed.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  assert.equal(loads, 1);
  const [one, other] = await Promise.all([cache.get('a', load), cache.get('a', load)]);
  assert.equal(one, other);
  assert.equal(loads, 2);
});

test('frames and tables are read once', async () => {
  const { disk, store, keys, sealed, raws } = await testPack();
  const footers = new FooterCache({ store, keys, limitBytes: 2 ** 20 });
  const frames = new FrameCache({ store, keys, limitBytes: 2 ** 20 });
  const { packId, sizeBytes } = sealed;
  disk.plan = undefined;
  assert.equal(footers.peek(packId), undefined);
  const table = await footers.table({ packId, sizeBytes });
  assert.equal('ids' in table, false);
  assert.equal(footers.peek(packId), table);
  assert.deepEqual((await footers.footer({ packId, sizeBytes })).ids, sealed.footer.ids);
  assert.equal(disk.callCount, 2);
  const [one, other] = await Promise.all([frames.frame(table, 0), frames.frame(table, 0)]);
  assert.equal(one, other);
  assert.deepEqual(frames.peek(table, 0), raws[0]);
  assert.equal(frames.peek(table, 1), undefined);
  assert.equal(disk.callCount, 3);
  disk.objects.clear();
  const gone = (error: unknown): boolean => isHoldfastError(error, 'ObjectNotFound');
  await assert.rejects(frames.frame(table, 1), gone);
});
