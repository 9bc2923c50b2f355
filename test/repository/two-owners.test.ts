/** Two owners that live at once, where locks do not reach each other: the deposed one harms nothing. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { compactRepository, expirePoints, type Repository } from '#repository';
import { assertIndexAgrees, assertRestores, backUp, World, type Disks } from './world.ts';

function disks(from: number): Disks {
  const image = new Map(Array.from({ length: 256 }, (_, block) => [block, from + block]));
  return new Map([['vda', { blocks: 256, image }]]);
}

const LAST_DEEDS: Readonly<Record<string, (world: World, owner: Repository) => Promise<unknown>>> =
  {
    'backs up': (world, owner) => backUp(world, owner, { item: 'late', disks: disks(9000) }),
    compacts: (_world, owner) => compactRepository(owner.parts),
    expires: (_world, owner) =>
      expirePoints(owner.parts, [...owner.state.points.keys()].slice(0, 1)),
    'does nothing': () => Promise.resolve(),
  };

for (const [deed, run] of Object.entries(LAST_DEEDS)) {
  test(`an owner that was deposed, ${deed} and closes, leaves the other's index alone`, async () => {
    const world = new World({ seed: 31 });
    try {
      await world.init();
      const first = await world.open();
      await backUp(world, first, { item: 'x', disks: disks(0) });
      await backUp(world, first, { item: 'y', disks: disks(1000) });
      const { place } = world.options();
      const second = await world.open({
        place: { ...place, locksDir: join(world.folder, 'other-locks') },
      });
      const p1 = await backUp(world, second, { item: 'x', disks: disks(2000) });
      await backUp(world, second, { item: 'x', disks: disks(3000) });
      const wasStopped = await run(world, first).then(
        () => deed === 'does nothing',
        (error: unknown) => (error as { code?: string }).code === 'OwnerChanged',
      );
      assert.ok(wasStopped, 'the deposed owner is told so');
      await first.close();
      await expirePoints(second.parts, [p1]);
      await compactRepository(second.parts);
      await backUp(world, second, { item: 'x', disks: disks(2000) });
      await compactRepository(second.parts);
      await assertRestores(world, second);
      await assertIndexAgrees(second);
      await second.close();
      const third = await world.open();
      await assertRestores(world, third);
      await assertIndexAgrees(third);
      await third.close();
    } finally {
      world.remove();
    }
  });
}
