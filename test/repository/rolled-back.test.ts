/** The end of the log is lost, and its checkpoints: nothing that was committed is deleted for that. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import { compactRepository, rebuildRepositoryIndex, verifyRepository } from '#repository';
import { assertRestores, backUp, World, type Disks } from './world.ts';

function disks(from: number): Disks {
  const image = new Map(Array.from({ length: 200 }, (_, block) => [block, from + block]));
  return new Map([['vda', { blocks: 200, image }]]);
}

/** A repository with a point whose entries are then cut off; `lost` holds them. */
async function cutWorld(): Promise<{ world: World; first: string; lost: Map<string, Buffer> }> {
  const world = new World({ seed: 23 });
  await world.init();
  let repository = await world.open();
  const first = await backUp(world, repository, { item: 'vm', disks: disks(0) });
  await repository.close();
  const before = new Set(world.disk.objects.keys());
  repository = await world.open();
  await backUp(world, repository, { item: 'vm', disks: disks(1000) });
  await repository.close();
  const lost = new Map(
    [...world.disk.objects].filter(
      ([name]) => !before.has(name) && /^(?:log|checkpoint)\//.test(name),
    ),
  );
  assert.ok(lost.size >= 3, 'owner, session, point');
  for (const name of lost.keys()) world.disk.objects.delete(name);
  return { world, first, lost };
}

function packsOf(world: World): string[] {
  return [...world.disk.objects.keys()].filter((name) => name.startsWith('packs/')).sort();
}

test('an owner refuses a log that is shorter than its index remembers, and all is there when it is put back', async () => {
  const { world, lost } = await cutWorld();
  try {
    const objects = [...world.disk.objects.keys()].sort();
    const isRefusal = (error: unknown): boolean =>
      isHoldfastError(error, 'RepositoryRolledBack') && /was put back/.test(error.message);
    await assert.rejects(world.open(), isRefusal);
    await assert.rejects(world.open(), isRefusal, 'a second time as well');
    await assert.rejects(world.open({ rebuildsIndex: true }), isRefusal);
    assert.deepEqual([...world.disk.objects.keys()].sort(), objects, 'nothing was changed');
    for (const [name, bytes] of lost) world.disk.objects.set(name, bytes);
    const repository = await world.open();
    await assertRestores(world, repository);
    assert.equal((await verifyRepository(repository, { readDataPercent: 100 })).ok, true);
    await repository.close();
  } finally {
    world.remove();
  }
});

test('a reader of a log that was cut off restores what is left, and says what is lost', async () => {
  const { world, first } = await cutWorld();
  try {
    const repository = await world.open({ access: 'read' });
    assert.equal(repository.rebuilt?.kind, 'older state');
    assert.deepEqual([...repository.state.points.keys()], [first]);
    await repository.close();
  } finally {
    world.remove();
  }
});

for (const remembers of [true, false]) {
  const how = remembers ? 'that was accepted' : 'that nobody remembers';
  test(`compaction of an older state ${how} keeps what the cut entries named until it is told otherwise`, async () => {
    const { world, first } = await cutWorld();
    try {
      const packs = packsOf(world);
      if (!remembers) rmSync(join(world.folder, 'index'), { recursive: true });
      let repository = await world.open({ acceptsOlderState: remembers });
      assert.deepEqual([...repository.state.points.keys()], [first]);
      for (let time = 0; time < 2; time += 1) {
        const done = await compactRepository(repository.parts);
        assert.ok(done.unknownObjects >= 2, 'a pack and a manifest');
        assert.equal(done.orphansDeleted, 0);
      }
      assert.deepEqual(packsOf(world), packs);
      const done = await compactRepository(repository.parts, { deletesUnknown: true });
      assert.equal(done.unknownObjects, 0);
      assert.ok(packsOf(world).length < packs.length);
      await repository.close();
      repository = await world.open();
      assert.equal((await verifyRepository(repository, { readDataPercent: 100 })).ok, true);
      await repository.close();
    } finally {
      world.remove();
    }
  });
}

test('rebuild-index accepts an older state when it is told to', async () => {
  const { world, first } = await cutWorld();
  try {
    const { records } = await rebuildRepositoryIndex(world.options({ acceptsOlderState: true }));
    assert.ok(records > 0);
    const repository = await world.open();
    assert.deepEqual([...repository.state.points.keys()], [first]);
    await repository.close();
  } finally {
    world.remove();
  }
});
