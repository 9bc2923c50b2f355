/**
 * M31: expired points are deleted or merged into the next: the documents' three cases on their V1. Their
 * example contradicts itself (step 2 says RP2 holds only D3; case 1 says that it overwrote D2; step 3
 * overwrites D3, case 2 merges it), so both readings are here. `MissionRepository.expire` restores every
 * point before and after each expiry and compares the bytes freed with those announced.
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { BLOCK, makeImage, writeBlocks } from './images.ts';
import { MissionRepository, ownedOf } from './mission-repository.ts';

type Contents = Readonly<Record<number, string | undefined>>;

const DAY_MS = 24 * 60 * 60 * 1000;

/** A machine with one data disk, backed up after each change. */
class Machine {
  readonly vault: MissionRepository;
  readonly #disk: { readonly name: string; readonly location: string };

  private constructor(vault: MissionRepository) {
    this.vault = vault;
    this.#disk = { name: 'data', location: vault.path('v1.raw') };
  }

  static async start(t: TestContext, blockCount = 4): Promise<Machine> {
    const machine = new Machine(await MissionRepository.create(t));
    await makeImage(machine.#disk.location, blockCount * BLOCK);
    return machine;
  }

  async change(contents: Contents): Promise<void> {
    await writeBlocks(this.#disk.location, contents);
  }

  async backUp(contents: Contents = {}): Promise<string> {
    await this.change(contents);
    return (await this.vault.backUp([this.#disk])).pointId;
  }

  /** How many blocks each point owns, oldest first. */
  async owned(): Promise<(readonly [string, number])[]> {
    const sizes = await this.vault.sizes();
    return sizes.map((point) => [point.id, ownedOf(point)['data']! / BLOCK]);
  }
}

const STEP_1 = { 1: 'D1', 2: 'D2' };
const STEP_2 = { 3: 'D3' };
const STEP_3 = { 2: 'D2′', 3: 'D3′' };

test('M31 case 1, as in step 2: the first point expires, D1 and D2 merge into RP2, now the full backup', async (t) => {
  const machine = await Machine.start(t);
  const rp1 = await machine.backUp(STEP_1);
  const rp2 = await machine.backUp(STEP_2);
  const rp3 = await machine.backUp(STEP_3);
  const result = await machine.vault.expire(rp1);
  assert.deepEqual([result.mergedBlocks, result.deletedBlocks], [2, 0]);
  assert.deepEqual(await machine.owned(), [
    [rp2, 3],
    [rp3, 2],
  ]);
});

test('M31 case 1, as in its text: RP2 overwrote D2, so D2 is deleted and D1 merges into RP2', async (t) => {
  const machine = await Machine.start(t);
  const rp1 = await machine.backUp(STEP_1);
  const rp2 = await machine.backUp({ 2: 'D2′', 3: 'D3' });
  const rp3 = await machine.backUp({ 3: 'D3′' });
  const result = await machine.vault.expire(rp1);
  assert.deepEqual([result.mergedBlocks, result.deletedBlocks], [1, 1]);
  assert.ok(result.freedBytes >= BLOCK, 'D2, which does not compress');
  assert.deepEqual(await machine.owned(), [
    [rp2, 3],
    [rp3, 1],
  ]);
});

test('M31 case 1: D1 stays in all later points until a backup finds it changed', async (t) => {
  const machine = await Machine.start(t);
  const points = [await machine.backUp(STEP_1)];
  for (const contents of [STEP_2, STEP_3, { 4: 'D4' }]) points.push(await machine.backUp(contents));
  const last = await machine.backUp({ 1: 'D1′' });
  for (const point of points.slice(0, -1)) await machine.vault.expire(point);
  assert.deepEqual(await machine.owned(), [
    [points.at(-1), 4],
    [last, 1],
  ]);
  const { mergedBlocks, deletedBlocks } = await machine.vault.expire(points.at(-1)!);
  assert.deepEqual([mergedBlocks, deletedBlocks], [3, 1], 'now D1 goes');
  assert.deepEqual(await machine.owned(), [[last, 4]]);
});

test('M31 case 2, as in its text: RP3 did not overwrite D3, so D3 merges into RP3', async (t) => {
  const machine = await Machine.start(t);
  const rp1 = await machine.backUp(STEP_1);
  const rp2 = await machine.backUp(STEP_2);
  const rp3 = await machine.backUp({ 2: 'D2′' });
  const result = await machine.vault.expire(rp2);
  assert.deepEqual([result.mergedBlocks, result.deletedBlocks], [1, 0]);
  assert.deepEqual(await machine.owned(), [
    [rp1, 2],
    [rp3, 2],
  ]);
});

test('M31 case 2, as in step 3: RP3 overwrote D3, so D3 is deleted; RP1 stays full with D1 and D2', async (t) => {
  const machine = await Machine.start(t);
  const rp1 = await machine.backUp(STEP_1);
  const rp2 = await machine.backUp(STEP_2);
  const rp3 = await machine.backUp(STEP_3);
  const result = await machine.vault.expire(rp2);
  assert.deepEqual([result.mergedBlocks, result.deletedBlocks], [0, 1]);
  assert.ok(result.freedBytes >= BLOCK, 'D3, which does not compress');
  assert.deepEqual(await machine.owned(), [
    [rp1, 2],
    [rp3, 2],
  ]);
});

for (const retentionDays of [5, 30]) {
  test(`M31 case 3: an on-demand point of day 4 kept 10 days expires at the end of day 14, daily ones after ${retentionDays}`, async (t) => {
    const machine = await Machine.start(t, 40);
    const { vault } = machine;
    const daily = new Map<number, string>();
    let onDemand = '';
    await machine.change({ 1: 'base', 2: 'kept', 3: 'overwritten', 4: 'freed' });
    for (let day = 1; day <= 14; day += 1) {
      if (day === 4) {
        // After RP3 and before RP4, with changes of its own.
        const own = { 2: 'kept′', 3: 'overwritten′', 4: 'freed′', 5: 'own' };
        onDemand = await machine.backUp(own);
        await machine.change({ 3: 'overwritten″', 4: undefined });
      }
      daily.set(day, await machine.backUp({ [10 + day]: `day ${day}` }));
      const expired = daily.get(day - retentionDays);
      if (expired !== undefined) await vault.expireUnrestored(expired);
      vault.calendar.advance(DAY_MS);
    }
    const alive = await machine.owned();
    const oldestDaily = Math.max(1, 15 - retentionDays);
    const isOldest = oldestDaily > 4;
    assert.equal(alive.length, 15 - oldestDaily + 1);
    assert.equal(
      alive.findIndex(([id]) => id === onDemand),
      isOldest ? 0 : 3,
    );
    const owns = isOldest ? ['base', 'kept′', 'own', 11, 12, 13, 3, 4] : ['kept′', 'own', 3, 4];
    assert.equal(new Map(alive).get(onDemand), owns.length);

    const next = daily.get(isOldest ? oldestDaily : 4)!;
    const { mergedBlocks, deletedBlocks } = await vault.expire(onDemand);
    assert.equal(deletedBlocks, 2, 'what was overwritten or freed since');
    assert.equal(mergedBlocks, owns.length - 2, 'the rest, with the next available point');
    const before = new Map(alive).get(next)!;
    assert.equal(new Map(await machine.owned()).get(next), before + mergedBlocks);
  });
}

test('M31 points that expire in any order, and together, leave the others whole and free all at the end', async (t) => {
  const machine = await Machine.start(t);
  const { vault } = machine;
  const points: string[] = [];
  for (const contents of [STEP_1, STEP_2, STEP_3, { 4: 'D4' }, { 1: 'D1′' }, { 3: undefined }]) {
    points.push(await machine.backUp(contents));
  }
  const [rp1, rp2, rp3, rp4, rp5, rp6] = points as [string, string, string, string, string, string];
  await vault.expire(rp3);
  await vault.expire(rp1, rp4);
  await vault.expire(rp6);
  await vault.expire(rp2, rp5);
  const { liveBytes, points: count } = await vault.statistics();
  assert.deepEqual([liveBytes, count], [0, 0]);
  assert.deepEqual(await vault.sizes(), []);
});

test('M31 a block that comes back is owned twice, and the last point that needs it keeps it', async (t) => {
  const machine = await Machine.start(t);
  const { vault } = machine;
  const rp1 = await machine.backUp({ 1: 'A' });
  const rp2 = await machine.backUp({ 1: 'B' });
  const rp3 = await machine.backUp({ 1: 'A' });
  assert.equal((await vault.statistics()).blocks, 2, 'A is stored once');
  assert.deepEqual(await machine.owned(), [
    [rp1, 1],
    [rp2, 1],
    [rp3, 1],
  ]);
  await vault.expire(rp2);
  assert.deepEqual(await machine.owned(), [
    [rp1, 1],
    [rp3, 0],
  ]);
  const { mergedBlocks, deletedBlocks } = await vault.expire(rp1);
  assert.deepEqual([mergedBlocks, deletedBlocks], [1, 0]);
  assert.deepEqual(await machine.owned(), [[rp3, 1]]);
});
