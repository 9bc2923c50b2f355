/**
 * M8: of each disk only changed blocks are transferred. M18: they are found by checksums where there is no
 * hint, faster with one; a hint that lies is noticed, and the same run compares everything.
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { BLOCK, makeImage, noise, writeImage } from './images.ts';
import { MissionRepository, type MissionDisk } from './mission-repository.ts';
import { nbdkitLog } from './nbdkit.ts';

type Extent = { readonly offset: number; readonly length: number };

/** Blocks of data on each disk: more than an audit of a hint draws. */
const DATA_BLOCKS = 3000;
/** Of unchanged blocks, to find out whether a hint can be believed: 1 000 at random, and the last. */
const AUDIT_BLOCKS = 1001;

type Machine = { readonly vault: MissionRepository; readonly disks: readonly MissionDisk[] };

/** Disks with data in their first blocks and as much free space behind. */
async function machineOf(t: TestContext, names: readonly string[]): Promise<Machine> {
  const vault = await MissionRepository.create(t);
  const disks = names.map((name) => ({ name, location: vault.path(`${name}.raw`) }));
  for (const { name, location } of disks) {
    const bytes = noise(name, DATA_BLOCKS * BLOCK);
    await makeImage(location, 2 * DATA_BLOCKS * BLOCK, [{ offset: 0, bytes }]);
  }
  return { vault, disks };
}

/** Changes some bytes in each of these blocks. @returns what a hypervisor would call dirty. */
async function touch({ location }: MissionDisk, blocks: readonly number[]): Promise<Extent[]> {
  const dirty = blocks.map((block) => ({ offset: block * BLOCK + (block % BLOCK), length: 8 }));
  const bytes = noise('changed', 8);
  await writeImage(
    location,
    dirty.map(({ offset }) => ({ offset, bytes })),
  );
  return dirty;
}

function every(step: number, count: number): number[] {
  return Array.from({ length: count }, (_, at) => at * step);
}

test('M8 of each disk exactly the changed blocks are stored', async (t) => {
  const { vault, disks } = await machineOf(t, ['vda', 'vdb', 'vdc']);
  const first = await vault.backUp(disks);
  for (const disk of first.disks) assert.equal(disk.changed, DATA_BLOCKS * BLOCK);
  const before = await vault.statistics();
  await touch(disks[0]!, every(250, 12));
  await touch(disks[1]!, [7]);
  const second = await vault.backUp(disks);

  const figures = second.disks.map(({ name, changed }) => [name, changed / BLOCK]);
  assert.deepEqual(figures, [
    ['vda', 12],
    ['vdb', 1],
    ['vdc', 0],
  ]);
  assert.equal((await vault.statistics()).blocks, before.blocks + 13);
  const stored = second.disks.map((disk) => disk.stored);
  const most = second.disks.map(({ changed }) => changed * 1.2);
  for (const [at, bytes] of stored.entries()) assert.ok(bytes <= most[at]!, `${bytes} stored`);
  assert.equal(stored[2], 0, 'nothing, not even a page of a map, for a disk without changes');
  await vault.assertRestores();
});

test('M8 with a hint only its extents are read, and a sample of the rest', async (t) => {
  const { vault, disks } = await machineOf(t, ['vda', 'vdb']);
  await vault.backUp(disks);
  const hints = [await touch(disks[0]!, every(100, 20)), await touch(disks[1]!, [5, 6, 2999])];
  const hinted = disks.map((disk, at) => ({ ...disk, hint: hints[at]! }));
  const { disks: figures } = await vault.backUp(hinted);

  assert.deepEqual(
    figures.map(({ changed }) => changed / BLOCK),
    [20, 3],
  );
  assert.deepEqual(
    figures.map(({ read }) => read / BLOCK),
    [20 + AUDIT_BLOCKS, 3 + AUDIT_BLOCKS],
  );
  assert.deepEqual(vault.warnings, []);
  await vault.assertRestores();
});

test('M8 what a hint saves is not read from the source: counted at the NBD server', async (t) => {
  const { vault, disks } = await machineOf(t, ['vda']);
  const server = await nbdkitLog(t, vault.folder);
  const location = server.uri('vda.raw');
  await vault.backUpUnseen([{ name: 'vda', location }]);
  const full = server.reads();
  assert.equal(new Set(full.flatMap(blocksOf)).size, DATA_BLOCKS, 'each block of data, no hole');

  const changed = every(150, 10);
  const hint = await touch(disks[0]!, changed);
  const { disks: figures, pointId } = await vault.backUpUnseen([{ name: 'vda', location, hint }]);
  const reads = server.reads().slice(full.length);
  const blocks = new Set(reads.flatMap(blocksOf));
  assert.equal(figures[0]!.changed, changed.length * BLOCK);
  assert.equal(blocks.size, changed.length + AUDIT_BLOCKS);
  assert.ok(changed.every((block) => blocks.has(block)));
  await vault.assertSame(pointId, disks);
});

