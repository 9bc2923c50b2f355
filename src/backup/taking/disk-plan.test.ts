import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { alignExtents, normaliseExtents, totalBytes, type Extent } from '#disk';
import { auditBatches, cleanExtents, drawSamples } from './audit-plan.ts';
import { plannedBytes, unitBatches, type DiskPlan } from './disk-plan.ts';
import {
  countBlocks,
  LEAF_BLOCKS,
  runsByLeaf,
  UNIT_BLOCKS,
  type AuditJob,
  type BlockRuns,
  type UnitJob,
} from './unit-job.ts';

const BLOCK = 4096;
const UNIT_BYTES = UNIT_BLOCKS * BLOCK;
const ID = Buffer.alloc(16, 7);

const extents = fc
  .array(fc.record({ offset: fc.nat(4 * UNIT_BYTES), length: fc.nat(UNIT_BYTES) }), {
    maxLength: 6,
  })
  .map((list) => normaliseExtents(list));

/** A disk of up to four units, some of which the base has. */
const someDisk = fc.record({
  sizeBytes: fc.nat(4 * UNIT_BYTES),
  data: extents,
  dirty: fc.option(extents, { nil: undefined }),
  base: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
});
type SomeDisk = typeof someDisk extends fc.Arbitrary<infer Disk> ? Disk : never;

function planOf({ sizeBytes, data, dirty }: SomeDisk): DiskPlan {
  const bounds = { blockBytes: BLOCK, sizeBytes: Math.ceil(sizeBytes / BLOCK) * BLOCK };
  const clipped = (list: readonly Extent[]): Extent[] =>
    alignExtents(
      list.filter(({ offset }) => offset < sizeBytes),
      bounds,
    );
  const plan = { disk: 0, blockSize: BLOCK, sizeBytes, data: clipped(data) };
  return { ...plan, dirty: dirty === undefined ? undefined : clipped(dirty) };
}

const baseUnits =
  (base: readonly boolean[]) =>
  async ({ from, to }: { from: number; to: number }): Promise<Buffer> =>
    Buffer.concat(base.slice(from, to).map((has) => (has ? ID : Buffer.alloc(16))));

function blocksIn(list: readonly Extent[] | undefined, block: number): boolean {
  const at = block * BLOCK;
  return list?.some(({ offset, length }) => at >= offset && at < offset + length) === true;
}

function has(runs: BlockRuns, block: number): boolean {
  for (let at = 0; at < runs.length; at += 2) {
    if (block >= runs[at]! && block < runs[at]! + runs[at + 1]!) return true;
  }
  return false;
}

const random = (size: number): Buffer => randomBytes(size);

/** Every 61st block of the disk: no two in a row of the same place in a leaf. */
function* someBlocks(
  sizeBytes: number,
): Generator<{ block: number; unit: number; within: number }> {
  for (let block = 0; block * BLOCK < sizeBytes; block += 61) {
    const unit = Math.floor(block / UNIT_BLOCKS);
    yield { block, unit, within: block - unit * UNIT_BLOCKS };
  }
}

/** What becomes of a block: read, cleared, or kept. */
function fateIn(job: { reads: BlockRuns; zeros: BlockRuns } | undefined, within: number): string {
  if (job === undefined) return 'kept';
  const isRead = has(job.reads, within);
  assert.ok(!(isRead && has(job.zeros, within)), 'not both');
  if (isRead) return 'read';
  return has(job.zeros, within) ? 'cleared' : 'kept';
}

function fateWanted(plan: DiskPlan, block: number, inBase: boolean): readonly string[] {
  const isData = blocksIn(plan.data, block);
  if (plan.dirty !== undefined && !blocksIn(plan.dirty, block)) return ['kept'];
  if (isData) return ['read'];
  // Clearing what is zero in the base as well is the same as keeping it.
  return inBase || plan.dirty !== undefined ? ['cleared'] : ['cleared', 'kept'];
}

test('a plan reads what is data and may have changed, clears what is not, keeps the rest', async () => {
  await fc.assert(
    fc.asyncProperty(someDisk, async (disk) => {
      const plan = planOf(disk);
      const jobs = new Map<number, UnitJob>();
      for await (const { units } of unitBatches(plan, baseUnits(disk.base))) {
        for (const job of units) {
          assert.ok(!jobs.has(job.unit));
          assert.equal(ID.equals(job.previousId), disk.base[job.unit]);
          jobs.set(job.unit, job);
        }
      }
      for (const { block, unit, within } of someBlocks(disk.sizeBytes)) {
        const wanted = fateWanted(plan, block, disk.base[unit]!);
        assert.ok(wanted.includes(fateIn(jobs.get(unit), within)));
      }
      const readBlocks = [...jobs.values()].reduce((sum, job) => sum + countBlocks(job.reads), 0);
      const padding = Math.ceil(disk.sizeBytes / BLOCK) * BLOCK - disk.sizeBytes;
      assert.ok([0, padding].includes(readBlocks * BLOCK - plannedBytes(plan)));
    }),
    { numRuns: 60 },
  );
});

