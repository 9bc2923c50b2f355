import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  TestPages,
  blockId,
  buildMap,
  seededNumbers,
  someChanges,
  somePositions,
  type TestDisk,
} from './map-fixture.ts';
import { LEVELS, PAGE_ENTRIES, ZERO_ID, entryOf, isZeroId } from './page.ts';
import type { PlacementSink } from './placement.ts';
import { pointAdded, pointRemoved } from './placement-walk.ts';

type Point = { readonly root: Buffer; readonly disk: TestDisk; owned: number };

class Counts {
  readonly byId = new Map<string, number>();
  readonly sink: PlacementSink = (kind, id, delta) =>
    this.add(`${kind} ${id.toString('hex')}`, delta);

  add(key: string, delta: number): void {
    const count = (this.byId.get(key) ?? 0) + delta;
    assert.ok(count >= 0, `${key} falls below zero`);
    if (count === 0) this.byId.delete(key);
    else this.byId.set(key, count);
  }
}

/** Counts every run of every position of every chain, one position at a time. */
function bruteCounts(pages: TestPages, chains: readonly Point[][]): Map<string, number> {
  const counts = new Counts();
  const walk = (ids: readonly Buffer[], level: number): void => {
    if (ids.every(isZeroId)) return;
    for (const [index, id] of ids.entries()) {
      const before = ids[index - 1];
      if (isZeroId(id) || before?.equals(id) === true) continue;
      counts.add(`${level < 0 ? 'block' : 'page'} ${id.toString('hex')}`, 1);
    }
    if (level < 0) return;
    const found = ids.map((id) => pages.stored.get(id.toString('hex')));
    for (let entry = 0; entry < PAGE_ENTRIES; entry++) {
      walk(
        found.map((page) => (page === undefined ? ZERO_ID : entryOf(page, entry))),
        level - 1,
      );
    }
  };
  for (const chain of chains) {
    if (chain.length > 0)
      walk(
        chain.map(({ root }) => root),
        LEVELS - 1,
      );
  }
  return counts.byId;
}

function bruteOwned(point: Point, previous: Point | undefined): number {
  return [...point.disk].filter(([block, id]) => previous?.disk.get(block) !== id).length;
}

type History = { readonly pages: TestPages; readonly counts: Counts };

async function addPoint({ pages, counts }: History, chain: Point[], disk: TestDisk): Promise<void> {
  const root = buildMap(pages, disk);
  const owned = await pointAdded(pages, { previous: chain.at(-1)?.root, root }, counts.sink);
  chain.push({ root, disk, owned });
}

async function removePoint(
  { pages, counts }: History,
  chain: Point[],
  index: number,
): Promise<void> {
  const point = chain[index];
  assert.ok(point);
  const next = chain[index + 1];
  const roots = { previous: chain[index - 1]?.root, root: point.root, next: next?.root };
  const { deleted, joined } = await pointRemoved(pages, roots, counts.sink);
  if (next !== undefined) next.owned += point.owned - deleted - joined;
  else assert.equal(deleted, point.owned);
  chain.splice(index, 1);
}

async function checkHistory(seed: number): Promise<void> {
  const random = seededNumbers(seed);
  const positions = somePositions(random);
  const pages = new TestPages((['half', 'none', 'all'] as const)[seed % 3]);
  const history = { pages, counts: new Counts() };
  const lines = [0, 1, 2].map((): Line => ({ chain: [], disk: new Map() }));
  const chains = lines.map(({ chain }) => chain);
  for (let step = 0; step < 150; step++) {
    const line = lines[random(3)];
    const other = lines[random(3)];
    assert.ok(line && other);
    if (random(10) < 5 || line.chain.length === 0) {
      const changed = changedDisk(line, other, random) ?? someChanges(line.disk, random, positions);
      const end = random(12) === 0 ? (positions[random(positions.length)] ?? 0) : Infinity;
      line.disk = new Map([...changed].filter(([block]) => block < end));
      await addPoint(history, line.chain, line.disk);
    } else {
      await removePoint(history, line.chain, random(line.chain.length));
    }
    assert.deepEqual(history.counts.byId, bruteCounts(pages, chains), `step ${step}`);
    for (const { chain } of lines) checkOwned(chain, step);
  }
  for (const chain of chains) {
    while (chain.length > 0) await removePoint(history, chain, random(chain.length));
  }
  assert.equal(history.counts.byId.size, 0);
}

type Line = { readonly chain: Point[]; disk: TestDisk };

