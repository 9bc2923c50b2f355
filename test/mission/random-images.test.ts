/**
 * Random images and changes, backed up from and restored to real files: whatever the block size, the
 * disk's size and its format, every point restores and the sizes agree. The seed is in the output; run
 * one again with `HOLDFAST_SEED=… node --test test/mission/random-images.test.ts`.
 */
import { test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { truncate } from 'node:fs/promises';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { makeImage, noise, writeImage } from './images.ts';
import { MissionRepository, type MissionDisk } from './mission-repository.ts';

/** Bytes written at a place of the disk, given in thousandths of its size. */
type RandomWrite = {
  readonly at: number;
  readonly sizeBytes: number;
  /** 0: zeros; others repeat, so that contents come back and are shared. */
  readonly content: number;
};

type RandomStep = {
  readonly writes: readonly RandomWrite[];
  readonly resizeTo: number | undefined;
  readonly isHinted: boolean;
  readonly expires: number | undefined;
};

const SECTOR = 512;
const MOST_BYTES = 3_000_000;

const size = fc.oneof(
  fc.constantFrom(0, 1, 4096, 65_536, 1_048_576, 1_048_577),
  fc.integer({ min: 1, max: MOST_BYTES }),
);
const write = fc.record({
  at: fc.integer({ min: 0, max: 999 }),
  sizeBytes: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 300_000 })),
  content: fc.integer({ min: 0, max: 5 }),
});
const step = fc.record({
  writes: fc.array(write, { maxLength: 6 }),
  resizeTo: fc.option(size, { nil: undefined, freq: 5 }),
  isHinted: fc.boolean(),
  expires: fc.option(fc.nat(), { nil: undefined, freq: 3 }),
});
const history = fc.record({
  blockSize: fc.constantFrom(4096, 16_384, 65_536),
  threads: fc.constantFrom(1, 2),
  sizeBytes: size,
  steps: fc.array(step, { minLength: 2, maxLength: 4 }),
});
type RandomHistory = typeof history extends fc.Arbitrary<infer Value> ? Value : never;

/** A disk that is changed with the list of what changed, as a hypervisor keeps it. */
class ChangingImage {
  readonly disk: MissionDisk;
  #sizeBytes: number;

  constructor(location: string, sizeBytes: number) {
    this.disk = { name: 'vda', location };
    this.#sizeBytes = sizeBytes;
  }

  async create(): Promise<void> {
    await makeImage(this.disk.location, this.#sizeBytes);
  }

  async change({ writes, resizeTo }: RandomStep): Promise<{ offset: number; length: number }[]> {
    if (resizeTo !== undefined) {
      await truncate(this.disk.location, resizeTo);
      this.#sizeBytes = resizeTo;
    }
    const size = this.#sizeBytes;
    const made = writes.map(({ at, sizeBytes, content }) => {
      const offset = Math.floor((size * at) / 1000);
      const length = Math.min(sizeBytes, size - offset);
      const bytes = content === 0 ? Buffer.alloc(length) : noise(`content ${content}`, length);
      return { offset, bytes };
    });
    await writeImage(this.disk.location, made);
    return made.map(({ offset, bytes }) => ({ offset, length: bytes.length }));
  }
}

async function runHistory(t: TestContext, given: RandomHistory): Promise<void> {
  const { blockSize, threads, sizeBytes, steps } = given;
  const vault = await MissionRepository.create(t, { blockSize });
  const image = new ChangingImage(vault.path('disk.raw'), sizeBytes);
  await image.create();
  const points: string[] = [];
  for (const random of steps) {
    const hint = await image.change(random);
    // A hint says what changed since the newest point; the first has none to start from.
    const isHinted = random.isHinted && points.length > 0;
    const disk = { ...image.disk, ...(isHinted ? { hint } : {}) };
    const { pointId, disks } = await vault.backUp([disk], { threads });
    assert.deepEqual(vault.warnings, []);
    assert.equal(disks[0]!.changed % blockSize, 0);
    points.push(pointId);
    if (random.expires === undefined || points.length === 1) continue;
    // Never the newest: the next hint starts from it.
    const [expired] = points.splice(random.expires % (points.length - 1), 1);
    await vault.expireUnsummed(expired!);
  }
  await vault.assertRestores();
  await vault.assertVerifies();
  await vault.expireUnsummed(...points);
  assert.equal((await vault.statistics()).liveBytes, 0);
}

test('random images with random changes restore from every point, and their sizes agree', async (t) => {
  const seed = Number(process.env['HOLDFAST_SEED'] ?? randomInt(2 ** 31));
  t.diagnostic(`seed ${seed}`);
  const property = fc.asyncProperty(history, async (given) => await runHistory(t, given));
  await fc.assert(property, { seed, numRuns: 12, endOnFailure: true });
});

test('random changes of a qcow2 image with a backing file restore as qemu-img reads them', async (t) => {
  const seed = Number(process.env['HOLDFAST_SEED'] ?? randomInt(2 ** 31));
  t.diagnostic(`seed ${seed}`);
  const run = async (command: string, ...args: string[]): Promise<string> =>
    (await promisify(execFile)(command, args)).stdout;
  const vault = await MissionRepository.create(t);
  const [base, top] = [vault.path('base.qcow2'), vault.path('top.qcow2')];
  await run('qemu-img', 'create', '-q', '-f', 'qcow2', base, '20M');
  await run('qemu-io', '-f', 'qcow2', '-c', 'write -P 7 1M 3M', base);
  await run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', top);
  const image = { name: 'vda', location: top };
  const points: { point: string; raw: string }[] = [];
  const random = fc.sample(fc.array(write, { minLength: 3, maxLength: 6 }), { seed, numRuns: 3 });
  for (const [at, writes] of random.entries()) {
    for (const { at: place, sizeBytes, content } of writes) {
      const offset = place * 40 * SECTOR;
      const length = Math.ceil(sizeBytes / SECTOR) * SECTOR;
      await run('qemu-io', '-f', 'qcow2', '-c', `write -P ${content} ${offset} ${length}`, top);
    }
    const { pointId } = await vault.backUpUnseen([image]);
    const raw = vault.path(`as-qemu-reads-${at}.raw`);
    await run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', top, raw);
    points.push({ point: pointId, raw });
  }
  for (const { point, raw } of points) {
    await vault.assertSame(point, [{ name: 'vda', location: raw }]);
  }
});
