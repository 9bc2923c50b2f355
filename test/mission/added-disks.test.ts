/** M19: a disk added to a VM joins its next backup, with a first copy beside the increments of the others. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BLOCK, makeImage, noise, writeBlocks } from './images.ts';
import { MissionRepository, ownedOf, type MissionDisk } from './mission-repository.ts';

const DATA_BLOCKS = 100;

class Machine {
  readonly vault: MissionRepository;
  readonly disks: MissionDisk[] = [];

  constructor(vault: MissionRepository) {
    this.vault = vault;
  }

  /** Attaches a disk with data of its own, or an image that is there. */
  async attach(name: string, text = name): Promise<void> {
    const disk = { name, location: this.vault.path(`${text}.raw`) };
    const bytes = noise(text, DATA_BLOCKS * BLOCK);
    await makeImage(disk.location, 2 * DATA_BLOCKS * BLOCK, [{ offset: 0, bytes }]);
    this.disks.push(disk);
  }

  /** @returns what was detached, to be attached again by `disks.push`. */
  detach(name: string): MissionDisk {
    const at = this.disks.findIndex((disk) => disk.name === name);
    return this.disks.splice(at, 1)[0]!;
  }

  /** @returns the changed blocks by disk. */
  async backUp(): Promise<{ point: string; changed: Readonly<Record<string, number>> }> {
    const { pointId, disks } = await this.vault.backUp(this.disks);
    const changed = disks.map((disk) => [disk.name, disk.changed / BLOCK] as const);
    return { point: pointId, changed: Object.fromEntries(changed) };
  }
}

test('M19 an added disk joins the next backup: a first copy of it, increments of the others', async (t) => {
  const machine = new Machine(await MissionRepository.create(t));
  await machine.attach('os');
  await machine.attach('data');
  await machine.backUp();
  await writeBlocks(machine.disks[0]!.location, { 3: 'new', 150: 'new too' });
  await machine.attach('added');
  const second = await machine.backUp();
  assert.deepEqual(second.changed, { os: 2, data: 0, added: DATA_BLOCKS });

  await writeBlocks(machine.disks[2]!.location, { 9: 'in the added disk' });
  const third = await machine.backUp();
  assert.deepEqual(third.changed, { os: 0, data: 0, added: 1 }, 'now an increment of it too');
  const sizes = await machine.vault.sizes();
  assert.deepEqual(
    sizes.map((point) => ownedOf(point)),
    [
      { os: DATA_BLOCKS * BLOCK, data: DATA_BLOCKS * BLOCK },
      { os: 2 * BLOCK, data: 0, added: DATA_BLOCKS * BLOCK },
      { os: 0, data: 0, added: BLOCK },
    ],
  );
  await machine.vault.assertRestores();
  await machine.vault.assertVerifies();
});

test('M19 with hints for the others the added disk, which has none, is copied whole', async (t) => {
  const machine = new Machine(await MissionRepository.create(t));
  await machine.attach('os');
  await machine.backUp();
  await writeBlocks(machine.disks[0]!.location, { 5: 'changed' });
  await machine.attach('added');
  const [os, added] = machine.disks;
  const hint = [{ offset: 4 * BLOCK, length: 100 }];
  const { disks } = await machine.vault.backUp([{ ...os!, hint }, added!]);
  assert.deepEqual(
    disks.map(({ changed }) => changed / BLOCK),
    [1, DATA_BLOCKS],
  );
  assert.deepEqual(machine.vault.warnings, []);
  await machine.vault.assertRestores();
});

test('M19 a disk that was removed and comes back continues where it was', async (t) => {
  const machine = new Machine(await MissionRepository.create(t));
  await machine.attach('os');
  await machine.attach('data');
  const first = await machine.backUp();
  const removed = machine.detach('data');
  await writeBlocks(machine.disks[0]!.location, { 1: 'os′' });
  assert.deepEqual((await machine.backUp()).changed, { os: 1 });

  await writeBlocks(removed.location, { 2: 'written elsewhere meanwhile' });
  machine.disks.push(removed);
  const back = await machine.backUp();
  assert.deepEqual(back.changed, { os: 0, data: 1 }, 'compared with the last point that has it');
  await machine.vault.assertRestores();

  const { mergedBlocks, deletedBlocks } = await machine.vault.expire(first.point);
  assert.deepEqual([mergedBlocks, deletedBlocks], [2 * DATA_BLOCKS - 2, 2]);
  const [, last] = await machine.vault.sizes();
  assert.deepEqual(ownedOf(last), { os: 0, data: DATA_BLOCKS * BLOCK });
});

test('M19 a disk that comes back after its points have expired is copied whole again', async (t) => {
  const machine = new Machine(await MissionRepository.create(t));
  await machine.attach('os');
  await machine.attach('data');
  const first = await machine.backUp();
  const removed = machine.detach('data');
  await machine.backUp();
  await machine.vault.expire(first.point);
  machine.disks.push(removed);
  const back = await machine.backUp();
  assert.deepEqual(back.changed, { os: 0, data: DATA_BLOCKS });
  await machine.vault.assertRestores();
  await machine.vault.assertVerifies();
});

test('M19 another disk under the name of one that was removed is a large change, in any size', async (t) => {
  const machine = new Machine(await MissionRepository.create(t));
  await machine.attach('os');
  await machine.attach('data');
  await machine.backUp();
  machine.detach('data');
  await machine.attach('data', 'another');
  const { changed } = await machine.backUp();
  assert.deepEqual(changed, { os: 0, data: DATA_BLOCKS });
  await makeImage(machine.disks[1]!.location, 7 * BLOCK + 5, [
    { offset: 0, bytes: noise('small', 7 * BLOCK + 5) },
  ]);
  await machine.backUp();
  await machine.vault.assertRestores();
});
