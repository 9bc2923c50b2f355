import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDocument, verifyRepository, writeDocument } from '#repository';
import { World } from './world.ts';

test('a document is read back by another owner; an older revision put back is seen', async () => {
  const world = new World({ seed: 1 });
  try {
    await world.init();
    let repository = await world.open();
    await writeDocument(repository.parts, 'vault', { name: 'first' });
    const [old] = [...world.disk.objects].filter(([name]) => name.startsWith('documents/'));
    await writeDocument(repository.parts, 'vault', { name: 'second' });
    await repository.close();
    repository = await world.open();
    assert.deepEqual(await readDocument(repository.parts, 'vault'), { name: 'second' });
    const names = [...world.disk.objects.keys()].filter((name) => name.startsWith('documents/'));
    assert.equal(names.length, 1, 'the revision before is deleted');
    world.disk.objects.set(names[0]!, old![1]);
    await assert.rejects(readDocument(repository.parts, 'vault'), { code: 'ObjectDamaged' });
    const found = await verifyRepository(repository);
    assert.deepEqual(
      found.damage.map((damage) => damage.object),
      names,
    );
    await assert.rejects(readDocument(repository.parts, 'policy'), { code: 'ObjectNotFound' });
    await assert.rejects(writeDocument(repository.parts, '../x', {}), { code: 'ArgumentInvalid' });
    await repository.close();
  } finally {
    world.remove();
  }
});
