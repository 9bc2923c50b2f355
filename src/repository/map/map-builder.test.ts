import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rewriteMap, truncateMap } from './map-builder.ts';
import {
  TestPages,
  blockId,
  buildLevels,
  buildMap,
  seededNumbers,
  someChanges,
  somePositions,
  type TestDisk,
} from './map-fixture.ts';
import { MAX_BLOCKS, ZERO_ID } from './page.ts';

function changesBetween(pages: TestPages, one: TestDisk, other: TestDisk): Map<number, Buffer> {
  const [before, after] = [buildLevels(pages, one, 2), buildLevels(pages, other, 2)];
  const numbers = new Set([...before.keys(), ...after.keys()]);
  const changes = new Map<number, Buffer>();
  for (const number of numbers) {
    const id = after.get(number) ?? ZERO_ID;
    if (before.get(number)?.equals(id) !== true) changes.set(number, id);
  }
  return changes;
}

test('a rewritten map equals the map built from scratch', async () => {
  const random = seededNumbers(1);
  const positions = somePositions(random);
  const pages = new TestPages();
  let disk: TestDisk = new Map();
  let root: Buffer = ZERO_ID;
  for (let round = 0; round < 150; round++) {
    const next =
      round % 40 === 39 ? new Map<number, string>() : someChanges(disk, random, positions);
    const changes = changesBetween(pages, disk, next);
    root = await rewriteMap({ pages, oldRoot: root, changes, putPage: pages.put });
    assert.deepEqual(root, buildMap(pages, next));
    disk = next;
  }
});

test('only pages above a change are put, each after those it names', async () => {
  const pages = new TestPages();
  const disk = new Map(somePositions(seededNumbers(2)).map((block) => [block, blockId(block)]));
  const oldRoot = buildMap(pages, disk);
  const next = new Map(disk).set(77, blockId(1));
  const changes = changesBetween(pages, disk, next);
  const known = new Set(pages.stored.keys());
  let puts = 0;
  const putPage = async (page: Buffer): Promise<Buffer> => {
    for (let start = 0; start < page.length; start += 16) {
      const id = page.subarray(start, start + 16);
      assert.ok(id.equals(ZERO_ID) || known.has(id.toString('hex')));
    }
    puts++;
    const id = pages.put(page);
    known.add(id.toString('hex'));
    return id;
  };
  assert.deepEqual(await rewriteMap({ pages, oldRoot, changes, putPage }), buildMap(pages, next));
  assert.equal(puts, 4);
  const same = { pages, oldRoot, putPage: () => assert.fail() };
  assert.deepEqual(await rewriteMap({ ...same, changes: new Map() }), oldRoot);
  const unchanged = new Map([[0, buildLevels(pages, disk, 2).get(0) ?? ZERO_ID]]);
  assert.deepEqual(await rewriteMap({ ...same, changes: unchanged }), oldRoot);
});

test('a truncated map equals the map of what is left', async () => {
  const random = seededNumbers(3);
  const positions = somePositions(random);
  const pages = new TestPages();
  const disk = new Map(positions.map((block) => [block, blockId(block % 9)]));
  const root = buildMap(pages, disk);
  const counts = positions.flatMap((block) => [block, Math.min(MAX_BLOCKS, block + 1)]);
  for (const blockCount of [0, 1, 64, 4096, 64 ** 5, MAX_BLOCKS, ...counts]) {
    const left = new Map([...disk].filter(([block]) => block < blockCount));
    const found = await truncateMap({ pages, root, blockCount, putPage: pages.put });
    assert.deepEqual(found, buildMap(pages, left), `${blockCount}`);
  }
  const putPage = (): Buffer => assert.fail();
  assert.deepEqual(await truncateMap({ pages, root: ZERO_ID, blockCount: 5, putPage }), ZERO_ID);
  assert.deepEqual(await truncateMap({ pages, root, blockCount: MAX_BLOCKS, putPage }), root);
});

test('page numbers outside the map are bugs', async () => {
  const pages = new TestPages();
  for (const number of [-1, 0.5, 64 ** 4]) {
    const changes = new Map([[number, ZERO_ID]]);
    await assert.rejects(rewriteMap({ pages, oldRoot: ZERO_ID, changes, putPage: pages.put }));
  }
});