/** Now and then an older point is restored in place, or another disk copied. */
function changedDisk(
  line: Line,
  other: Line,
  random: (limit: number) => number,
): TestDisk | undefined {
  const choice = random(12);
  if (choice < 2) return line.chain[random(line.chain.length || 1)]?.disk;
  return choice === 2 ? other.disk : undefined;
}

function checkOwned(chain: readonly Point[], step: number): void {
  for (const [index, point] of chain.entries()) {
    assert.equal(point.owned, bruteOwned(point, chain[index - 1]), `owned, step ${step}`);
  }
}

for (const seed of [1, 2, 3, 4]) {
  test(`counts of blocks and pages, and owned blocks, equal brute force (seed ${seed})`, () =>
    checkHistory(seed));
}

test('the example of the documents: overwritten blocks are deleted, the others merge', async () => {
  const pages = new TestPages();
  const counts = new Counts();
  const chain: Point[] = [];
  const [a, b, c, d] = [blockId(1), blockId(2), blockId(3), blockId(4)] as const;
  await addPoint(
    { pages, counts },
    chain,
    new Map([
      [0, a],
      [1, b],
      [2, c],
    ]),
  );
  await addPoint(
    { pages, counts },
    chain,
    new Map([
      [0, a],
      [1, d],
      [2, c],
    ]),
  );
  assert.deepEqual(
    chain.map(({ owned }) => owned),
    [3, 1],
  );
  await removePoint({ pages, counts }, chain, 0);
  assert.deepEqual(
    chain.map(({ owned }) => owned),
    [3],
  );
  assert.deepEqual(
    [...counts.byId.keys()].filter((key) => key.startsWith('block')).sort(),
    [a, c, d].map((id) => `block ${id}`).sort(),
  );
});

test('a change that was undone joins the run of the point before', async () => {
  const pages = new TestPages();
  const counts = new Counts();
  const root = (value: number): Buffer => buildMap(pages, new Map([[5, blockId(value)]]));
  const roots = { previous: root(1), root: root(2), next: root(1) };
  await pointAdded(pages, { previous: undefined, root: roots.previous }, counts.sink);
  await pointAdded(pages, roots, counts.sink);
  await pointAdded(pages, { previous: roots.root, root: roots.next }, counts.sink);
  assert.deepEqual(await pointRemoved(pages, roots, counts.sink), { deleted: 1, joined: 1 });
  assert.equal(counts.byId.get(`block ${blockId(1)}`), 1);
});

test('equal subtrees are not read', async () => {
  const pages = new TestPages('none');
  const disk = new Map(Array.from({ length: 2000 }, (_, index) => [index * 1000, blockId(index)]));
  const root = buildMap(pages, disk);
  const changed = buildMap(pages, new Map(disk).set(1_000_001, blockId(9999)));
  pages.reads = 0;
  assert.equal(await pointAdded(pages, { previous: root, root }, () => assert.fail()), 0);
  assert.equal(pages.reads, 0);
  assert.equal(await pointAdded(pages, { previous: root, root: changed }, () => undefined), 1);
  assert.ok(pages.reads <= 2 * LEVELS);
  pages.reads = 0;
  const removed = { previous: undefined, root, next: changed };
  assert.deepEqual(await pointRemoved(pages, removed, () => undefined), { deleted: 0, joined: 0 });
  assert.ok(pages.reads <= 2 * LEVELS);
});

test('deltas come in the same order, whatever is at hand', async () => {
  const orders: string[][] = [];
  for (const atHand of ['all', 'none', 'half'] as const) {
    const random = seededNumbers(7);
    const positions = somePositions(random);
    const pages = new TestPages(atHand);
    const first = someChanges(new Map(), random, positions);
    const roots = [first, someChanges(first, random, positions), first].map((disk) =>
      buildMap(pages, disk),
    );
    const [previous, root = ZERO_ID, next] = roots;
    const order: string[] = [];
    const sink: PlacementSink = (kind, id, delta) =>
      order.push(`${kind} ${id.toString('hex')} ${delta}`);
    await pointAdded(pages, { previous, root }, sink);
    await pointRemoved(pages, { previous, root, next }, sink);
    orders.push(order);
  }
  assert.ok((orders[0] ?? []).length > 10);
  assert.deepEqual(orders[1], orders[0]);
  assert.deepEqual(orders[2], orders[0]);
});

test('an error of the page source comes out', async () => {
  const pages = new TestPages('none');
  const root = buildMap(
    pages,
    new Map([
      [1, blockId(1)],
      [64 ** 5, blockId(2)],
    ]),
  );
  pages.stored.delete([...pages.stored.keys()][0] ?? '');
  await assert.rejects(
    pointAdded(pages, { previous: undefined, root }, () => undefined),
    /never put/,
  );
});
