/**
 * Draws what of a hint is checked: of the allocated blocks that it calls unchanged 1 000 at random or
 * one in a thousand, whichever is more (all, if there are fewer), every change of allocation, and always
 * the last that was not zero:
 *
 * Invariant: no shrink passes the audit if it took anything that the hint calls unchanged. A disk that is
 * shrunk and grown back is zero from some place to its end, and dirty bitmaps forget that part. Let a clean
 * block have lost bytes. Then the last clean block that was not zero is this one, or lies after it, wholly in
 * that part: nobody wrote it since, or it were not clean, so it is zero now. Either way it differs.
 */
import { subtractExtents, totalBytes, type Extent } from '#disk';
import { unitCountOf, unitIdRanges, type BaseUnits, type DiskPlan } from './disk-plan.ts';
import { UNIT_BLOCKS, type AuditBatch, type AuditJob, type BlockRuns } from './unit-job.ts';
import { UnitRuns } from './unit-runs.ts';

const LEAST_SAMPLES = 1000;
const BLOCKS_A_SAMPLE = 1000;
const BATCH_UNITS = 16;
const ID_BYTES = 16;
const ZERO_ID = Buffer.alloc(ID_BYTES);

export type Random = (size: number) => Buffer;

/** What an audit starts from. */
export type AuditBase = {
  readonly baseUnits: BaseUnits;
  /** The last block in `cleanExtents` that is not zero in the point before; undefined: there is none. */
  readonly lastBlock: number | undefined;
  readonly random: Random;
  /** All blocks that are allocated are checked; default: those drawn. */
  readonly auditsAll?: boolean;
};

/** What of the disk the hint calls unchanged, in whole blocks. */
export function cleanExtents({ blockSize, sizeBytes, dirty = [] }: DiskPlan): readonly Extent[] {
  const whole = { offset: 0, length: Math.ceil(sizeBytes / blockSize) * blockSize };
  return subtractExtents({ from: [whole], removed: dirty });
}

/** The units that must be looked at, ascending, in batches. The plan has a hint. */
export async function* auditBatches(
  plan: DiskPlan & { readonly dirty: readonly Extent[] },
  base: AuditBase,
): AsyncGenerator<AuditBatch> {
  let units: AuditJob[] = [];
  for await (const job of auditJobs(plan, base)) {
    units.push(job);
    if (units.length < BATCH_UNITS) continue;
    yield { disk: plan.disk, units };
    units = [];
  }
  if (units.length > 0) yield { disk: plan.disk, units };
}

async function* auditJobs(
  plan: DiskPlan & { readonly dirty: readonly Extent[] },
  { baseUnits, lastBlock, random, auditsAll = false }: AuditBase,
): AsyncGenerator<AuditJob> {
  const { blockSize, data, dirty } = plan;
  const cleanData = subtractExtents({ from: data, removed: dirty });
  const holes = subtractExtents({ from: cleanExtents(plan), removed: data });
  const clean = new UnitRuns(cleanData, blockSize);
  const cleanHoles = new UnitRuns(holes, blockSize);
  const last =
    lastBlock === undefined ? [] : [{ offset: lastBlock * blockSize, length: blockSize }];
  const others = subtractExtents({ from: cleanData, removed: last });
  const drawn = drawSamples({ extents: auditsAll ? [] : others, blockSize, random });
  const samples = new Samples(lastBlock === undefined ? drawn : withBlock(drawn, lastBlock));
  for await (const { from, ids } of unitIdRanges(unitCountOf(plan), baseUnits)) {
    for (let at = 0; at < ids.length; at += ID_BYTES) {
      const unit = from + at / ID_BYTES;
      const previousId = ids.subarray(at, at + ID_BYTES);
      const runs = { clean: clean.of(unit), cleanHoles: cleanHoles.of(unit) };
      const wasZero = previousId.equals(ZERO_ID);
      if (runs.clean.length === 0 && (wasZero || runs.cleanHoles.length === 0)) continue;
      yield {
        unit,
        previousId: new Uint8Array(previousId),
        ...runs,
        samples: auditsAll ? blocksOf(runs.clean) : samples.of(unit),
        seed: random(4).readUInt32LE(),
      };
    }
  }
}

/** Numbers of distinct blocks in the extents, ascending. */
export function drawSamples(from: {
  readonly extents: readonly Extent[];
  readonly blockSize: number;
  readonly random: Random;
}): Float64Array {
  const { extents, blockSize, random } = from;
  const blockCount = totalBytes(extents) / blockSize;
  const wanted = Math.max(LEAST_SAMPLES, Math.ceil(blockCount / BLOCKS_A_SAMPLE));
  const ordinals = distinctBelow(blockCount, Math.min(wanted, blockCount), random);
  let extent = 0;
  let before = 0;
  return ordinals.map((ordinal) => {
    for (;;) {
      const { offset, length } = extents[extent]!;
      const blocks = length / blockSize;
      if (ordinal < before + blocks) return offset / blockSize + ordinal - before;
      before += blocks;
      extent += 1;
    }
  });
}

function blocksOf(runs: BlockRuns): Uint16Array<ArrayBuffer> {
  const blocks: number[] = [];
  for (let at = 0; at < runs.length; at += 2) {
    const first = runs[at]!;
    for (let block = first; block < first + runs[at + 1]!; block += 1) blocks.push(block);
  }
  return Uint16Array.from(blocks);
}

/** The samples, still ascending, with one block more. */
function withBlock(samples: Float64Array, block: number): Float64Array {
  return Float64Array.from([...samples, block]).sort();
}

function distinctBelow(limit: number, count: number, random: Random): Float64Array {
  if (count === limit) return Float64Array.from({ length: count }, (_, at) => at);
  const chosen = new Set<number>();
  while (chosen.size < count) {
    const bytes = random(6 * (count - chosen.size));
    for (let at = 0; at < bytes.length; at += 6) chosen.add(bytes.readUIntLE(at, 6) % limit);
  }
  return Float64Array.from(chosen).sort();
}

/** Goes up the samples once, unit by unit. */
class Samples {
  readonly #blocks: Float64Array;
  #at = 0;

  constructor(blocks: Float64Array) {
    this.#blocks = blocks;
  }

  of(unit: number): Uint16Array<ArrayBuffer> {
    const first = unit * UNIT_BLOCKS;
    const start = this.#at;
    while (this.#at < this.#blocks.length && this.#blocks[this.#at]! < first + UNIT_BLOCKS) {
      this.#at += 1;
    }
    return Uint16Array.from(this.#blocks.subarray(start, this.#at), (block) => block - first);
  }
}
