/**
 * Which runs to merge. Records commute, so any runs may be merged, whatever their age. Runs are put in
 * tiers that grow by four; four in one tier are merged, with all that are smaller: so each record is
 * rewritten once a tier, and at most three runs a tier remain.
 */

/** Below this a merge costs less than keeping runs apart: they are all one tier. */
const SMALLEST_TIER_RECORDS = 1 << 15;
const RUNS_PER_TIER = 4;

type Sized = { readonly meta: { readonly recordCount: number } };

/** The runs to merge next; empty if there is nothing to do. */
export function chooseMerge<T extends Sized>(runs: readonly T[]): T[] {
  const tierOf = ({ meta }: T): number =>
    Math.max(0, Math.ceil(Math.log2(meta.recordCount / SMALLEST_TIER_RECORDS) / 2));
  const perTier: number[] = [];
  for (const run of runs) perTier[tierOf(run)] = (perTier[tierOf(run)] ?? 0) + 1;
  const tier = perTier.findLastIndex((count) => count >= RUNS_PER_TIER);
  return runs.filter((run) => tierOf(run) <= tier);
}
