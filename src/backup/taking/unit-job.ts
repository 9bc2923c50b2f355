/**
 * The work of one unit of a disk (a level-1 page of its map: 4096 blocks), as plain data for a worker
 * thread. Places are blocks counted from the unit's first.
 */

export const UNIT_BLOCKS = 4096;
export const LEAF_BLOCKS = 64;

/** Runs of blocks, ascending and disjoint: pairs of first block and count. */
export type BlockRuns = Uint16Array<ArrayBuffer>;

export type UnitJob = {
  readonly unit: number;
  /** The page's id in the point before, 16 bytes; zeros: none. */
  readonly previousId: Uint8Array;
  /** To be read and compared. */
  readonly reads: BlockRuns;
  /** To be made zero without reading. What is in neither list stays as it was. */
  readonly zeros: BlockRuns;
};

/** Units of one disk for one thread. */
export type UnitBatch = {
  readonly disk: number;
  readonly units: readonly UnitJob[];
};

export type UnitBatchResult = {
  readonly disk: number;
  readonly pages: readonly { readonly unit: number; readonly id: Uint8Array }[];
  readonly readBytes: number;
  readonly changedBlocks: number;
  readonly newBytes: number;
};

/** Blocks to be compared with the point before, to find out whether a hint can be believed. */
export type AuditJob = {
  readonly unit: number;
  readonly previousId: Uint8Array;
  /** Allocated blocks that the hint calls unchanged. */
  readonly clean: BlockRuns;
  /** Blocks that are not allocated and that the hint calls unchanged. */
  readonly cleanHoles: BlockRuns;
  /** Blocks drawn at random among `clean`; and of the disk's last unit that was not zero, its last such block. */
  readonly samples: Uint16Array<ArrayBuffer>;
  /** Drawn at random, 32 bits, for what the thread draws by itself. */
  readonly seed: number;
};

export type AuditBatch = { readonly disk: number; readonly units: readonly AuditJob[] };

/** Where a hint cannot be believed. */
export type HintMiss = {
  /** In bytes. */
  readonly offset: number;
  /** The block changed though the hint calls it unchanged; else the point before cannot be read there. */
  readonly isChanged: boolean;
};

export type AuditBatchResult = {
  readonly disk: number;
  readonly readBytes: number;
  readonly miss: HintMiss | undefined;
};

/** The blocks of all runs. */
export function countBlocks(runs: BlockRuns): number {
  let count = 0;
  for (let at = 1; at < runs.length; at += 2) count += runs[at]!;
  return count;
}

/** What of the unit lies in no run. */
export function complementOf(runs: BlockRuns): BlockRuns {
  const rest: number[] = [];
  let from = 0;
  for (let at = 0; at < runs.length; at += 2) {
    if (runs[at]! > from) rest.push(from, runs[at]! - from);
    from = runs[at]! + runs[at + 1]!;
  }
  if (from < UNIT_BLOCKS) rest.push(from, UNIT_BLOCKS - from);
  return Uint16Array.from(rest);
}

export type LeafRun = { readonly firstEntry: number; readonly count: number };

/** The runs cut at leaves: for each leaf (0–63) its runs, in entries of the leaf, at most `most` long. */
export function runsByLeaf(runs: BlockRuns, most = LEAF_BLOCKS): LeafRun[][] {
  const leaves: LeafRun[][] = Array.from({ length: UNIT_BLOCKS / LEAF_BLOCKS }, () => []);
  for (let at = 0; at < runs.length; at += 2) {
    const end = runs[at]! + runs[at + 1]!;
    for (let block = runs[at]!; block < end;) {
      const leaf = Math.floor(block / LEAF_BLOCKS);
      const count = Math.min(end, (leaf + 1) * LEAF_BLOCKS, block + most) - block;
      leaves[leaf]!.push({ firstEntry: block - leaf * LEAF_BLOCKS, count });
      block += count;
    }
  }
  return leaves;
}
