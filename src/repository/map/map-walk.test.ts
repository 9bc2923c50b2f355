import assert from 'node:assert/strict';
import { test } from 'node:test';
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
import {
  differingBlocks,
  forEachBlock,
  levelOneIds,
  pagesBelow,
  type BlockRun,
} from './map-walk.ts';
import { MAX_BLOCKS, ZERO_ID, ZERO_PAGE, entryOf, isZeroEntry } from './page.ts';

function randomDisk(random: (limit: number) => number, positions: number[]): Map<number, string> {
  let disk = new Map<number, string>();
  for (let round = 0; round < 12; round++) disk = someChanges(disk, random, positions);
  return disk;
}

function ascending(disk: TestDisk): [number, string][] {
  return [...disk].sort(([a], [b]) => a - b);
}

async function blocksOf(
  pages: TestPages,
  root: Buffer,
  [fromBlock, toBlock]: [number, number],
): Promise<[number, string][]> {
  const found: [number, string][] = [];
  await forEachBlock(
    { pages, root, fromBlock, toBlock },
    ({ firstBlock, page, fromEntry, toEntry }) => {
      for (let entry = fromEntry; entry < toEntry; entry++) {
        if (!isZeroEntry(page, entry))
          found.push([firstBlock + entry, entryOf(page, entry).toString('hex')]);
      }
      return firstBlock % 2 === 0 ? Promise.resolve() : undefined;
    },
  );
  return found;
}

test('blocks of any range come ascending', async () => {
  const random = seededNumbers(1);
  const positions = somePositions(random);
  const pages = new TestPages();
  const disk = randomDisk(random, positions);
  const root = buildMap(pages, disk);
  assert.deepEqual(await blocksOf(pages, root, [0, MAX_BLOCKS]), ascending(disk));
  for (let round = 0; round < 100; round++) {
    const [a = 0, b = 0] = [0, 0].map(() => (positions[random(positions.length)] ?? 0) + random(3));
    const range: [number, number] = [Math.min(a, b), Math.min(MAX_BLOCKS, Math.max(a, b))];
    const expected = ascending(disk).filter(([block]) => block >= range[0] && block < range[1]);
    assert.deepEqual(await blocksOf(pages, root, range), expected);
  }
});

test('a promise of the visitor is awaited before the next leaf', async () => {
  const pages = new TestPages('all');
  const root = buildMap(pages, new Map([0, 100, 200].map((block) => [block, blockId(block)])));
  let running = 0;
  await forEachBlock({ pages, root, fromBlock: 0, toBlock: 1000 }, async () => {
    assert.equal(++running, 1);
    await Promise.resolve();
    running--;
  });
  const failing = forEachBlock({ pages, root, fromBlock: 0, toBlock: 1000 }, async () => {
    throw new Error('full');
  });
  await assert.rejects(failing, /full/);
});

test('differences of two maps are maximal runs', async () => {
  const random = seededNumbers(2);
  const positions = somePositions(random);
  const pages = new TestPages();
  for (let round = 0; round < 60; round++) {
    const one = randomDisk(random, positions);
    const other =
      round % 3 === 0 ? randomDisk(random, positions) : someChanges(one, random, positions);
    if (round === 5) for (let block = 30; block < 300; block++) other.set(block, blockId(block));
    const expected: BlockRun[] = [];
    const blocks = new Set([...one.keys(), ...other.keys()]);
    for (const block of [...blocks].sort((a, b) => a - b)) {
      if (one.get(block) === other.get(block)) continue;
      const last = expected.at(-1);
      if (last !== undefined && last.firstBlock + last.blockCount === block) {
        expected[expected.length - 1] = { ...last, blockCount: last.blockCount + 1 };
      } else expected.push({ firstBlock: block, blockCount: 1 });
    }
    const roots = { a: buildMap(pages, one), b: buildMap(pages, other) };
    assert.deepEqual(await Array.fromAsync(differingBlocks(pages, roots)), expected);
  }
  assert.deepEqual(await Array.fromAsync(differingBlocks(pages, { a: ZERO_ID, b: ZERO_ID })), []);
});

test('the pages of a map are visited, the root first, and left out below a refusal', async () => {
  const pages = new TestPages();
  const disk = randomDisk(seededNumbers(3), somePositions(seededNumbers(3)));
  const root = buildMap(pages, disk);
  const seen = new Set<string>();
  let first: string | undefined;
  await pagesBelow({ pages, root }, (id) => {
    first ??= id.toString('hex');
    seen.add(id.toString('hex'));
    return true;
  });
  assert.equal(first, root.toString('hex'));
  assert.deepEqual(seen, new Set(pages.stored.keys()));
  let visits = 0;
  await pagesBelow({ pages, root }, (_, { level }) => {
    visits++;
    return level > 4;
  });
  const entries = pages.stored.get(root.toString('hex')) ?? ZERO_PAGE;
  const children = Array.from({ length: 64 }, (_, entry) => !isZeroEntry(entries, entry));
  assert.equal(visits, 1 + children.filter(Boolean).length);
});

test('ids of level-1 pages of a range are those of the map, zero where there is none', async () => {
  const pages = new TestPages();
  const disk = new Map(
    [0, 4095, 4096, 4096 * 64 * 2, 4096 * 200 + 7].map((block) => [block, blockId(block)]),
  );
  const expected = buildLevels(pages, disk, 2);
  const root = buildMap(pages, disk);
  for (const [fromPage, toPage] of [
    [0, 1],
    [0, 300],
    [1, 129],
    [150, 150],
    [200, 201],
  ] as const) {
    const ids = await levelOneIds({ pages, root, fromPage, toPage });
    assert.equal(ids.length, (toPage - fromPage) * 16);
    for (let number = fromPage; number < toPage; number++) {
      assert.deepEqual(entryOf(ids, number - fromPage), expected.get(number) ?? ZERO_ID);
    }
  }
});
