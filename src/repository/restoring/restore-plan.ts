/**
 * The plan of a restore: walks the maps of the chosen disks, finds where each block lies, and gives the
 * places ordered by pack and frame, so that each frame is read once whatever the order of the disks.
 * Memory is bounded (record-sorter.ts); what is all zero is in no plan.
 */
import assert from 'node:assert/strict';
import { newFound } from '../block-index/index.ts';
import { forEachBlock } from '../map/map-walk.ts';
import type { RepositoryParts } from '../repository-parts.ts';
import { frameOf, MOST_DISKS, NO_PACK, packOf, RECORD_BYTES } from './place-record.ts';
import { RecordSorter } from './record-sorter.ts';

export type PlannedDisk = { readonly root: string; readonly sizeBytes: number };

/** Places in one pack for one thread. */
export type RestoreTask = {
  /** 20 bytes; undefined: no readable copy of these blocks is known. */
  readonly packId: Uint8Array | undefined;
  /** As place-record.ts, ordered by frame. */
  readonly records: Uint8Array;
};

const ID_BYTES = 16;
/** Ids looked up together. */
const BATCH_IDS = 32_768;
/** A task ends at the first new frame after this many records; in any case after the most. */
const TASK_RECORDS = 1024;
const MOST_TASK_RECORDS = 8192;

export class RestorePlan {
  readonly #parts: RepositoryParts;
  readonly #sorter: RecordSorter;
  readonly #ids = Buffer.allocUnsafeSlow(BATCH_IDS * ID_BYTES);
  readonly #blocks = new Float64Array(BATCH_IDS);
  readonly #packs = new Uint32Array(BATCH_IDS);
  readonly #frames = new Uint16Array(BATCH_IDS);
  readonly #slots = new Uint8Array(BATCH_IDS);
  readonly #found = newFound();
  #batched = 0;
  /** Blocks that are not zero, of all disks added. */
  blockCount = 0;

  /** The caller closes it. @param recordsInMemory for tests. */
  constructor(parts: RepositoryParts, recordsInMemory?: number) {
    this.#parts = parts;
    this.#sorter = new RecordSorter(recordsInMemory);
  }

  /**
   * Adds a disk; `disk` is its number in the records, `onBlock` gets its blocks that are not zero, ascending.
   *
   * @throws {HoldfastError} `BlockMissing`; what `onBlock` throws.
   */
  async add(
    disk: number,
    { root, sizeBytes }: PlannedDisk,
    onBlock: (block: number) => void,
  ): Promise<void> {
    assert(disk < MOST_DISKS, 'too many disks for one plan');
    const { keyring, keeper } = this.#parts;
    const toBlock = Math.ceil(sizeBytes / keyring.blockSize);
    const map = { pages: keeper.reader, root: Buffer.from(root, 'hex'), fromBlock: 0, toBlock };
    await forEachBlock(map, ({ firstBlock, page, fromEntry, toEntry }) => {
      for (let entry = fromEntry; entry < toEntry; entry += 1) {
        const id = page.subarray(entry * ID_BYTES, (entry + 1) * ID_BYTES);
        if (isZero(id)) continue;
        this.#take(id, firstBlock + entry);
        onBlock(firstBlock + entry);
      }
      return this.#batched + toEntry - fromEntry + 64 > BATCH_IDS ? this.#place(disk) : undefined;
    });
    await this.#place(disk);
  }

  /** All places, as tasks. Nothing is added any more. */
  async *tasks(): AsyncGenerator<RestoreTask> {
    let pending: Buffer = Buffer.alloc(0);
    for await (const chunk of this.#sorter.sorted()) {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      for (let end = taskEnd(pending); end !== undefined; end = taskEnd(pending)) {
        yield this.#taskOf(pending.subarray(0, end * RECORD_BYTES));
        pending = pending.subarray(end * RECORD_BYTES);
      }
    }
    while (pending.length > 0) {
      const end = taskEnd(pending) ?? pending.length / RECORD_BYTES;
      yield this.#taskOf(pending.subarray(0, end * RECORD_BYTES));
      pending = pending.subarray(end * RECORD_BYTES);
    }
  }

  async close(): Promise<void> {
    await this.#sorter.close();
  }

  #take(id: Buffer, block: number): void {
    id.copy(this.#ids, this.#batched * ID_BYTES);
    this.#blocks[this.#batched] = block;
    this.#batched += 1;
  }

  /** Looks the batch up and adds its records. */
  async #place(disk: number): Promise<void> {
    const { index, rules } = this.#parts.keeper;
    const ids = this.#ids.subarray(0, this.#batched * ID_BYTES);
    const found = this.#found;
    index.findMany(ids, found, (at) => {
      const copy = rules.countingCopy(found);
      this.#packs[at] = copy < 0 ? NO_PACK : found.packs[copy]!;
      this.#frames[at] = copy < 0 ? 0 : found.frames[copy]!;
      this.#slots[at] = copy < 0 ? 0 : found.slots[copy]!;
    });
    for (let at = 0; at < this.#batched; at += 1) {
      if (this.#sorter.isFull) await this.#sorter.spill();
      this.#sorter.add({
        id: ids.subarray(at * ID_BYTES, (at + 1) * ID_BYTES),
        pack: this.#packs[at]!,
        frame: this.#frames[at]!,
        slot: this.#slots[at]!,
        disk,
        block: this.#blocks[at]!,
      });
    }
    this.blockCount += this.#batched;
    this.#batched = 0;
  }

  #taskOf(records: Buffer): RestoreTask {
    const packId = this.#parts.keeper.rules.packId(packOf(records, 0));
    return {
      packId: packId === undefined ? undefined : new Uint8Array(packId),
      records: new Uint8Array(records),
    };
  }
}

/** How many of the first records make a task; undefined: that depends on what follows. */
function taskEnd(records: Buffer): number | undefined {
  const count = records.length / RECORD_BYTES;
  for (let at = 1; at < count; at += 1) {
    if (packOf(records, at) !== packOf(records, 0)) return at;
    if (at >= MOST_TASK_RECORDS) return at;
    if (at >= TASK_RECORDS && frameOf(records, at) !== frameOf(records, at - 1)) return at;
  }
  return undefined;
}

function isZero(id: Buffer): boolean {
  for (let at = 0; at < ID_BYTES; at += 1) if (id[at] !== 0) return false;
  return true;
}
