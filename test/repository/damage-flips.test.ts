/**
 * Every byte of a small repository changed, index included: the change is found and named, or it is
 * harmless. Found: opening fails with an error that names the object, or warns of it, or verification
 * reports it. Harmless: all points restore, and the next backup, compaction and restore are right.
 * `npm run test:long` changes every byte; `npm test` one in `SAMPLED` (in each object, from a seeded start).
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isHoldfastError } from '#base';
import { compactRepository, expirePoints, verifyRepository, type Repository } from '#repository';
import { assertSound, assertWhole, visibleOf } from './soundness.ts';
import { backUp, seeded, World, type Disks } from './world.ts';

const isLong = process.env['HOLDFAST_TEST_LONG'] !== undefined;
const SAMPLED = { objects: 20, index: 40 };
const TRIALS = 4;
const PATTERN = 0x41;

const prepared = new World({ seed: 11, memtableRecords: 256 });
const random = seeded(Number(process.env['HOLDFAST_TEST_SEED'] ?? 5));

function disks(first: number): Disks {
  return new Map([
    [
      'vda',
      {
        blocks: 66,
        image: new Map([
          [0, first],
          [65, first + 1],
        ]),
      },
    ],
  ]);
}

before(async () => {
  await prepared.init();
  const repository = await prepared.open();
  await backUp(prepared, repository, { item: 'web', disks: disks(1) });
  await backUp(prepared, repository, { item: 'db', disks: disks(2) });
  const gone = await backUp(prepared, repository, { item: 'db', disks: disks(4) });
  await backUp(prepared, repository, { item: 'web', disks: disks(5) });
  await expirePoints(repository.parts, [gone]);
  await compactRepository(repository.parts);
  await repository.parts.history.checkpoint({ always: true });
  await repository.close();
  assert.equal(visibleOf(repository).length, 3);
});

after(() => prepared.remove());

/** Where bytes are changed: in each part, every byte or a sample. */
function* places(sizes: ReadonlyMap<string, number>, oneIn: number): Generator<Place> {
  for (const [name, sizeBytes] of sizes) {
    const step = isLong ? 1 : oneIn;
    for (let at = isLong ? 0 : random(step); at < sizeBytes; at += step) yield { name, at };
  }
}

type Place = { readonly name: string; readonly at: number };

async function tryAll(sizes: ReadonlyMap<string, number>, tryOne: TryOne): Promise<Tally> {
  const tally: Tally = new Map();
  const next = places(sizes, sizes.has('manifest') ? SAMPLED.index : SAMPLED.objects);
  const work = async (): Promise<void> => {
    for (const place of next) {
      const world = prepared.clone();
      try {
        const outcome = await tryOne(world, place);
        const key = `${place.name.split('/')[0]} ${outcome}`;
        tally.set(key, (tally.get(key) ?? 0) + 1);
      } catch (error) {
        throw new Error(`byte ${place.at} of ${place.name}`, { cause: error });
      } finally {
        world.remove();
      }
    }
  };
  await Promise.all(Array.from({ length: TRIALS }, work));
  return tally;
}

type Tally = Map<string, number>;
type TryOne = (world: World, place: Place) => Promise<string>;

function summary(tally: Tally): string {
  return Array.from(tally, ([what, count]) => `${what}: ${count}`).join(', ');
}

test('a changed byte of an object is found and named, or harmless', async (t) => {
  const sizes = new Map(Array.from(prepared.disk.objects, ([name, bytes]) => [name, bytes.length]));
  t.diagnostic(summary(await tryAll(sizes, flipObject)));
});

async function flipObject(world: World, { name, at }: Place): Promise<string> {
  const bytes = world.disk.objects.get(name)!;
  bytes[at]! ^= PATTERN;
  const warnings: string[] = [];
  let repository: Repository;
  try {
    repository = await world.open({ warn: (line) => warnings.push(line) });
  } catch (error) {
    assertNames(error, name);
    return 'stops opening';
  }
  try {
    const verified = await verifyRepository(repository, { readDataPercent: 100 });
    if (verified.damage.some((damage) => damage.object === name)) {
      return 'is named by verification';
    }
    assert.deepEqual(verified.damage, []);
    await assertSound(world, repository, { item: 'web', disks: disks(7) });
    return warnings.some((line) => line.includes(name)) ? 'is warned of' : 'is harmless';
  } finally {
    await repository.close();
  }
}

/** Only of what is stored once may opening fail, and then it says what is wrong. */
function assertNames(error: unknown, name: string): void {
  assert.ok(isHoldfastError(error), String(error));
  assert.match(name, /^(repository\.json|keys\/|log\/)/, error.message);
  assert.ok(`${error.message} ${error.details['object']}`.includes(name), error.message);
}

test('a changed byte of the index is found and mended, or harmless', async (t) => {
  const folder = join(prepared.folder, 'index');
  const files = readdirSync(folder).map((file) => [file, readFileSync(join(folder, file)).length]);
  t.diagnostic(summary(await tryAll(new Map(files as [string, number][]), flipIndex)));
});

async function flipIndex(world: World, { name, at }: Place): Promise<string> {
  const file = join(world.folder, 'index', name);
  const bytes = readFileSync(file);
  bytes[at]! ^= PATTERN;
  writeFileSync(file, bytes);
  const repository = await world.open();
  try {
    if (repository.rebuilt !== undefined) {
      assert.ok(repository.rebuilt.reason.includes(name), repository.rebuilt.reason);
      const verified = await verifyRepository(repository, {});
      assert.equal(verified.damage[0]?.object, 'index');
      await repository.close();
      const mended = await world.open();
      await assertWhole(world, mended);
      await mended.close();
      return 'is rebuilt at opening';
    }
    return await verifyFlipped(world, repository, name);
  } finally {
    await repository.close().catch(() => repository.abandon());
  }
}

/** Damage that opening has not seen: verification does, and the next opening mends it. */
async function verifyFlipped(world: World, repository: Repository, name: string): Promise<string> {
  let found: string | undefined;
  try {
    const verified = await verifyRepository(repository, {});
    found = verified.damage.find(({ object }) => object === 'index')?.why;
  } catch (error) {
    assert.ok(isHoldfastError(error, 'IndexDamaged'), String(error));
    found = error.message;
  }
  if (found === undefined) {
    await assertSound(world, repository, { item: 'web', disks: disks(7) });
    return 'is harmless';
  }
  assert.ok(found.includes(name), found);
  await repository.close().catch(() => repository.abandon());
  const mended = await world.open();
  try {
    await assertSound(world, mended, { item: 'web', disks: disks(7) });
  } finally {
    await mended.close();
  }
  return 'is found by verification';
}
