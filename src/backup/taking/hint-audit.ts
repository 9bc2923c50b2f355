/**
 * Whether a changed-block hint can be believed, in a worker thread (DESIGN §4): compares with the point
 * before what the hint calls unchanged, a random sample and everything whose allocation changed.
 *
 * The point before says which blocks are zero, not which were allocated: what is free now must have been
 * zero, and what was zero and is allocated is read. But a leaf that is allocated as a whole and was
 * zero as a whole may just be free space of a device or of a preallocated image: of those a few in
 * each unit are probed, or a hint would make nothing faster there.
 */
import { isHoldfastError, throwIfCancelled } from '#base';
import type { DiskSource } from '#disk';
import type { SessionThread } from '#repository';
import type { ReadAhead } from './read-ahead.ts';
import {
  LEAF_BLOCKS,
  UNIT_BLOCKS,
  runsByLeaf,
  type AuditJob,
  type HintMiss,
  type LeafRun,
} from './unit-job.ts';

export type HintAuditOptions = {
  readonly source: DiskSource;
  readonly thread: SessionThread;
  /** Used by nobody else meanwhile. */
  readonly readAhead: ReadAhead;
  readonly signal: AbortSignal;
};

/** A block to be read, and its id in the point before. */
type Check = { readonly block: number; readonly id: Buffer };

type AuditLeaf = {
  readonly firstBlock: number;
  readonly clean: readonly LeafRun[];
  readonly holes: readonly LeafRun[];
  /** Entries. */
  readonly samples: readonly number[];
};

/** Leaves of a unit that are probed: 0.1 % of what is allocated and zero. */
const PROBED_LEAVES = 4;
const ID_BYTES = 16;
const ZERO_ID = Buffer.alloc(ID_BYTES);
const ZERO_PAGE = Buffer.alloc(LEAF_BLOCKS * ID_BYTES);

export class HintAudit {
  readonly #options: HintAuditOptions;
  readonly #zeroBlock: Buffer;
  /** Of all units so far. */
  readBytes = 0;

  constructor(options: HintAuditOptions) {
    const { blockSize } = options.thread;
    this.#options = options;
    this.#zeroBlock = Buffer.alloc(blockSize);
  }

  /**
   * Compares units: first what needs no reading, then, ahead of the comparison, what does.
   *
   * @returns where the hint cannot be believed; undefined: nowhere.
   */
  async run(jobs: readonly AuditJob[]): Promise<HintMiss | undefined> {
    const checks: Check[] = [];
    for (const job of jobs) {
      const missed = await this.#runUnit(job, checks);
      if (missed !== undefined) return missed;
    }
    return await this.#compare(checks);
  }

  /** Adds to `checks` what must be read of a unit. */
  async #runUnit(job: AuditJob, checks: Check[]): Promise<HintMiss | undefined> {
    const unitPage = await this.#page(Buffer.from(job.previousId));
    if (unitPage === undefined) return this.#miss(job.unit * UNIT_BLOCKS, false);
    const leaves = leavesOf(job);
    const probes = probesOf(job, leaves, unitPage);
    for (const [at, found] of leaves.entries()) {
      throwIfCancelled(this.#options.signal);
      if (found.clean.length + found.holes.length === 0) continue;
      const leaf = { ...found, samples: [...found.samples, ...(probes.get(at) ?? [])] };
      const missed = await this.#runLeaf({ leaf, id: entryOf(unitPage, at) }, checks);
      if (missed !== undefined) return missed;
    }
    return undefined;
  }

