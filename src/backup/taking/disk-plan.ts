/**
 * What a backup has to do on one disk: which units, and in each which blocks to read, to make zero, to
 * keep. Units that need nothing cost nothing but a look at their ids, in large ranges.
 */
import { intersectExtents, subtractExtents, type Extent } from '#disk';
import {
  complementOf,
  countBlocks,
  UNIT_BLOCKS,
  type UnitBatch,
  type UnitJob,
} from './unit-job.ts';
import { UnitRuns } from './unit-runs.ts';

export type DiskPlan = {
  readonly disk: number;
  readonly blockSize: number;
  readonly sizeBytes: number;
  /** What may hold data, in whole blocks. */
  readonly data: readonly Extent[];
  /** What may have changed, in whole blocks; undefined: anything, so all of the disk is compared. */
  readonly dirty: readonly Extent[] | undefined;
};

/** The ids of a range of units in the point before; as `BackupSession.baseUnits`. */
export type BaseUnits = (range: { readonly from: number; readonly to: number }) => Promise<Buffer>;

const ID_BYTES = 16;
const ZERO_ID = Buffer.alloc(ID_BYTES);
/** Ids asked for at once: 1 MiB. */
const RANGE_UNITS = 65_536;
/** A batch ends when it has as many blocks as a dense unit, or this many units. */
const BATCH_UNITS = 32;

export function unitCountOf({
  sizeBytes,
  blockSize,
}: Pick<DiskPlan, 'sizeBytes' | 'blockSize'>): number {
  return Math.ceil(sizeBytes / (UNIT_BLOCKS * blockSize));
}

/** How much will be read. */
export function plannedBytes(plan: DiskPlan): number {
  return plannedReads(plan).reduce(
    (sum, { offset, length }) => sum + Math.min(offset + length, plan.sizeBytes) - offset,
    0,
  );
}

/** The extents that will be read. */
function plannedReads({ data, dirty }: DiskPlan): readonly Extent[] {
  return dirty === undefined ? data : intersectExtents(data, dirty);
}

/** Every unit that needs work, ascending, in batches. */
export async function* unitBatches(
  plan: DiskPlan,
  baseUnits: BaseUnits,
): AsyncGenerator<UnitBatch> {
  let units: UnitJob[] = [];
  let blocks = 0;
  for await (const job of unitJobs(plan, baseUnits)) {
    units.push(job);
    blocks += countBlocks(job.reads);
    if (blocks < UNIT_BLOCKS && units.length < BATCH_UNITS) continue;
    yield { disk: plan.disk, units };
    units = [];
    blocks = 0;
  }
  if (units.length > 0) yield { disk: plan.disk, units };
}

async function* unitJobs(plan: DiskPlan, baseUnits: BaseUnits): AsyncGenerator<UnitJob> {
  const { blockSize, data, dirty } = plan;
  const reads = new UnitRuns(plannedReads(plan), blockSize);
  const removed = dirty === undefined ? [] : subtractExtents({ from: dirty, removed: data });
  const zeros = new UnitRuns(removed, blockSize);
  for await (const { from, ids } of unitIdRanges(unitCountOf(plan), baseUnits)) {
    for (let at = 0; at < ids.length; at += ID_BYTES) {
      const unit = from + at / ID_BYTES;
      const previousId = ids.subarray(at, at + ID_BYTES);
      const toRead = reads.of(unit);
      const toClear = zeros.of(unit);
      const isCompared = dirty === undefined && (toRead.length > 0 || !previousId.equals(ZERO_ID));
      if (!isCompared && toRead.length === 0 && toClear.length === 0) continue;
      yield {
        unit,
        previousId: new Uint8Array(previousId),
        reads: toRead,
        zeros: isCompared ? complementOf(toRead) : toClear,
      };
    }
  }
}

/** The ids of all units of the disk in the point before, range by range. */
export async function* unitIdRanges(
  unitCount: number,
  baseUnits: BaseUnits,
): AsyncGenerator<{ readonly from: number; readonly ids: Buffer }> {
  for (let from = 0; from < unitCount; from += RANGE_UNITS) {
    yield { from, ids: await baseUnits({ from, to: Math.min(from + RANGE_UNITS, unitCount) }) };
  }
}
