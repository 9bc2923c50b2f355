/**
 * The index of blocks and pages: id → copies and placement count. A log-structured table in a local
 * directory: a memtable, immutable sorted runs, a manifest. A cache of the log, packs and points
 * (invariant 9): what is durable is exactly the effect of the log up to `position`, and anything that
 * cannot be read is `IndexDamaged`, after which the caller rebuilds.
 *
 *     addCopy/addCount → memtable ──flush──▶ run + manifest ──background merge──▶ one run + manifest
 *
 * One writer at a time (the owner's main thread); any number of readers (index-reader.ts).
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { isHoldfastError } from '#base';
import { entriesOf, type IndexEntry } from './entries-of.ts';
import { findManySorted } from './find-many.ts';
import { loadRuns, type IndexSnapshot } from './index-reader.ts';
import type { IndexOptions } from './index-options.ts';
import { Lookup } from './lookup.ts';
import {
  EMPTY_MANIFEST,
  MANIFEST_NAME,
  readManifest,
  writeManifest,
  type IndexPosition,
  type Manifest,
} from './manifest.ts';
import { Memtable } from './memtable.ts';
import { chooseMerge } from './merge-policy.ts';
import type { Found } from './found.ts';
import { ID_BYTES, loadKey, newKey, type Copy } from './record.ts';
import { recoverReplacement, replaceDirectory } from './replace-directory.ts';
import { RunMerge } from './run-merge.ts';
import { Run } from './run.ts';
import { RunWriter } from './run-writer.ts';
import { indexWriteFailed } from './write-failed.ts';
import { writeMemtable } from './write-memtable.ts';

const MEMTABLE_RECORDS = 1 << 19;
/** More runs than merging leaves behind: inserts wait for it. */
const RUNS_BEFORE_WAITING = 28;

type Change = {
  readonly added: Run | undefined;
  readonly removed: readonly Run[];
  readonly flushed?: Pick<Manifest, 'position' | 'callerState' | 'packLimit'>;
};

export class BlockIndex {
  readonly #options: IndexOptions;
  readonly #memtable: Memtable;
  readonly #lookup: Lookup;
  readonly #key = newKey();
  readonly #snapshots = new Map<IndexSnapshot, readonly Run[]>();
  #dir: string;
  /** Of the names of new runs: two owners that live at once must not write one file. */
  readonly #prefix: string;
  #runs: readonly Run[];
  #manifest: Manifest;
  #nextRun: number;
  /** By pack number: gone at the last flush. Merges drop no more than that, so that what is durable stays the effect of the log at `position`. */
  #goneAtFlush = new Uint8Array();
  #commits: Promise<void> = Promise.resolve();
  #merging: Promise<void> | undefined;
  #mergeFailure: { readonly error: unknown } | undefined;
  #isFlushing = false;
  #isClosing = false;
  #isDamaged = false;

  private constructor(
    dir: string,
    options: IndexOptions,
    opened: { manifest: Manifest; runs: readonly Run[]; prefix: string },
  ) {
    this.#dir = dir;
    this.#prefix = opened.prefix;
    this.#options = options;
    this.#manifest = opened.manifest;
    this.#runs = opened.runs;
    this.#nextRun = opened.manifest.nextRun;
    this.#memtable = new Memtable(options.memtableRecords ?? MEMTABLE_RECORDS);
    this.#lookup = new Lookup(options.isPackGone);
  }

  /**
   * Opens the index in `dir` as its only writer; removes what no manifest names. The caller closes.
   *
   * @throws {HoldfastError} `IndexDamaged`; its detail `reason` is `absent` if there is none.
   */
  static async open(dir: string, options: IndexOptions): Promise<BlockIndex> {
    await recoverReplacement(dir);
    const manifest = await readManifest(dir);
    const runs = await loadRuns(dir, manifest);
    const named = new Set([MANIFEST_NAME, ...manifest.runs.map((run) => run.name)]);
    for (const name of await readdir(dir)) {
      if (!named.has(name)) await rm(join(dir, name), { force: true, recursive: true });
    }
    return new BlockIndex(dir, options, { manifest, runs, prefix: `${randomUUID()}-` });
  }

  /**
   * Makes an empty index in `dir`, at position −1; whatever `dir` held is deleted. To rebuild beside
   * an index that is in use, create in another folder of the same file system, then `moveTo`.
   *
   * @throws {HoldfastError} `StoreFull`, `StoreFailed`
   */
  static async create(dir: string, options: IndexOptions): Promise<BlockIndex> {
    try {
      await rm(dir, { force: true, recursive: true });
      await mkdir(dir, { recursive: true });
    } catch (cause) {
      indexWriteFailed(cause);
    }
    await writeManifest(dir, EMPTY_MANIFEST);
    return new BlockIndex(dir, options, { manifest: EMPTY_MANIFEST, runs: [], prefix: '' });
  }

  /** Of the last flush. */
  get position(): IndexPosition {
    return this.#manifest.position;
  }

