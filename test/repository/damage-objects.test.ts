/**
 * Objects truncated, swapped, missing, older and foreign, of each kind: an error or a finding that names
 * the object and the points it touches; what only speeds things up is harmless.
 */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isHoldfastError } from '#base';
import { compactRepository, expirePoints, verifyRepository, type Repository } from '#repository';
import { diskOf, fivePoints } from './faulted-operations.ts';
import { assertNothingUnknown, assertSound, assertWhole, visibleOf } from './soundness.ts';
import { assertPointRestores, assertRestores, backUp, World } from './world.ts';

const prepared = new World({ seed: 3, memtableRecords: 256 });
/** The same history under other keys. */
const foreign = new World({ seed: 4, memtableRecords: 256 });

before(async () => {
  for (const world of [prepared, foreign]) await fivePoints(world);
});
after(() => {
  for (const world of [prepared, foreign]) world.remove();
});

async function inCopy(work: (world: World) => Promise<void>): Promise<void> {
  const world = prepared.clone();
  try {
    await work(world);
  } finally {
    world.remove();
  }
}

function namesOf(world: World, prefix: string): string[] {
  return [...world.disk.objects.keys()].filter((name) => name.startsWith(prefix)).sort();
}

/** Data and page packs, in the order of the log. */
async function packsOf(world: World): Promise<Record<'data' | 'page', string[]>> {
  const copy = world.clone();
  const repository = await copy.open();
  const packs: Record<'data' | 'page', string[]> = { data: [], page: [] };
  for (const [id, { kind }] of repository.state.packs) {
    packs[kind].push(`packs/${id.slice(0, 2)}/${id}`);
  }
  await repository.abandon();
  copy.remove();
  return packs;
}

type Harm = { readonly name: string; readonly touched: readonly string[]; readonly how: string };

/** What can be done to the objects in `names`, each in a copy of its own. */
function* harms(
  names: readonly string[],
): Generator<Harm & { readonly harm: (world: World) => void }> {
  const set = (world: World, name: string, bytes: Buffer): void => {
    world.disk.objects.set(name, bytes);
  };
  for (const name of names) {
    const bytes = prepared.disk.objects.get(name)!;
    const { length } = bytes;
    for (const left of [0, 1, 27, 32, length >> 1, length - 48, length - 1]) {
      const harm = (world: World): void => set(world, name, bytes.subarray(0, left));
      yield { name, touched: [name], how: `cut to ${left} bytes`, harm };
    }
    const longer = (world: World): void =>
      set(world, name, Buffer.concat([bytes, Buffer.alloc(1)]));
    yield { name, touched: [name], how: 'with a byte more', harm: longer };
    yield { name, touched: [name], how: 'missing', harm: (world) => world.disk.remove(name) };
    const other = names.find((candidate) => candidate !== name);
    if (other === undefined) continue;
    const otherBytes = prepared.disk.objects.get(other)!;
    yield { name, touched: [name], how: 'older', harm: (world) => set(world, name, otherBytes) };
    const swap = (world: World): void => {
      set(world, name, otherBytes);
      set(world, other, bytes);
    };
    yield { name, touched: [name, other], how: 'swapped', harm: swap };
  }
  for (const [at, name] of names.entries()) {
    const kind = name.slice(0, name.indexOf('/') + 1);
    const bytes = [...namesOf(foreign, kind)].map((own) => foreign.disk.objects.get(own)!)[at];
    if (bytes === undefined) continue;
    yield { name, touched: [name], how: 'foreign', harm: (world) => set(world, name, bytes) };
  }
}

/** Opening fails, and the error names one of the objects. */
async function assertStopsOpening(world: World, found: Harm, code: string): Promise<void> {
  await assert.rejects(world.open(), (error) => {
    assert.ok(isHoldfastError(error), String(error));
    assert.equal(error.code, code, `${found.how}: ${error.message}`);
    const said = `${error.message} ${error.details['object']}`;
    const isNamed = found.touched.some((name) => said.includes(name));
    assert.ok(isNamed, `${found.name} ${found.how}: ${said}`);
    return true;
  });
}

test('a log entry that is cut, swapped, older, foreign or missing is named', async () => {
  const entries = namesOf(prepared, 'log/');
  for (const found of harms(entries)) {
    if (found.how === 'missing' && found.name === entries.at(-1)) continue;
    await inCopy(async (world) => {
      found.harm(world);
      await assertStopsOpening(world, found, 'LogDamaged');
    });
  }
});

test('a hole in the log is an error that names the number, also without an index', async () => {
  await inCopy(async (world) => {
    world.disk.remove('log/00000000000000000005');
    rmSync(join(world.folder, 'index'), { recursive: true });
    await assert.rejects(world.open(), { code: 'LogDamaged', message: /log entry 5 is missing/ });
    await assert.rejects(world.open({ access: 'read' }), { code: 'LogDamaged' });
  });
});

