/**
 * A qcow2 image that we write ourselves, because whoever fills it knows beforehand where data will be:
 * every cluster has its place before the first is written, so that any thread writes data straight there
 * (qcow2-disk.ts). Through qemu-nbd each write would cross a socket.
 *
 *     create ─► reserve … ─► reserved ─► data written, in any order ─► finish ─► close
 *        └──────────────────────┴── any failure, or a kill ──────────────► the file is no image
 *
 * - Q1 The header *must* be zero until all else is durable, and is one sector: whatever ends the process or
 *   the machine, the file is a whole image or none that QEMU opens.
 * - Q2 Each cluster of the file *must* have one use at most, and refcount 1; it *should* have one (else it is
 *   a leak: lost space).
 * - Q3 What was reserved and not written *must* read as zeros: it is a hole in the file, never old data.
 *
 * Memory: the L1 table (1 MiB for 64 TiB) and one L2 table.
 */
import assert from 'node:assert/strict';
import { writeSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { HoldfastError } from '#base';
import type { Extent } from './extent.ts';
import {
  CLUSTER_BYTES,
  ENTRY_BYTES,
  L1_OFFSET,
  TABLE_ENTRIES,
  headClusterCount,
  headerBytes,
  l1EntryCount,
  putEntry,
  refcountBlock,
  refcountTable,
  refcountsBehind,
  type Refcounts,
} from './qcow2-format.ts';

export class NewQcow2Image {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #sizeBytes: number;
  readonly #l1: Buffer;
  readonly #l2 = Buffer.alloc(CLUSTER_BYTES);
  /** The L2 table that `#l2` becomes, and its place. */
  #table: { readonly number: number; readonly offset: number } | undefined;
  /** Clusters of the file in use so far. */
  #usedClusters: number;
  /** The first cluster of the disk that can still be reserved. */
  #nextCluster = 0;
  #refcounts: Refcounts | undefined;
  #isClosed = false;

  private constructor(path: string, handle: FileHandle, sizeBytes: number) {
    this.#path = path;
    this.#handle = handle;
    this.#sizeBytes = sizeBytes;
    this.#l1 = Buffer.alloc(l1EntryCount(sizeBytes) * ENTRY_BYTES);
    this.#usedClusters = headClusterCount(sizeBytes);
  }

  /** Makes the file, which must not exist; the caller closes it. @throws what `open` throws. */
  static async create(
    path: string,
    { sizeBytes, mode }: { readonly sizeBytes: number; readonly mode: number },
  ): Promise<NewQcow2Image> {
    return new NewQcow2Image(path, await open(path, 'wx', mode), sizeBytes);
  }

  /**
   * Gives the clusters that an extent of the disk touches their place. Extents come in ascending order and
   * may share clusters. @throws {HoldfastError} `DiskWriteFailed`.
   */
  reserve({ offset, length }: Extent): void {
    assert(this.#refcounts === undefined, 'all is reserved already');
    assert(offset >= 0 && offset + length <= this.#sizeBytes, 'outside the disk');
    if (length === 0) return;
    const first = Math.floor(offset / CLUSTER_BYTES);
    assert(first >= this.#nextCluster - 1, 'reserved in descending order');
    const end = Math.ceil((offset + length) / CLUSTER_BYTES);
    for (let cluster = Math.max(first, this.#nextCluster); cluster < end; cluster += 1) {
      this.#place(cluster);
    }
    this.#nextCluster = Math.max(this.#nextCluster, end);
  }

  /** Ends reserving: writes all tables; on return data may be written. @throws as `reserve`. */
  reserved(): void {
    assert(this.#refcounts === undefined, 'all is reserved already');
    this.#writeTable();
    this.#write(L1_OFFSET, this.#l1);
    const refcounts = refcountsBehind(this.#usedClusters);
    const tableAt = refcounts.firstCluster * CLUSTER_BYTES;
    this.#write(tableAt, refcountTable(refcounts));
    const blocksAt = tableAt + refcounts.tableClusters * CLUSTER_BYTES;
    for (let block = 0; block < refcounts.blockCount; block += 1) {
      this.#write(blocksAt + block * CLUSTER_BYTES, refcountBlock(refcounts, block));
    }
    this.#refcounts = refcounts;
  }

  /** Makes the file an image; durable on return. Call when all data was written. @throws as `reserve`. */
  async finish(): Promise<void> {
    assert(this.#refcounts !== undefined, 'not all is reserved');
    await this.#sync(); // Q1
    this.#write(0, headerBytes(this.#sizeBytes, this.#refcounts));
    await this.#sync();
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#handle.close();
  }

  #place(cluster: number): void {
    const number = Math.floor(cluster / TABLE_ENTRIES);
    if (this.#table?.number !== number) {
      this.#writeTable();
      this.#table = { number, offset: this.#nextPlace() };
      putEntry(this.#l1, number, this.#table.offset);
    }
    putEntry(this.#l2, cluster % TABLE_ENTRIES, this.#nextPlace());
  }

  #nextPlace(): number {
    this.#usedClusters += 1;
    return (this.#usedClusters - 1) * CLUSTER_BYTES;
  }

  #writeTable(): void {
    if (this.#table === undefined) return;
    this.#write(this.#table.offset, this.#l2);
    this.#l2.fill(0);
    this.#table = undefined;
  }

  #write(offset: number, bytes: Buffer): void {
    try {
      for (let done = 0; done < bytes.length;) {
        done += writeSync(this.#handle.fd, bytes, done, undefined, offset + done);
      }
    } catch (cause) {
      throw this.#failed(cause);
    }
  }

  async #sync(): Promise<void> {
    try {
      await this.#handle.sync();
    } catch (cause) {
      throw this.#failed(cause);
    }
  }

  #failed(cause: unknown): HoldfastError {
    return new HoldfastError(
      'DiskWriteFailed',
      `cannot write "${this.#path}": check space and health of its disk (${(cause as Error).message})`,
      { cause, details: { path: this.#path } },
    );
  }
}