test('an audit looks at every clean block of units that could tell, and samples only clean data', async () => {
  await fc.assert(
    fc.asyncProperty(someDisk, async (disk) => {
      const plan = planOf({ ...disk, dirty: disk.dirty ?? [] });
      const hinted = { ...plan, dirty: plan.dirty! };
      const jobs = new Map<number, AuditJob>();
      const base = { baseUnits: baseUnits(disk.base), lastBlock: undefined, random };
      for await (const { units } of auditBatches(hinted, base)) {
        for (const job of units) jobs.set(job.unit, job);
      }
      for (const { clean, samples } of jobs.values()) {
        for (const sample of samples) assert.ok(has(clean, sample));
      }
      for (const { block, unit, within } of someBlocks(disk.sizeBytes)) {
        if (blocksIn(hinted.dirty, block)) continue;
        const job = jobs.get(unit);
        const isData = blocksIn(plan.data, block);
        if (isData || disk.base[unit]) assert.ok(job !== undefined);
        if (job === undefined) continue;
        assert.deepEqual([has(job.clean, within), has(job.cleanHoles, within)], [isData, !isData]);
      }
    }),
    { numRuns: 40 },
  );
});

test('an audit always looks at the last block that was not zero, once, drawn or not', async () => {
  const whole = [{ offset: 0, length: 3 * UNIT_BYTES }];
  const plan = { disk: 0, blockSize: BLOCK, sizeBytes: 3 * UNIT_BYTES, data: whole };
  const units = baseUnits([true, true, true]);
  for (const [dirty, lastBlock] of [
    [[], 3 * UNIT_BLOCKS - 1],
    [[], UNIT_BLOCKS],
    // All that is clean is drawn, the last block as well.
    [[{ offset: 4 * BLOCK, length: 3 * UNIT_BYTES - 4 * BLOCK }], 3],
  ] as const) {
    const seen: number[] = [];
    const hinted = { ...plan, dirty };
    for await (const batch of auditBatches(hinted, { baseUnits: units, lastBlock, random })) {
      for (const { unit, samples } of batch.units) {
        for (const sample of samples) seen.push(unit * UNIT_BLOCKS + sample);
      }
    }
    assert.equal(seen.filter((block) => block === lastBlock).length, 1);
    assert.deepEqual(
      seen,
      seen.toSorted((a, b) => a - b),
    );
  }
  assert.deepEqual(cleanExtents({ ...plan, dirty: whole }), []);
  const odd = { ...plan, sizeBytes: 2 * BLOCK + 1, dirty: [{ offset: BLOCK, length: BLOCK }] };
  assert.deepEqual(cleanExtents(odd), [
    { offset: 0, length: BLOCK },
    { offset: 2 * BLOCK, length: BLOCK },
  ]);
});

test('samples are distinct, ascending, in the extents, and as many as they must be', () => {
  for (const [blocks, wanted] of [
    [0, 0],
    [10, 10],
    [1000, 1000],
    [50_000, 1000],
    [3_000_000, 3000],
  ] as const) {
    const list = blocks === 0 ? [] : [{ offset: 5 * BLOCK, length: blocks * BLOCK }];
    const samples = drawSamples({ extents: list, blockSize: BLOCK, random });
    assert.equal(samples.length, wanted);
    assert.ok(samples.every((block, at) => at === 0 || block > samples[at - 1]!));
    assert.ok(samples.every((block) => block >= 5 && block < 5 + blocks));
  }
  const two = [
    { offset: 0, length: 3 * BLOCK },
    { offset: 9 * BLOCK, length: 2 * BLOCK },
  ];
  assert.deepEqual([...drawSamples({ extents: two, blockSize: BLOCK, random })], [0, 1, 2, 9, 10]);
});

test('runs are cut at leaves and at the longest piece, and lose nothing', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(UNIT_BLOCKS), { minLength: 2, maxLength: 12 }),
      fc.integer({ min: 1, max: LEAF_BLOCKS }),
      (edges, most) => {
        const sorted = edges.toSorted((a, b) => a - b).slice(0, edges.length - (edges.length % 2));
        const runs = sorted.flatMap((edge, at) =>
          at % 2 === 0 ? [edge, sorted[at + 1]! - edge] : [],
        );
        const covered = new Set<number>();
        for (const [leaf, pieces] of runsByLeaf(Uint16Array.from(runs), most).entries()) {
          for (const { firstEntry, count } of pieces) {
            assert.ok(count >= 1 && count <= most && firstEntry + count <= LEAF_BLOCKS);
            for (let at = 0; at < count; at += 1) covered.add(leaf * LEAF_BLOCKS + firstEntry + at);
          }
        }
        assert.equal(
          covered.size,
          totalBytes(runs.map((_, at) => ({ offset: 0, length: at % 2 === 1 ? runs[at]! : 0 }))),
        );
        for (const block of covered) assert.ok(has(Uint16Array.from(runs), block));
      },
    ),
  );
});
