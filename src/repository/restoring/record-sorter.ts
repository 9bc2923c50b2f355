/**
 * Sorts place records by pack and frame, and within a frame in the order in which they were added, in
 * bounded memory: what does not fit is written to a temporary folder in sorted runs, merged at the end.
 *
 *     add… (isFull: spill) ──► sorted ──► close
 *
 * A key of 64 bits, pack (32) ‖ frame (12) ‖ place in memory (20), is sorted instead of the records.
 */
import { mkdtemp, open, rm, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { frameOf, packOf, RECORD_BYTES, writeRecord, type PlaceRecord } from './place-record.ts';

/** 40 MiB of memory, for 16 GiB of disk at 16 KiB blocks. */
const RECORDS_IN_MEMORY = 1 << 20;
const INDEX_MASK = RECORDS_IN_MEMORY - 1;
const INDEX_BITS = 20;
/** Records read from a run at once: 64 KiB. */
const CHUNK_RECORDS = 2048;

/** A sorted stream, chunk by chunk. */
type SortedRun = { readonly next: () => Promise<Buffer | undefined> };

export class RecordSorter {
  readonly #capacity: number;
  readonly #records: Buffer;
  readonly #keys: BigUint64Array;
  /** The same memory: low word, high word. */
  readonly #keyWords: Uint32Array;
  readonly #files: FileHandle[] = [];
  #folder: string | undefined;
  #count = 0;

  /** @param recordsInMemory for tests; at most 2^20. */
  constructor(recordsInMemory = RECORDS_IN_MEMORY) {
    this.#capacity = Math.min(recordsInMemory, RECORDS_IN_MEMORY);
    this.#records = Buffer.allocUnsafeSlow(this.#capacity * RECORD_BYTES);
    this.#keys = new BigUint64Array(this.#capacity);
    this.#keyWords = new Uint32Array(this.#keys.buffer);
  }

  get isFull(): boolean {
    return this.#count === this.#capacity;
  }

  /** Only while it is not full. */
  add(record: PlaceRecord): void {
    const at = this.#count;
    writeRecord(this.#records, at, record);
    this.#keyWords[at * 2] = (record.frame << INDEX_BITS) | at;
    this.#keyWords[at * 2 + 1] = record.pack;
    this.#count += 1;
  }

  /** Moves what is in memory to the temporary folder. */
  async spill(): Promise<void> {
    this.#folder ??= await mkdtemp(join(tmpdir(), 'holdfast-restore-'));
    const file = await open(join(this.#folder, String(this.#files.length)), 'wx+', 0o600);
    this.#files.push(file);
    const run = this.#memoryRun();
    for (let chunk = await run.next(); chunk !== undefined; chunk = await run.next()) {
      for (let done = 0; done < chunk.length;) {
        done += (await file.write(chunk, done)).bytesWritten;
      }
    }
    this.#count = 0;
  }

  /** All records in order, in chunks of at most 2048 records; nothing is added any more. */
  async *sorted(): AsyncGenerator<Buffer> {
    const runs = [...this.#files.map((file) => fileRun(file)), this.#memoryRun()];
    if (runs.length > 1) {
      yield* merged(runs);
      return;
    }
    for (let chunk = await runs[0]!.next(); chunk !== undefined; chunk = await runs[0]!.next()) {
      yield chunk;
    }
  }

  /** Removes the temporary folder. Idempotent. */
  async close(): Promise<void> {
    for (const file of this.#files.splice(0)) await file.close();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
    this.#folder = undefined;
  }

  #memoryRun(): SortedRun {
    const keys = this.#keys.subarray(0, this.#count).sort();
    const words = new Uint32Array(keys.buffer);
    let at = 0;
    const next = async (): Promise<Buffer | undefined> => {
      const count = Math.min(CHUNK_RECORDS, keys.length - at);
      if (count === 0) return undefined;
      const chunk = Buffer.allocUnsafeSlow(count * RECORD_BYTES);
      for (let to = 0; to < count; to += 1, at += 1) {
        const from = (words[at * 2]! & INDEX_MASK) * RECORD_BYTES;
        this.#records.copy(chunk, to * RECORD_BYTES, from, from + RECORD_BYTES);
      }
      return chunk;
    };
    return { next };
  }
}

function fileRun(file: FileHandle): SortedRun {
  let position = 0;
  const next = async (): Promise<Buffer | undefined> => {
    const chunk = Buffer.allocUnsafeSlow(CHUNK_RECORDS * RECORD_BYTES);
    let filled = 0;
    while (filled < chunk.length) {
      const { bytesRead } = await file.read(chunk, filled, chunk.length - filled, position);
      if (bytesRead === 0) break;
      filled += bytesRead;
      position += bytesRead;
    }
    return filled === 0 ? undefined : chunk.subarray(0, filled);
  };
  return { next };
}

/** Where a run stands in the merge. */
type Head = { readonly run: SortedRun; readonly order: number; chunk: Buffer; at: number };

async function* merged(runs: readonly SortedRun[]): AsyncGenerator<Buffer> {
  const heads: Head[] = [];
  for (const [order, run] of runs.entries()) {
    const chunk = await run.next();
    if (chunk !== undefined) heads.push({ run, order, chunk, at: 0 });
  }
  for (let at = heads.length >> 1; at >= 0; at -= 1) siftDown(heads, at);
  let out = Buffer.allocUnsafeSlow(CHUNK_RECORDS * RECORD_BYTES);
  let count = 0;
  while (heads.length > 0) {
    const head = heads[0]!;
    const from = head.at * RECORD_BYTES;
    head.chunk.copy(out, count * RECORD_BYTES, from, from + RECORD_BYTES);
    count += 1;
    if (count === CHUNK_RECORDS) {
      yield out;
      out = Buffer.allocUnsafeSlow(CHUNK_RECORDS * RECORD_BYTES);
      count = 0;
    }
    head.at += 1;
    if (head.at * RECORD_BYTES === head.chunk.length) await refill(heads);
    siftDown(heads, 0);
  }
  if (count > 0) yield out.subarray(0, count * RECORD_BYTES);
}

/** Gives the first head its next chunk, or removes it. */
async function refill(heads: Head[]): Promise<void> {
  const head = heads[0]!;
  const chunk = await head.run.next();
  if (chunk !== undefined) {
    head.chunk = chunk;
    head.at = 0;
    return;
  }
  const last = heads.pop()!;
  if (last !== head) heads[0] = last;
}

/** Restores the heap's order below `at`. */
function siftDown(heads: Head[], at: number): void {
  for (let parent = at; ;) {
    let least = parent;
    for (const child of [2 * parent + 1, 2 * parent + 2]) {
      if (child < heads.length && isBefore(heads[child]!, heads[least]!)) least = child;
    }
    if (least === parent) return;
    [heads[parent], heads[least]] = [heads[least]!, heads[parent]!];
    parent = least;
  }
}

function isBefore(a: Head, b: Head): boolean {
  const packs = packOf(a.chunk, a.at) - packOf(b.chunk, b.at);
  if (packs !== 0) return packs < 0;
  const frames = frameOf(a.chunk, a.at) - frameOf(b.chunk, b.at);
  return frames !== 0 ? frames < 0 : a.order < b.order;
}
