import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { compactRepository, expirePoints, type Repository } from '#repository';
import { assertIndexAgrees, assertRestores, backUp, World, type Disks } from './world.ts';

function disks(round: number): Disks {
  const image = new Map(
    Array.from({ length: 300 }, (_, block) => [block, block % 7 === round ? 1000 + round : block]),
  );
  return new Map([['vda', { blocks: 300, image }]]);
}

async function filled(world: World): Promise<Repository> {
  await world.init();
  const repository = await world.open();
  const points: string[] = [];
  for (let round = 0; round < 6; round += 1) {
    points.push(await backUp(world, repository, { item: `vm${round % 2}`, disks: disks(round) }));
  }
  await expirePoints(repository.parts, [points[0]!, points[3]!]);
  await compactRepository(repository.parts);
  return repository;
}

function bytesOf(folder: string): Map<string, string> {
  return new Map(
    readdirSync(folder)
      .sort()
      .map((name) => [name, readFileSync(join(folder, name), 'base64')]),
  );
}

test('an index that is rebuilt twice has the same bytes, and says what the kept one says', async () => {
  const world = new World({ seed: 3, memtableRecords: 512 });
  try {
    await (await filled(world)).close();
    const index = join(world.folder, 'index');
    const rebuilt: Map<string, string>[] = [];
    for (let time = 0; time < 2; time += 1) {
      rmSync(index, { recursive: true });
      // A reader rebuilds too, and writes nothing into the repository that would change the position.
      const reader = await world.open({ access: 'read' });
      rebuilt.push(
        bytesOf(
          join(world.folder, 'readers', readdirSync(join(world.folder, 'readers'))[0]!, 'index'),
        ),
      );
      await assertRestores(world, reader);
      await assertIndexAgrees(reader);
      await reader.close();
      await (await world.open()).close();
    }
    const [first, second] = rebuilt.map((files) =>
      [...files].filter(([name]) => name !== 'manifest'),
    );
    assert.ok(first!.length > 0);
    assert.deepEqual(second, first);
  } finally {
    world.remove();
  }
});

test('compaction keeps the newest checkpoints only, and the log is still whole without any', async () => {
  const world = new World({ seed: 4 });
  try {
    const repository = await filled(world);
    for (let round = 0; round < 7; round += 1) {
      await backUp(world, repository, { item: 'vm0', disks: disks(round) });
      await repository.parts.history.checkpoint({ always: true });
    }
    await compactRepository(repository.parts);
    const names = (): string[] =>
      [...world.disk.objects.keys()].filter((name) => name.startsWith('checkpoint/'));
    assert.equal(names().length, 4);
    await repository.close();
    for (const name of names()) world.disk.objects.delete(name);
    rmSync(join(world.folder, 'index'), { recursive: true });
    const again = await world.open();
    await assertRestores(world, again);
    await assertIndexAgrees(again);
    await again.close();
  } finally {
    world.remove();
  }
});