function blocksOf({ offset, length }: Extent): number[] {
  const first = Math.floor(offset / BLOCK);
  const end = Math.ceil((offset + length) / BLOCK);
  return Array.from({ length: end - first }, (_, at) => first + at);
}

test('M18 without a hint changes are found by checksums: all is read, only changes are stored', async (t) => {
  const { vault, disks } = await machineOf(t, ['vda']);
  await vault.backUp(disks);
  const { blocks } = await vault.statistics();
  const hint = await touch(disks[0]!, [3, 500, 2998]);
  const withHint = await vault.backUp([{ ...disks[0]!, hint }]);
  assert.equal(withHint.disks[0]!.read, (3 + AUDIT_BLOCKS) * BLOCK);

  await touch(disks[0]!, [4, 501]);
  const { disks: figures } = await vault.backUp(disks);
  assert.equal(figures[0]!.read, DATA_BLOCKS * BLOCK, 'the bitmap is gone: all of it is compared');
  assert.equal(figures[0]!.changed, 2 * BLOCK);
  assert.equal((await vault.statistics()).blocks, blocks + 5);
  assert.deepEqual(vault.warnings, [], 'and no word about it: it is no failure');
  await vault.assertRestores();
});

test('M18 a hint without a point to start from is not relied on: the backup is full', async (t) => {
  const { vault, disks } = await machineOf(t, ['vda']);
  const { disks: figures } = await vault.backUp([{ ...disks[0]!, hint: [] }]);
  assert.equal(figures[0]!.changed, DATA_BLOCKS * BLOCK);
  assert.match(vault.warnings.join(), /hint for vda is not used .*: there is no point before/);
  await vault.assertRestores();
});

test('M18 a hint that misses changes is caught by the audit; the same run compares everything', async (t) => {
  const { vault, disks } = await machineOf(t, ['vda', 'vdb']);
  await vault.backUp(disks);
  const all = await touch(disks[0]!, every(10, 300));
  const honest = await touch(disks[1]!, [11, 12]);
  // One of three dirty extents: of 200 others the audit draws one, but for once in 10^30 runs.
  const lie = all.filter((_, at) => at % 3 === 0);
  const { disks: figures } = await vault.backUp([
    { ...disks[0]!, hint: lie },
    { ...disks[1]!, hint: honest },
  ]);
  assert.deepEqual(
    figures.map(({ changed }) => changed / BLOCK),
    [300, 2],
  );
  assert.ok(figures[0]!.read >= DATA_BLOCKS * BLOCK, 'all of vda');
  assert.equal(figures[1]!.read, (2 + AUDIT_BLOCKS) * BLOCK, 'the hint for vdb is still used');
  assert.equal(vault.warnings.length, 1);
  assert.match(
    vault.warnings[0]!,
    /hint for vda is not used and the whole disk is compared: it misses changes/,
  );
  await vault.assertRestores();
});

test('M18 a hint that misses one block among few is always caught', async (t) => {
  const vault = await MissionRepository.create(t);
  const disk = { name: 'vda', location: vault.path('small.raw') };
  await makeImage(disk.location, 800 * BLOCK, [{ offset: 0, bytes: noise('s', 700 * BLOCK) }]);
  await vault.backUp([disk]);
  await touch(disk, [350]);
  const { disks } = await vault.backUp([{ ...disk, hint: [] }]);
  assert.equal(disks[0]!.changed, BLOCK);
  assert.match(vault.warnings.join(), /misses changes \(at 5734400\)/);
  await vault.assertRestores();
});

test('M18 a hint that misses data in a new place, or space given back, is always caught', async (t) => {
  const { vault, disks } = await machineOf(t, ['vda']);
  const [disk] = disks as [MissionDisk];
  await vault.backUp([disk]);
  await writeImage(disk.location, [{ offset: 5000 * BLOCK, bytes: noise('new', BLOCK) }]);
  const grown = await vault.backUp([{ ...disk, hint: [] }]);
  assert.equal(grown.disks[0]!.changed, BLOCK);
  assert.match(vault.warnings.join(), /misses changes \(at 81920000\)/);

  await makeImage(disk.location, 2 * DATA_BLOCKS * BLOCK, [
    { offset: 0, bytes: noise('vda', DATA_BLOCKS * BLOCK) },
  ]);
  const freed = await vault.backUp([{ ...disk, hint: [] }]);
  assert.equal(freed.disks[0]!.changed, BLOCK);
  assert.match(vault.warnings.join(), /misses changes/);
  await vault.assertRestores();
});
