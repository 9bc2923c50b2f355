import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  compactRepository,
  expirePoints,
  readAmplification,
  repositoryStatistics,
  type Repository,
} from '#repository';
import { CountingStore } from '#storage';
import { assertIndexAgrees, assertRestores, backUp, World, type Disks } from './world.ts';

function disk(blocks: number, contentAt: (block: number) => number): Disks {
  const image = new Map(Array.from({ length: blocks }, (_, block) => [block, contentAt(block)]));
  return new Map([['vda', { blocks, image }]]);
}

async function inWorld(
  run: (world: World, repository: Repository) => Promise<void>,
): Promise<void> {
  const world = new World({ seed: 7 });
  try {
    await world.init();
    const repository = await world.open();
    await run(world, repository);
    await assertRestores(world, repository);
    await assertIndexAgrees(repository);
    await repository.close();
  } finally {
    world.remove();
  }
}

async function amplification(repository: Repository, point: string): Promise<number> {
  return (await readAmplification(repository.parts, repository.state.points.get(point)!)).factor;
}

test('compaction gives back what an expired point alone held', () =>
  inWorld(async (world, repository) => {
    const first = await backUp(world, repository, { item: 'vm', disks: disk(512, (b) => b + 1) });
    await backUp(world, repository, { item: 'vm', disks: disk(512, (b) => b + 10_000) });
    const before = repositoryStatistics(repository.parts);
    const expired = await expirePoints(repository.parts, [first]);
    const dead = repositoryStatistics(repository.parts);
    assert.equal(dead.storedBytes, before.storedBytes, 'expiry is metadata');
    assert.equal(dead.deadBytes, before.deadBytes + expired.freedBytes);
    const result = await compactRepository(repository.parts);
    const after = repositoryStatistics(repository.parts);
    assert.equal(after.deadBytes, 0);
    assert.equal(after.storedBytes, before.storedBytes - result.freedBytes);
    assert.ok(after.storedBytes < 0.55 * before.storedBytes);
  }));

test('the newest point does not decay: scattered blocks are brought together again', () =>
  inWorld(async (world, repository) => {
    let newest = '';
    // Each point changes one block in 64 and keeps the rest: in the end the newest is spread over all.
    for (let round = 0; round < 24; round += 1) {
      const disks = disk(1536, (block) => (block % 64 <= round ? block % 64 : 99) * 10_000 + block);
      newest = await backUp(world, repository, { item: 'vm', disks });
    }
    // Wholly other content between: its points stay, so that frames stay alive.
    for (let round = 0; round < 6; round += 1) {
      const disks = disk(1536, (block) =>
        (block + round) % 16 === 0 ? 9_000_000 + block * 64 + round : block,
      );
      newest = await backUp(world, repository, { item: 'vm', disks });
    }
    const before = await amplification(repository, newest);
    await compactRepository(repository.parts);
    const after = await amplification(repository, newest);
    assert.ok(after <= Math.max(3, before), `${before} → ${after}`);
    assert.ok(after <= 3, `read amplification ${after}`);
  }));

test('after many points with scattered changes the oldest kept point reads as little as the newest', () =>
  inWorld(async (world, repository) => {
    const points: string[] = [];
    const contents = Array.from({ length: 2048 }, (_, block) => block + 1);
    for (let round = 0; round < 32; round += 1) {
      for (let block = (round * 7) % 32; block < contents.length; block += 32) {
        contents[block] = (round + 1) * 10_000 + block;
      }
      const disks = disk(contents.length, (block) => contents[block]!);
      points.push(await backUp(world, repository, { item: 'vm', disks }));
    }
    await expirePoints(repository.parts, points.slice(0, 16));
    const kept = points.slice(16);
    assert.ok((await amplification(repository, kept[0]!)) > 1.3);
    await compactRepository(repository.parts);
    for (const [at, point] of kept.entries()) {
      const factor = await amplification(repository, point);
      const isEnd = at === 0 || at === kept.length - 1;
      assert.ok(factor <= (isEnd ? 1.15 : 2), `point ${at}: read amplification ${factor}`);
    }
  }));

test('scattered leftovers in live frames are rewritten when they spoil the newest point', () =>
  inWorld(async (world, repository) => {
    // Two items share frames: the second item's newest point needs one block in sixteen of them.
    await backUp(world, repository, { item: 'full', disks: disk(4096, (b) => b + 1) });
    const thin = await backUp(world, repository, {
      item: 'thin',
      disks: disk(4096, (b) => (b % 64 === 0 ? b + 1 : 0)),
    });
    assert.ok((await amplification(repository, thin)) > 3);
    await compactRepository(repository.parts);
    assert.ok((await amplification(repository, thin)) <= 3);
    assert.equal((await compactRepository(repository.parts)).packsDeleted, 0, 'once is enough');
  }));

test('many small packs become few', () =>
  inWorld(async (world, repository) => {
    for (let round = 0; round < 16; round += 1) {
      const disks = disk(64, (block) => (block === round ? 5000 + round : block + 1));
      await backUp(world, repository, { item: 'vm', disks });
    }
    const before = repositoryStatistics(repository.parts).packs;
    assert.equal(before, 32, 'one data pack and one page pack a backup');
    await compactRepository(repository.parts);
    assert.ok(repositoryStatistics(repository.parts).packs <= 8);
  }));

test('an increment makes one data pack, one page pack, a manifest and two log entries', () =>
  inWorld(async (world, repository) => {
    await backUp(world, repository, { item: 'vm', disks: disk(512, (b) => b + 1) });
    const before = new Set(world.disk.objects.keys());
    const store = new CountingStore(repository.parts.store);
    Object.assign(repository.parts, { store });
    await backUp(world, repository, { item: 'vm', disks: disk(512, (b) => (b === 9 ? 1 : b + 1)) });
    await backUp(world, repository, {
      item: 'vm',
      disks: disk(512, (b) => (b === 9 ? 7777 : b + 1)),
    });
    const made = [...world.disk.objects.keys()].filter((name) => !before.has(name));
    const kinds = Object.groupBy(made, (name) => name.split('/')[0]!);
    // The first of the two only shares a block: no data pack.
    assert.equal(kinds['packs']?.length, 3);
    assert.equal(kinds['points']?.length, 2);
    assert.equal(kinds['log']?.length, 4);
    assert.deepEqual(Object.keys(kinds).sort(), ['log', 'packs', 'points']);
  }));

test('a repository with nothing to gain is left alone', () =>
  inWorld(async (world, repository) => {
    await backUp(world, repository, { item: 'vm', disks: disk(512, (b) => b + 1) });
    const number = repository.state.number;
    const result = await compactRepository(repository.parts);
    assert.equal(result.packsDeleted, 0);
    assert.equal(repository.state.number, number, 'no log entry');
  }));
