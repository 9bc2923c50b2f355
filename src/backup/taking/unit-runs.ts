/** From extents of a disk, in bytes, to runs of blocks of each unit, going up the disk once. */
import type { Extent } from '#disk';
import { UNIT_BLOCKS, type BlockRuns } from './unit-job.ts';

const NONE: BlockRuns = new Uint16Array(0);

/** Reads a normal list of extents of whole blocks unit by unit. */
export class UnitRuns {
  readonly #extents: readonly Extent[];
  readonly #blockSize: number;
  /** The first extent that does not end before the unit asked for last. */
  #at = 0;

  constructor(extents: readonly Extent[], blockSize: number) {
    this.#extents = extents;
    this.#blockSize = blockSize;
  }

  /** The unit's runs; `unit` never falls between two calls. */
  of(unit: number): BlockRuns {
    const start = unit * UNIT_BLOCKS * this.#blockSize;
    const end = start + UNIT_BLOCKS * this.#blockSize;
    const runs: number[] = [];
    while (this.#at < this.#extents.length) {
      const { offset, length } = this.#extents[this.#at]!;
      if (offset >= end) break;
      if (offset + length > start) {
        const first = Math.max(offset, start) - start;
        const last = Math.min(offset + length, end) - start;
        runs.push(first / this.#blockSize, (last - first) / this.#blockSize);
      }
      if (offset + length > end) break;
      this.#at += 1;
    }
    return runs.length === 0 ? NONE : Uint16Array.from(runs);
  }
}
