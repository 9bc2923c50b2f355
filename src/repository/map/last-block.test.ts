import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError } from '#base';
import { lastBlockWithin } from './last-block.ts';
import {
  TestPages,
  blockId,
  buildMap,
  seededNumbers,
  someChanges,
  somePositions,
} from './map-fixture.ts';
import { LEVELS, MAX_BLOCKS, ZERO_ID, type BlockRange } from './page.ts';

const WHOLE = [{ fromBlock: 0, toBlock: MAX_BLOCKS }];

test('the last block that is not zero is found in any ranges of any disk', async () => {
  const random = seededNumbers(7);
  const positions = somePositions(random);
  for (let round = 0; round < 200; round++) {
    let disk = new Map<number, string>();
    for (let count = random(6); count > 0; count--) disk = someChanges(disk, random, positions);
    const edges = new Set<number>();
    while (edges.size < 6) edges.add(positions[random(positions.length)]! + random(3));
    const sorted = [...edges].sort((a, b) => a - b);
    const within: BlockRange[] = [0, 2, 4].map((at) => ({
      fromBlock: sorted[at]!,
      toBlock: Math.min(sorted[at + 1]!, MAX_BLOCKS),
    }));
    const inside = [...disk.keys()].filter((block) =>
      within.some(({ fromBlock, toBlock }) => block >= fromBlock && block < toBlock),
    );
    const pages = new TestPages();
    const found = await lastBlockWithin({ pages, root: buildMap(pages, disk), within });
    const wanted = inside.length === 0 ? undefined : Math.max(...inside);
    assert.deepEqual(found, wanted === undefined ? undefined : { block: wanted, isReadable: true });
  }
});

test('of a large full disk one page a level is read; a disk of zeros has no such block', async () => {
  const pages = new TestPages();
  const disk = new Map(Array.from({ length: 3 * 4096 }, (_, block) => [block, blockId(block)]));
  const root = buildMap(pages, disk);
  pages.reads = 0;
  const found = await lastBlockWithin({ pages, root, within: WHOLE });
  assert.deepEqual(found, { block: 3 * 4096 - 1, isReadable: true });
  assert.ok(pages.reads <= LEVELS, `${pages.reads}`);
  assert.equal(await lastBlockWithin({ pages, root: ZERO_ID, within: WHOLE }), undefined);
  assert.equal(await lastBlockWithin({ pages, root, within: [] }), undefined);
});

test('where a page cannot be read, the last block that it may hold is told, and that it is not known', async () => {
  const pages = new TestPages('none');
  const root = buildMap(pages, new Map([[5, blockId(1)]]));
  const damaged = {
    cached: () => undefined,
    page: async () => {
      throw new HoldfastError('ObjectDamaged', 'a page');
    },
  };
  assert.deepEqual(
    await lastBlockWithin({ pages: damaged, root, within: [{ fromBlock: 2, toBlock: 9 }] }),
    { block: 8, isReadable: false },
  );
  const away = new HoldfastError('StoreFull', 'the store');
  const absent = { ...damaged, page: async () => Promise.reject(away) };
  await assert.rejects(lastBlockWithin({ pages: absent, root, within: WHOLE }), away);
});
