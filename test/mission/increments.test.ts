/**
 * M28: the first backup is full, later ones are incremental by whole 16 KiB blocks. M30: what each point
 * costs. The documents' V1: one data disk of four blocks, three steps.
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { BLOCK, block, makeImage, noise, writeBlocks, writeImage } from './images.ts';
import { MissionRepository, ownedOf, sum } from './mission-repository.ts';

type Steps = {
  readonly vault: MissionRepository;
  readonly disk: { readonly name: string; readonly location: string };
};

async function machineV1(t: TestContext): Promise<Steps> {
  const vault = await MissionRepository.create(t);
  const location = vault.path('v1.raw');
  await makeImage(location, 4 * BLOCK);
  await writeBlocks(location, { 1: 'D1', 2: 'D2' });
  return { vault, disk: { name: 'data', location } };
}

test('M28 V1 of the documents: four 16 KiB blocks, three steps, exactly their blocks', async (t) => {
  const { vault, disk } = await machineV1(t);
  assert.equal(BLOCK, 16_384);

  const first = await vault.backUp([disk]);
  assert.equal(first.disks[0]!.size, 4 * BLOCK);
  assert.equal(first.disks[0]!.changed, 2 * BLOCK, 'a full backup: blocks 1 and 2');
  assert.equal((await vault.statistics()).blocks, 2, 'D1 and D2');

  await writeBlocks(disk.location, { 3: 'D3' });
  const second = await vault.backUp([disk]);
  assert.equal(second.disks[0]!.changed, BLOCK, 'an increment: block 3');
  assert.equal((await vault.statistics()).blocks, 3, 'and D3');

  await writeBlocks(disk.location, { 2: 'D2′', 3: 'D3′' });
  const third = await vault.backUp([disk]);
  assert.equal(third.disks[0]!.changed, 2 * BLOCK, 'an increment: blocks 2 and 3');
  assert.equal((await vault.statistics()).blocks, 5, 'and D2′ and D3′');

  await vault.assertRestores();
  await vault.assertVerifies();
});

const CHANGES = [
  { what: '1 KB', sizeBytes: 1024, offset: 5 * BLOCK + 3000 },
  { what: '1 byte', sizeBytes: 1, offset: 5 * BLOCK + 16_383 },
  { what: 'the first byte of a block', sizeBytes: 1, offset: 6 * BLOCK },
];

for (const { what, sizeBytes, offset } of CHANGES) {
  test(`M28 a change of ${what} stores exactly one whole block`, async (t) => {
    const vault = await MissionRepository.create(t);
    const disk = { name: 'data', location: vault.path('disk.raw') };
    await makeImage(disk.location, 40 * BLOCK, [{ offset: 0, bytes: noise('disk', 20 * BLOCK) }]);
    await vault.backUp([disk]);
    const before = await vault.statistics();
    await writeImage(disk.location, [{ offset, bytes: noise('change', sizeBytes) }]);
    const { disks, pointId } = await vault.backUp([disk]);

    assert.equal(disks[0]!.changed, BLOCK);
    assert.ok(disks[0]!.stored >= BLOCK, 'the block does not compress: it is stored whole');
    assert.ok(disks[0]!.stored < 2 * BLOCK);
    assert.equal((await vault.statistics()).blocks, before.blocks + 1);
    const point = (await vault.sizes()).find(({ id }) => id === pointId);
    assert.deepEqual(ownedOf(point), { data: BLOCK });
    await vault.assertRestores();
  });
}

test('M28 two changed bytes side by side across a border of blocks store both blocks', async (t) => {
  const vault = await MissionRepository.create(t);
  const disk = { name: 'data', location: vault.path('disk.raw') };
  await makeImage(disk.location, 8 * BLOCK, [{ offset: 0, bytes: noise('disk', 8 * BLOCK) }]);
  await vault.backUp([disk]);
  await writeImage(disk.location, [{ offset: 2 * BLOCK - 1, bytes: Buffer.from([1, 2]) }]);
  const { disks } = await vault.backUp([disk]);
  assert.equal(disks[0]!.changed, 2 * BLOCK);
  await vault.assertRestores();
});

test('M28 what was written with the same content is no change, nor is a backup without one', async (t) => {
  const { vault, disk } = await machineV1(t);
  await vault.backUp([disk]);
  await writeImage(disk.location, [{ offset: 0, bytes: block('D1') }]);
  for (let count = 0; count < 2; count += 1) {
    const { disks } = await vault.backUp([disk]);
    assert.deepEqual([disks[0]!.changed, disks[0]!.stored], [0, 0]);
  }
  assert.equal((await vault.statistics()).blocks, 2);
  await vault.assertRestores();
});

test('M28 a block that becomes zero again is a change that stores no block', async (t) => {
  const { vault, disk } = await machineV1(t);
  await vault.backUp([disk]);
  await writeBlocks(disk.location, { 2: undefined });
  const { disks } = await vault.backUp([disk]);
  assert.equal(disks[0]!.changed, BLOCK);
  assert.ok(disks[0]!.stored < 1024, 'a page of the map');
  assert.equal((await vault.statistics()).blocks, 2);
  await vault.assertRestores();
});

test("M30 each point owns the blocks of the documents' table: D1+D2, then D3, then D2′+D3′", async (t) => {
  const { vault, disk } = await machineV1(t);
  const owned = async (): Promise<(number | undefined)[]> =>
    (await vault.sizes()).map((point) => ownedOf(point)['data']! / BLOCK);

  await vault.backUp([disk]);
  assert.deepEqual(await owned(), [2]);
  await vault.assertSums();

  await writeBlocks(disk.location, { 3: 'D3' });
  await vault.backUp([disk]);
  assert.deepEqual(await owned(), [2, 1]);
  await vault.assertSums();

  await writeBlocks(disk.location, { 2: 'D2′', 3: 'D3′' });
  await vault.backUp([disk]);
  assert.deepEqual(await owned(), [2, 1, 2]);
  await vault.assertSums();

  const sizes = await vault.sizes();
  assert.ok(sizes.every((point) => point.disks[0]!.size === 4 * BLOCK));
  const stored = sizes.map((point) => point.disks[0]!.ownedStored / BLOCK);
  for (const [at, blocks] of [2, 1, 2].entries()) {
    assert.ok(stored[at]! >= blocks && stored[at]! < blocks * 1.01, `${stored[at]} of ${blocks}`);
  }
});

test('M30 what a point owns, its sizes and the live bytes agree to the byte with several disks', async (t) => {
  const vault = await MissionRepository.create(t);
  const disks = ['os', 'data', 'empty'].map((name) => ({
    name,
    location: vault.path(`${name}.raw`),
  }));
  const [os, data, empty] = disks.map(({ location }) => location);
  await makeImage(os!, 400 * BLOCK, [{ offset: 0, bytes: noise('os', 170 * BLOCK) }]);
  await makeImage(data!, 2000 * BLOCK + 777, [
    { offset: 30 * BLOCK, bytes: noise('data', 300 * BLOCK) },
    { offset: 2000 * BLOCK, bytes: noise('tail', 777) },
  ]);
  await makeImage(empty!, 100 * BLOCK);
  await vault.backUp(disks);
  for (let day = 1; day <= 3; day += 1) {
    const bytes = noise(`day ${day}`, (10 + day) * BLOCK);
    await writeImage(os!, [{ offset: day * 7 * BLOCK, bytes }]);
    await writeImage(data!, [{ offset: day * 40 * BLOCK + 5, bytes: noise(`d${day}`, 3 * BLOCK) }]);
    await vault.backUp(disks);
    await vault.assertSums();
  }
  const sizes = await vault.sizes();
  assert.deepEqual(
    sizes.map(ownedOf),
    [
      [170, 301],
      [11, 4],
      [12, 4],
      [13, 4],
    ].map((blocks) => ({ os: blocks[0]! * BLOCK, data: blocks[1]! * BLOCK, empty: 0 })),
  );
  const { blocks, liveBytes } = await vault.statistics();
  assert.equal(blocks, sum(sizes.flatMap((point) => Object.values(ownedOf(point)))) / BLOCK);
  assert.ok(sum(sizes.map(({ freedIfExpired }) => freedIfExpired)) <= liveBytes);
  await vault.assertRestores();
});
