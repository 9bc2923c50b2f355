/** Objects that only describe the repository or a point can be lost without losing data. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pointSizes, verifyRepository } from '#repository';
import { assertRestores, backUp, World, type Disks } from './world.ts';

const DISKS: Disks = new Map([['vda', { blocks: 2, image: new Map([[1, 7]]) }]]);

for (const [what, spoil] of [
  ['lost', (world: World) => world.disk.objects.delete('repository.json')],
  ['damaged', (world: World) => world.disk.flipBit('repository.json', 9)],
] as const) {
  test(`a ${what} repository.json is made again from a key slot`, async () => {
    const world = new World({ seed: 21 });
    try {
      await world.init();
      let repository = await world.open();
      await backUp(world, repository, { item: 'vm', disks: DISKS });
      await repository.close();
      const before = world.disk.objects.get('repository.json');
      spoil(world);
      const warnings: string[] = [];
      repository = await world.open({ warn: (message) => warnings.push(message) });
      assert.match(warnings.join(), /repository\.json is lost or damaged/);
      await assertRestores(world, repository);
      assert.equal((await verifyRepository(repository, { readDataPercent: 100 })).ok, true);
      await repository.close();
      if (what === 'lost') assert.deepEqual(world.disk.objects.get('repository.json'), before);
      await (await world.open()).close();
    } finally {
      world.remove();
    }
  });
}

test('a lost manifest hides neither its point nor the others', async () => {
  const world = new World({ seed: 22 });
  try {
    await world.init();
    const repository = await world.open();
    const first = await backUp(world, repository, { item: 'vm', disks: DISKS });
    const second = await backUp(world, repository, { item: 'vm', disks: DISKS });
    const name = [...world.disk.objects.keys()].find((key) => key.endsWith(`/${first}`))!;
    world.disk.objects.delete(name);
    const sizes = await pointSizes(repository.parts);
    const facts = new Map(sizes.map(({ id, item, consistency }) => [id, [item, consistency]]));
    assert.deepEqual(facts.get(first), ['vm', 'unknown']);
    assert.deepEqual(facts.get(second), ['vm', 'CrashConsistent']);
    await assertRestores(world, repository);
    const found = await verifyRepository(repository);
    assert.deepEqual(
      found.damage.map((damage) => damage.object),
      [name],
    );
    await repository.close();
  } finally {
    world.remove();
  }
});
