/**
 * Sums deltas by id in bounded memory: a map at first, a temporary index on disk beyond. For plans,
 * which must know what a set of expiries does together before anything is done.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlockIndex } from '../block-index/index.ts';

/** About 25 MB of memory. */
const IDS_IN_MEMORY = 200_000;

export class DeltaTally {
  readonly #deltas = new Map<string, number>();
  readonly #idsInMemory: number;
  #spilled: { readonly index: BlockIndex; readonly folder: string } | undefined;
  #spilling: Promise<void> | undefined;
  #flushes = 0;

  constructor(idsInMemory = IDS_IN_MEMORY) {
    this.#idsInMemory = idsInMemory;
  }

  add(id: Buffer, delta: number): void {
    const key = id.toString('latin1');
    this.#deltas.set(key, (this.#deltas.get(key) ?? 0) + delta);
  }

  get isFull(): boolean {
    return this.#deltas.size >= this.#idsInMemory;
  }

  /** Moves what is in memory to disk. Walks load several pages at once: whoever comes meanwhile waits with it. */
  async spill(): Promise<void> {
    this.#spilling ??= this.#spillNow().finally(() => (this.#spilling = undefined));
    await this.#spilling;
  }

  async #spillNow(): Promise<void> {
    if (this.#spilled === undefined) {
      const folder = await mkdtemp(join(tmpdir(), 'holdfast-tally-'));
      const index = await BlockIndex.create(join(folder, 'index'), {
        isPackGone: () => false,
        memtableRecords: 2 * this.#idsInMemory + 1024,
      });
      this.#spilled = { index, folder };
    }
    for (const [key, delta] of this.#deltas) {
      if (delta !== 0) this.#spilled.index.addCount(Buffer.from(key, 'latin1'), delta);
    }
    this.#deltas.clear();
    this.#flushes += 1;
    await this.#spilled.index.flush({ number: this.#flushes, hash: '', cursor: 0 }, {});
  }

  /** Every id with a sum that is not zero. The id is reused. */
  async *sums(): AsyncGenerator<{ readonly id: Buffer; readonly delta: number }> {
    if (this.#spilled === undefined) {
      for (const [key, delta] of this.#deltas) {
        if (delta !== 0) yield { id: Buffer.from(key, 'latin1'), delta };
      }
      return;
    }
    await this.spill();
    for await (const entry of this.#spilled.index.entries()) {
      if (entry.count !== 0) yield { id: entry.id, delta: entry.count };
    }
  }

  async close(): Promise<void> {
    if (this.#spilled === undefined) return;
    await this.#spilled.index.close();
    await rm(this.#spilled.folder, { recursive: true, force: true });
  }
}