  async #runLeaf(
    { leaf, id }: { readonly leaf: AuditLeaf; readonly id: Buffer },
    checks: Check[],
  ): Promise<HintMiss | undefined> {
    const { firstBlock, clean, holes, samples } = leaf;
    const wasZero = id.equals(ZERO_ID);
    if (!wasZero && holes.length === 0 && samples.length === 0) return undefined;
    const page = await this.#page(id);
    if (page === undefined) return this.#miss(firstBlock, false);
    const freed = entriesOf(holes).find((entry) => !entryOf(page, entry).equals(ZERO_ID));
    if (freed !== undefined) return this.#miss(firstBlock + freed, true);
    const isPartlyAllocated = holes.length > 0;
    const grown = isPartlyAllocated
      ? entriesOf(clean).filter((entry) => entryOf(page, entry).equals(ZERO_ID))
      : [];
    for (const entry of new Set([...samples, ...grown])) {
      checks.push({ block: firstBlock + entry, id: entryOf(page, entry) });
    }
    return undefined;
  }

  async #compare(checks: readonly Check[]): Promise<HintMiss | undefined> {
    const { source, thread, readAhead, signal } = this.#options;
    const { blockSize } = thread;
    const pieces = checks.map(({ block }) => {
      const offset = block * blockSize;
      return { offset, length: Math.min(blockSize, source.sizeBytes - offset) };
    });
    readAhead.start(source, pieces);
    try {
      for (const [at, { block, id }] of checks.entries()) {
        throwIfCancelled(signal);
        const bytes = await readAhead.next();
        this.readBytes += pieces[at]!.length;
        if (!this.#isSame(bytes, id)) return this.#miss(block, true);
      }
    } finally {
      await readAhead.settle();
    }
    return undefined;
  }

  #miss(block: number, isChanged: boolean): HintMiss {
    return { offset: block * this.#options.thread.blockSize, isChanged };
  }

  #isSame(bytes: Buffer, id: Buffer): boolean {
    if (bytes.equals(this.#zeroBlock)) return id.equals(ZERO_ID);
    return this.#options.thread.blockId(bytes).equals(id);
  }

  async #page(id: Buffer): Promise<Buffer | undefined> {
    if (id.equals(ZERO_ID)) return ZERO_PAGE;
    const { pages } = this.#options.thread;
    try {
      return pages.cached(id) ?? (await pages.page(id));
    } catch (error) {
      if (isHoldfastError(error) && error.kind === 'corrupt') return undefined;
      throw error;
    }
  }
}

function leavesOf(job: AuditJob): AuditLeaf[] {
  const holes = runsByLeaf(job.cleanHoles);
  const samples = Map.groupBy(job.samples, (block) => Math.floor(block / LEAF_BLOCKS));
  return runsByLeaf(job.clean).map((clean, leaf) => ({
    firstBlock: job.unit * UNIT_BLOCKS + leaf * LEAF_BLOCKS,
    clean,
    holes: holes[leaf]!,
    samples: (samples.get(leaf) ?? []).map((block) => block % LEAF_BLOCKS),
  }));
}

/** Draws leaves that are allocated and were zero, and in each an entry: by leaf. */
function probesOf(
  { seed }: AuditJob,
  leaves: readonly AuditLeaf[],
  unitPage: Buffer,
): Map<number, readonly number[]> {
  const wholly = leaves.flatMap(({ clean, holes }, at) =>
    holes.length === 0 && clean.length > 0 && entryOf(unitPage, at).equals(ZERO_ID) ? [at] : [],
  );
  const probes = new Map<number, readonly number[]>();
  for (let probe = 0; probe < Math.min(PROBED_LEAVES, wholly.length); probe += 1) {
    const leaf =
      wholly[(seed + Math.floor((probe * wholly.length) / PROBED_LEAVES)) % wholly.length]!;
    const entries = entriesOf(leaves[leaf]!.clean);
    probes.set(leaf, [entries[(seed >>> (8 + probe)) % entries.length]!]);
  }
  return probes;
}

function entriesOf(runs: readonly LeafRun[]): number[] {
  return runs.flatMap(({ firstEntry, count }) =>
    Array.from({ length: count }, (_, at) => firstEntry + at),
  );
}

function entryOf(page: Buffer, entry: number): Buffer {
  return page.subarray(entry * ID_BYTES, (entry + 1) * ID_BYTES);
}