test('a log that is cut off at its end is seen where a checkpoint remembers more', async () => {
  await inCopy(async (world) => {
    const repository = await world.open();
    await repository.parts.history.checkpoint({ always: true });
    await repository.close();
    const last = namesOf(world, 'log/').at(-1)!;
    world.disk.remove(last);
    await assert.rejects(world.open(), (error) => {
      assert.ok(isHoldfastError(error, 'LogDamaged'), String(error));
      assert.equal(error.details['object'], last);
      return true;
    });
  });
});

test('a checkpoint that is cut, older, foreign or missing is harmless', async () => {
  const withTwo = prepared.clone();
  for (let count = 0; count < 2; count += 1) {
    const repository = await withTwo.open();
    await repository.parts.history.checkpoint({ always: true });
    await repository.close();
  }
  const names = namesOf(withTwo, 'checkpoint/');
  const objects = withTwo.disk.objects;
  const [older, newer] = names.map((name) => objects.get(name)!);
  const replacements = [Buffer.alloc(0), newer!.subarray(0, newer!.length >> 1), older, undefined];
  for (const bytes of replacements) {
    for (const keepsIndex of [true, false]) {
      const world = withTwo.clone();
      if (bytes === undefined) world.disk.remove(names[1]!);
      else world.disk.objects.set(names[1]!, bytes);
      if (!keepsIndex) rmSync(join(world.folder, 'index'), { recursive: true });
      const repository = await world.open();
      await assertSound(world, repository, { item: 'web', disks: diskOf(30) });
      await repository.close();
      world.remove();
    }
  }
  withTwo.remove();
});

test('the only key slot, cut, foreign or missing, is named', async () => {
  for (const found of harms(namesOf(prepared, 'keys/'))) {
    // A slot is one line of text: white space at its end says nothing.
    const isWhole =
      found.how === `cut to ${prepared.disk.objects.get(found.name)!.length - 1} bytes`;
    if (isWhole) continue;
    await inCopy(async (world) => {
      found.harm(world);
      if (found.how !== 'missing') return assertStopsOpening(world, found, 'KeySlotInvalid');
      await assert.rejects(world.open(), { code: 'KeySlotInvalid', message: /there is none/ });
    });
  }
});

test('a manifest that is cut, of another point, foreign or missing is named, and its point restores', async () => {
  for (const found of harms(namesOf(prepared, 'points/'))) {
    await inCopy(async (world) => {
      found.harm(world);
      const repository = await world.open();
      const verified = await verifyRepository(repository, {});
      const named = verified.damage.map((damage) => damage.object);
      assert.deepEqual(named.toSorted(), found.touched.toSorted(), found.how);
      await assertRestores(world, repository);
      await repository.close();
    });
  }
});

for (const kind of ['data', 'page'] as const) {
  test(`a ${kind} pack that is cut, swapped, older, foreign or missing is named, with its points, and heals`, async () => {
    for (const found of harms((await packsOf(prepared))[kind])) {
      for (const keepsIndex of [true, false]) {
        await inCopy(async (world) => {
          found.harm(world);
          if (!keepsIndex) rmSync(join(world.folder, 'index'), { recursive: true });
          await assertFoundAndHealed(world, found).catch((error: unknown) => {
            const index = keepsIndex ? 'kept' : 'lost';
            throw new Error(`${found.name} ${found.how}, index ${index}`, { cause: error });
          });
        });
      }
    }
  });
}

async function assertFoundAndHealed(world: World, found: Harm): Promise<void> {
  let repository = await world.open();
  try {
    const verified = await verifyRepository(repository, { readDataPercent: 100 });
    const named = new Set(verified.damage.map((damage) => damage.object));
    for (const name of found.touched) assert.ok(named.has(name), `${name} is not named`);
    assert.deepEqual(
      verified.points.map((touched) => touched.point),
      await lostPoints(world, repository),
    );
    for (const [item, first] of [
      ['web', 5],
      ['db', 20],
    ] as const) {
      await backUp(world, repository, { item, disks: diskOf(first) });
    }
    const newest = visibleOf(repository).slice(-2);
    for (const point of newest) await assertPointRestores(world, repository, { point });
    const lost = await lostPoints(world, repository);
    if (lost.length > 0) await expirePoints(repository.parts, lost);
    if (repository.parts.keeper.isIncomplete) {
      await assert.rejects(compactRepository(repository.parts), { code: 'ObjectDamaged' });
      await repository.close();
      rmSync(join(world.folder, 'index'), { recursive: true });
      repository = await world.open();
    }
    await compactRepository(repository.parts);
    await repository.close();
    repository = await world.open();
    await assertWhole(world, repository);
    assertNothingUnknown(world, repository);
    for (const name of found.touched) {
      assert.ok(!repository.state.packs.has(name.slice(9)), `${name} is still known`);
      assert.ok(!world.disk.objects.has(name), `${name} is still there`);
    }
  } finally {
    await repository.close();
  }
}

/** Points that cannot be restored whole, by trying. */
async function lostPoints(world: World, repository: Repository): Promise<string[]> {
  const lost: string[] = [];
  for (const point of visibleOf(repository)) {
    try {
      await assertPointRestores(world, repository, { point });
    } catch (error) {
      assert.ok(isHoldfastError(error, 'BlockMissing'), String(error));
      lost.push(point);
    }
  }
  return lost;
}
