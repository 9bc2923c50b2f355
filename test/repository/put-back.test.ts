/** Objects that were lost and are put back from a copy of the repository. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { compactRepository, expirePoints, verifyRepository } from '#repository';
import { assertIndexAgrees, assertRestores, backUp, World, type Disks } from './world.ts';

function disks(from: number): Disks {
  const image = new Map(Array.from({ length: 200 }, (_, block) => [block, from + block]));
  return new Map([['vda', { blocks: 200, image }]]);
}

for (const rebuilds of [false, true]) {
  for (const kind of ['data', 'page'] as const) {
    const name = `a lost ${kind} pack that a point needs is never given up, and serves again when it is put back${rebuilds ? ', after a rebuild' : ''}`;
    test(name, async () => {
      const world = new World({ seed: 11 });
      try {
        await world.init();
        let repository = await world.open();
        const first = await backUp(world, repository, { item: 'vm', disks: disks(0) });
        const [pack] = [...repository.state.packs].find(([, known]) => known.kind === kind)!;
        await backUp(world, repository, { item: 'vm', disks: disks(1000) });
        await repository.close();
        const object = `packs/${pack.slice(0, 2)}/${pack}`;
        const bytes = world.disk.objects.get(object)!;
        world.disk.objects.delete(object);
        if (rebuilds) rmSync(join(world.folder, 'index'), { recursive: true });
        repository = await world.open();
        const lost = await verifyRepository(repository);
        assert.equal(lost.ok, false);
        assert.deepEqual(
          lost.points.map((touched) => touched.point),
          [first],
        );
        // A backup that heals nothing of it, and compaction, more than once.
        await backUp(world, repository, { item: 'vm', disks: disks(1000) });
        for (let time = 0; time < 3; time += 1) {
          await compactRepository(repository.parts).catch((error: unknown) => {
            assert.equal((error as { code?: string }).code, 'ObjectDamaged');
          });
        }
        assert.ok(repository.state.packs.has(pack), 'the log still knows it');
        world.disk.objects.set(object, bytes);
        if (!rebuilds) await assertRestores(world, repository);
        const found = await verifyRepository(repository, { readDataPercent: 100 });
        assert.deepEqual(found.points, []);
        await repository.close();
        repository = await world.open();
        await assertRestores(world, repository);
        await assertIndexAgrees(repository);
        assert.equal((await verifyRepository(repository, { readDataPercent: 100 })).ok, true);
        await expirePoints(repository.parts, [first]);
        await compactRepository(repository.parts);
        await assertRestores(world, repository);
        await assertIndexAgrees(repository);
        await repository.close();
      } finally {
        world.remove();
      }
    });
  }
}
