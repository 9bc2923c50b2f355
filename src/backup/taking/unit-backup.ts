/**
 * The hot loop's disk half, in a worker thread: reads what the jobs of units say, ahead of the repository's
 * half (`UnitWriter`: compare, hash, look up, compress, seal), leaf by leaf.
 */
import { throwIfCancelled } from '#base';
import type { DiskSource } from '#disk';
import type { UnitWriter } from '#repository';
import { readPadded, type Piece, type ReadAhead } from './read-ahead.ts';
import {
  LEAF_BLOCKS,
  UNIT_BLOCKS,
  runsByLeaf,
  type LeafRun,
  type UnitBatchResult,
  type UnitJob,
} from './unit-job.ts';

export type UnitBackupOptions = {
  readonly source: DiskSource;
  readonly blockSize: number;
  /** Used by nobody else meanwhile. */
  readonly readAhead: ReadAhead;
  readonly signal: AbortSignal;
  /** Told of each piece that has been dealt with. */
  readonly onDone: (bytes: number) => void;
};

type Leaf = {
  /** 0–63 in its unit. */
  readonly leaf: number;
  readonly firstBlock: number;
  readonly reads: readonly LeafRun[];
  readonly zeros: readonly LeafRun[];
};

export class UnitBackup {
  readonly #options: UnitBackupOptions;
  readonly #pieceBlocks: number;
  /** Of all units so far. */
  readBytes = 0;

  constructor(options: UnitBackupOptions) {
    this.#options = options;
    this.#pieceBlocks = Math.min(LEAF_BLOCKS, options.readAhead.pieceBytes / options.blockSize);
  }

  /**
   * Backs units up, reading ahead from one into the next.
   *
   * @returns the ids of their pages. @throws what the source and the store throw.
   */
  async run(jobs: readonly UnitJob[], writer: UnitWriter): Promise<UnitBatchResult['pages']> {
    const units = jobs.map((job) => ({ job, leaves: this.#leavesOf(job) }));
    const { readAhead, source } = this.#options;
    readAhead.start(
      source,
      units.flatMap(({ leaves }) => leaves.flatMap((leaf) => this.#piecesOf(leaf))),
    );
    const pages: { unit: number; id: Uint8Array }[] = [];
    try {
      for (const { job, leaves } of units) {
        await writer.open(Buffer.from(job.previousId), this.#leafCountOf(job.unit));
        await this.#runLeaves(leaves, writer);
        pages.push({ unit: job.unit, id: new Uint8Array(await writer.finish()) });
      }
    } finally {
      await readAhead.settle();
    }
    return pages;
  }

  async #runLeaves(leaves: readonly Leaf[], writer: UnitWriter): Promise<void> {
    for (const leaf of leaves) {
      throwIfCancelled(this.#options.signal);
      await this.#runLeaf(leaf, writer);
    }
  }

  async #runLeaf(leaf: Leaf, writer: UnitWriter): Promise<void> {
    const isKnown = await writer.openLeaf(leaf.leaf);
    for (const run of leaf.reads) {
      const bytes = await this.#options.readAhead.next();
      const write = writer.writeBlocks(run.firstEntry, bytes);
      if (write !== undefined) await write;
      this.#note(this.#pieceOf(leaf.firstBlock, run).length);
    }
    for (const { firstEntry, count } of leaf.zeros) writer.writeHole(firstEntry, count);
    if (!isKnown) await this.#readRest(leaf, writer);
    await writer.closeLeaf();
  }

  /** Reads what the job would keep, where it is not known what that was. */
  async #readRest({ firstBlock, reads, zeros }: Leaf, writer: UnitWriter): Promise<void> {
    const { source, blockSize } = this.#options;
    const isGiven = new Uint8Array(LEAF_BLOCKS);
    for (const { firstEntry, count } of [...reads, ...zeros]) {
      isGiven.fill(1, firstEntry, firstEntry + count);
    }
    const buffer = Buffer.allocUnsafeSlow(blockSize);
    for (let entry = 0; entry < LEAF_BLOCKS; entry += 1) {
      if (isGiven[entry] === 1) continue;
      const piece = this.#pieceOf(firstBlock, { firstEntry: entry, count: 1 });
      if (piece.length === 0) {
        writer.writeHole(entry, 1);
        continue;
      }
      await writer.writeBlocks(entry, await readPadded(source, piece, { buffer, blockSize }));
      this.#note(piece.length);
    }
  }

  /** The unit's leaves that are not wholly past the disk's end. */
  #leafCountOf(unit: number): number {
    const { source, blockSize } = this.#options;
    const blockCount = Math.ceil(source.sizeBytes / blockSize) - unit * UNIT_BLOCKS;
    return Math.min(UNIT_BLOCKS / LEAF_BLOCKS, Math.ceil(blockCount / LEAF_BLOCKS));
  }

  #note(bytes: number): void {
    this.readBytes += bytes;
    this.#options.onDone(bytes);
  }

  #leavesOf(job: UnitJob): Leaf[] {
    const reads = runsByLeaf(job.reads, this.#pieceBlocks);
    const zeros = runsByLeaf(job.zeros);
    const leaves = reads.map((runs, leaf) => ({
      leaf,
      firstBlock: job.unit * UNIT_BLOCKS + leaf * LEAF_BLOCKS,
      reads: runs,
      zeros: zeros[leaf]!,
    }));
    return leaves.filter((leaf) => leaf.reads.length + leaf.zeros.length > 0);
  }

  #piecesOf({ firstBlock, reads }: Leaf): Piece[] {
    return reads.map((run) => this.#pieceOf(firstBlock, run));
  }

  /** The bytes of a run of blocks; none of them are past the disk's end. */
  #pieceOf(firstBlock: number, { firstEntry, count }: LeafRun): Piece {
    const { source, blockSize } = this.#options;
    const offset = (firstBlock + firstEntry) * blockSize;
    const end = Math.min(offset + count * blockSize, source.sizeBytes);
    return { offset, length: Math.max(0, end - offset) };
  }
}
