/** Whose the stored bytes are: one owner each, the oldest that holds them; and how much of a disk is used. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  expirePoints,
  planExpiry,
  repositoryStatistics,
  storedByOwner,
  usedBytes,
} from '#repository';
import { compactRepository, backUp, seeded, World, type Disks } from './world.ts';
import { visibleOf } from './soundness.ts';

const BLOCK = 4096;
const BLOCKS = 96;
const ITEMS = ['web', 'db', 'mail'];
const HISTORIES = process.env['HOLDFAST_TEST_LONG'] === undefined ? 6 : 100;

type Draw = (below: number) => number;

test('R27 M27 M30 every stored byte has one owner, whatever is backed up, expired, merged and compacted', async (t) => {
  const first = Number(process.env['HOLDFAST_TEST_SEED'] ?? Date.now() % 1_000_000);
  t.diagnostic(`seeds ${first} to ${first + HISTORIES - 1}; again: HOLDFAST_TEST_SEED=${first}`);
  for (let seed = first; seed < first + HISTORIES; seed += 1) await runHistory(seed);
});

async function runHistory(seed: number): Promise<void> {
  const world = new World({ seed });
  await world.init();
  const repository = await world.open();
  const draw = seeded(seed + 1);
  const images = new Map(ITEMS.map((item) => [item, new Map<number, number>()]));
  try {
    for (let step = 0; step < 24; step += 1) {
      const item = ITEMS[draw(ITEMS.length)]!;
      const visible = visibleOf(repository);
      const choice = draw(10);
      if (choice < 6) {
        const image = change(images.get(item)!, draw);
        await backUp(world, repository, {
          item,
          disks: new Map([['a', { blocks: BLOCKS, image: new Map(image) }]]),
        });
      } else if (choice < 9 && visible.length > 0) {
        await expirePoints(
          repository.parts,
          visible.filter(() => draw(3) === 0),
        );
      } else {
        await compactRepository(repository.parts);
      }
      const owners = await storedByOwner(repository.parts, 1 + draw(40));
      const sum = [...owners.values()].reduce((all, bytes) => all + bytes, 0);
      assert.equal(
        sum,
        repositoryStatistics(repository.parts).liveBytes,
        `seed ${seed}, step ${step}`,
      );
      await assertMarginal(repository, owners);
      await assertUsed(world, repository, draw);
    }
  } finally {
    await repository.close();
    world.remove();
  }
}

/** Contents are few, so that VMs, places and times share blocks. */
function change(image: Map<number, number>, draw: Draw): ReadonlyMap<number, number> {
  for (let count = draw(20); count >= 0; count -= 1) {
    const block = draw(BLOCKS);
    if (draw(5) === 0) image.delete(block);
    else image.set(block, 1 + draw(60));
  }
  return image;
}

type Opened = Awaited<ReturnType<World['open']>>;

/** What a point owns is what its end frees when all that came after it are gone: the expiry's own arithmetic. */
async function assertMarginal(
  { parts }: Opened,
  owners: ReadonlyMap<string, number>,
): Promise<void> {
  const points = [...owners.keys()];
  let later = 0;
  for (let at = points.length - 1; at >= 0; at -= 1) {
    const { freedBytes } = await planExpiry(parts, points.slice(at));
    assert.equal(owners.get(points[at]!), freedBytes - later, points[at]);
    later = freedBytes;
  }
}

/** From another point of the item as from nothing. */
async function assertUsed(world: World, { parts, state }: Opened, draw: Draw): Promise<void> {
  const points = [...state.points.values()];
  const point = points[draw(Math.max(1, points.length))];
  if (point === undefined) return;
  const { image } = (world.expected.get(point.point) as Disks).get('a')!;
  const used = await usedBytes(parts, point.point);
  assert.deepEqual([...used], [['a', image.size * BLOCK]]);
  for (const other of points.filter(({ item }) => item === point.item)) {
    const known = { point: other.point, usedBytes: await usedBytes(parts, other.point) };
    assert.deepEqual(await usedBytes(parts, point.point, known), used);
  }
}

test('R27 R28 a block that two VMs share is its first holder’s, and the other’s when that goes', async () => {
  const world = new World({ seed: 7 });
  await world.init();
  const repository = await world.open();
  try {
    const image = new Map(Array.from({ length: 64 }, (_, block) => [block, block + 1]));
    const disks: Disks = new Map([['a', { blocks: BLOCKS, image }]]);
    const web = await backUp(world, repository, { item: 'web', disks });
    const alone = (await storedByOwner(repository.parts)).get(web)!;
    const db = await backUp(world, repository, { item: 'db', disks });
    assert.deepEqual(
      [...(await storedByOwner(repository.parts))],
      [
        [web, alone],
        [db, 0],
      ],
    );
    const { freedBytes } = await expirePoints(repository.parts, [web]);
    assert.equal(freedBytes, 0);
    assert.deepEqual([...(await storedByOwner(repository.parts))], [[db, alone]]);
  } finally {
    await repository.close();
    world.remove();
  }
});