  /** Of the last flush. */
  get callerState(): unknown {
    return this.#manifest.callerState;
  }

  /** From here on an eighth of the memtable is free; adding past its end is a bug. */
  get needsFlush(): boolean {
    return this.#memtable.size >= this.#memtable.capacity - (this.#memtable.capacity >>> 3);
  }

  get stats(): {
    runCount: number;
    recordCount: number;
    memtableRecords: number;
    sizeBytes: number;
  } {
    let [recordCount, sizeBytes] = [0, 0];
    for (const run of this.#runs) {
      recordCount += run.meta.recordCount;
      sizeBytes += run.sizeBytes;
    }
    const memtableRecords = this.#memtable.size;
    return { runCount: this.#runs.length, recordCount, memtableRecords, sizeBytes };
  }

  /** Adds a copy; nothing changes if it is there already. Not while a flush is under way. */
  addCopy(id: Buffer, copy: Copy): void {
    assert(!this.#isFlushing && id.length === ID_BYTES);
    loadKey(this.#key, id);
    this.#memtable.addCopy(this.#key, copy);
  }

  /** Adds `delta` to the id's placements. Not while a flush is under way. */
  addCount(id: Buffer, delta: number): void {
    assert(!this.#isFlushing && id.length === ID_BYTES);
    loadKey(this.#key, id);
    this.#memtable.addCount(this.#key, delta);
  }

  /**
   * Fills `into` with what is known of `id`, memtable included, and returns it.
   *
   * @throws {HoldfastError} `IndexDamaged`
   */
  find(id: Buffer, into: Found): Found {
    return this.#findAt(id, 0, into);
  }

  #findAt(ids: Buffer, offset: number, into: Found): Found {
    loadKey(this.#key, ids, offset);
    into.reset();
    this.#memtable.find(this.#key, into, this.#options.isPackGone);
    try {
      this.#lookup.find(this.#runs, this.#key, into);
    } catch (error) {
      throw this.#noted(error);
    }
    return into;
  }

  /** `find` for every 16-byte id in `ids`, in the order that reads the disk least; `i`: place in `ids`. */
  findMany(ids: Buffer, into: Found, visit: (i: number) => void): void {
    findManySorted(ids, (offset, i) => {
      this.#findAt(ids, offset, into);
      visit(i);
    });
  }

  /** False: `id` is certainly not in the index. Looks at memory only. */
  maybePresent(id: Buffer): boolean {
    loadKey(this.#key, id);
    return this.#memtable.has(this.#key) || this.#lookup.maybePresent(this.#runs, this.#key);
  }

  /**
   * Makes all that was added durable together with `position` and `callerState` (any JSON); then merging may go
   * on in the background. Lookups go on meanwhile; adding does not. After an error nothing is lost
   * and the call can be repeated.
   *
   * @throws {HoldfastError} `StoreFull`, `StoreFailed`; whatever a background merge has met since.
   */
  async flush(position: IndexPosition, callerState: unknown): Promise<void> {
    assert(!this.#isFlushing && !this.#isClosing);
    this.#throwMergeFailure();
    this.#isFlushing = true;
    try {
      const packLimit = Math.max(this.#manifest.packLimit, this.#memtable.packLimit);
      const gone = new Uint8Array(packLimit);
      for (let pack = 0; pack < packLimit; pack++)
        gone[pack] = this.#options.isPackGone(pack) ? 1 : 0;
      const added = await this.#writeRun((writer) =>
        writeMemtable(writer, this.#memtable, (pack) => gone[pack] === 1),
      );
      const flushed = { position, callerState, packLimit };
      await this.#commit({ added, removed: [], flushed });
      this.#goneAtFlush = gone;
    } finally {
      this.#isFlushing = false;
    }
    this.#startMerging();
    if (this.#runs.length > RUNS_BEFORE_WAITING) await this.settle();
  }

  /** Waits until no merge is due. Errors as `flush`. */
  async settle(): Promise<void> {
    await this.#merging;
    this.#throwMergeFailure();
  }

  /**
   * Merges everything into one run: the same records give the same bytes, in whatever order and
   * number of flushes they came. Flush first: packs count as gone as of then.
   */
  async mergeAll(): Promise<void> {
    assert(this.#memtable.size === 0, 'flush before mergeAll');
    await this.settle();
    if (this.#runs.length > 0) await this.#merge(this.#runs);
  }

  /**
   * The durable index, for `IndexReader.open` in worker threads; the memtable must be empty. Its files
   * stay until `release`, which may follow as soon as the readers are open.
   */
  snapshot(): IndexSnapshot {
    assert(this.#memtable.size === 0, 'flush before snapshot');
    const runs = this.#runs.map((run) => run.retain());
    const snapshot = { runs: runs.map((run) => run.snapshot()), position: this.position };
    this.#snapshots.set(snapshot, runs);
    return snapshot;
  }

  /** Idempotent. */
  async release(snapshot: IndexSnapshot): Promise<void> {
    const runs = this.#snapshots.get(snapshot) ?? [];
    this.#snapshots.delete(snapshot);
    for (const run of runs) await run.release();
  }

  /**
   * Every id in id order with all that is known of it, as of the call; the memtable must be empty. The
   * entry is reused: copy what is kept. Other calls, merges and flushes go on meanwhile.
   *
   * @throws {HoldfastError} `IndexDamaged`
   */
  async *entries(): AsyncGenerator<IndexEntry> {
    assert(this.#memtable.size === 0, 'flush before entries');
    try {
      yield* entriesOf(this.#runs, this.#options.isPackGone);
    } catch (error) {
      throw this.#noted(error);
    }
  }

  /**
   * Puts this index in the place of `dir` (same file system), which is deleted if it exists: a crash
   * leaves the one or the other. Flush first; no snapshot may be unreleased.
   */
  async moveTo(dir: string): Promise<void> {
    assert(this.#memtable.size === 0 && this.#snapshots.size === 0);
    await this.settle();
    await replaceDirectory(this.#dir, dir).catch(indexWriteFailed);
    for (const run of this.#runs) run.movedTo(dir);
    this.#dir = dir;
  }

  /**
   * Stops merging and closes the files. What was not flushed is lost, as in a crash. An index that turned
   * out damaged is given up, so that whoever opens it next rebuilds it.
   */
  async close(): Promise<void> {
    if (this.#isClosing) return;
    assert(!this.#isFlushing);
    this.#isClosing = true;
    await this.#merging;
    for (const snapshot of this.#snapshots.keys()) await this.release(snapshot);
    for (const run of this.#runs) await run.release();
    if (this.#isDamaged) await rm(join(this.#dir, MANIFEST_NAME), { force: true });
  }

  #noted(error: unknown): unknown {
    this.#isDamaged ||= isHoldfastError(error, 'IndexDamaged');
    return error;
  }

  #startMerging(): void {
    this.#merging ??= this.#mergeWhileDue()
      .catch((error: unknown) => {
        this.#mergeFailure = { error: this.#noted(error) };
      })
      .finally(() => {
        this.#merging = undefined;
      });
  }

  async #mergeWhileDue(): Promise<void> {
    while (!this.#isClosing) {
      const inputs = chooseMerge(this.#runs);
      if (inputs.length === 0) return;
      await this.#merge(inputs);
    }
  }

  /** Replaces `inputs` by one run, or none if the index is closed meanwhile. */
  async #merge(inputs: readonly Run[]): Promise<void> {
    for (const run of inputs) run.retain();
    try {
      const gone = this.#goneAtFlush;
      const merge = new RunMerge(inputs, (pack) => gone[pack] === 1);
      const added = await this.#writeRun((writer) => this.#writeMerged(writer, merge));
      if (!this.#isClosing) await this.#commit({ added, removed: inputs });
      else await added?.release();
    } finally {
      for (const run of inputs) await run.release();
    }
  }

  async #writeMerged(writer: RunWriter, merge: RunMerge): Promise<void> {
    for (let step = merge.step(); step !== 'end'; step = merge.step()) {
      if (step === 'dry') await merge.refill();
      else writer.append(merge.key, merge.found);
      if (writer.isFull) await writer.drain();
      if (this.#isClosing) return;
    }
  }

  /** A durable run of what `fill` appends, not yet in the manifest; undefined if that is nothing. */
  async #writeRun(fill: (writer: RunWriter) => Promise<void>): Promise<Run | undefined> {
    const path = join(this.#dir, `${this.#prefix}${this.#nextRun++}.run`);
    const writer = await RunWriter.create(path);
    try {
      await fill(writer);
      if (writer.recordCount > 0) {
        const { meta, shared } = await writer.finish();
        return Run.attach({ path, ...meta, ...shared });
      }
    } catch (error) {
      await writer.discard();
      throw error;
    }
    await writer.discard();
    return undefined;
  }

  /** Flush and merge may finish at the same time: their manifests are written one after the other. */
  #commit(change: Change): Promise<void> {
    const done = this.#commits.then(() => this.#writeChange(change));
    this.#commits = done.then(undefined, () => undefined);
    return done;
  }

  async #writeChange({ added, removed, flushed }: Change): Promise<void> {
    const kept = this.#runs.filter((run) => !removed.includes(run));
    const runs = added === undefined ? kept : [...kept, added];
    const manifest: Manifest = {
      ...this.#manifest,
      ...flushed,
      runs: runs.map((run) => ({ name: basename(run.path), ...run.meta })),
      nextRun: this.#nextRun,
    };
    await writeManifest(this.#dir, manifest);
    this.#manifest = manifest;
    this.#runs = runs;
    if (flushed !== undefined) this.#memtable.clear();
    for (const run of removed) {
      run.markObsolete();
      await run.release();
    }
  }

  #throwMergeFailure(): void {
    const failure = this.#mergeFailure;
    this.#mergeFailure = undefined;
    if (failure !== undefined) throw failure.error;
  }
}
