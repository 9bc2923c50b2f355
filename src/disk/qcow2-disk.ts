/**
 * A new qcow2 image (new-qcow2-image.ts) while it is filled, in any number of threads: finds the place of
 * each cluster in the tables of the file and writes there, as RawDisk does. Changes no table.
 */
import assert from 'node:assert/strict';
import { HoldfastError } from '#base';
import type { DiskTarget, OpenOptions, TargetSpec } from './disk-source.ts';
import type { Extent } from './extent.ts';
import {
  CLUSTER_BYTES,
  ENTRY_BYTES,
  L1_OFFSET,
  TABLE_ENTRIES,
  entryAt,
  l1EntryCount,
  mostImageBytes,
} from './qcow2-format.ts';
import { isZero, RawDisk } from './raw-disk.ts';

/** L2 tables are read and kept in slices: this many entries, for 32 MiB of the disk. */
const SLICE_ENTRIES = 512;
const SLICE_BYTES = SLICE_ENTRIES * ENTRY_BYTES;
const SLICES_PER_TABLE = TABLE_ENTRIES / SLICE_ENTRIES;
/** 1 MiB, for 8 GiB of the disk; one more costs a read of 4 KiB from the page cache. */
const MOST_SLICES = 256;
const EMPTY_SLICE = Buffer.alloc(SLICE_BYTES);

/** Bytes of the disk that lie in one piece in the file. */
type Piece = {
  /** In the file; 0: there is no cluster, the disk reads as zeros. */
  readonly offset: number;
  readonly length: number;
};

export class Qcow2Disk implements DiskTarget {
  readonly #file: RawDisk;
  readonly #slices = new Map<number, Buffer>();
  #l1: Buffer | undefined;
  readonly sizeBytes: number;
  readonly fresh = true;

  private constructor(file: RawDisk, sizeBytes: number) {
    this.#file = file;
    this.sizeBytes = sizeBytes;
  }

  /**
   * Before all is reserved it can be opened, not yet read or written.
   *
   * @throws {HoldfastError} `DiskNotFound`, `DiskUnavailable`.
   */
  static async open(
    { path, sizeBytes }: TargetSpec & { readonly kind: 'newQcow2' },
    options: OpenOptions,
  ): Promise<Qcow2Disk> {
    const file = { kind: 'raw', path, sizeBytes: mostImageBytes(sizeBytes), fresh: true } as const;
    return new Qcow2Disk(await RawDisk.open(file, 'r+', options), sizeBytes);
  }

  get description(): string {
    return this.#file.description;
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    await this.#eachPiece(offsetBytes, target, async (piece, bytes) => {
      if (piece.offset === 0) bytes.fill(0);
      else await this.#file.read(piece.offset, bytes);
    });
  }

  /** All of it: what is zero here is not worth knowing, since nothing but this was written. */
  async dataExtents(range?: Extent): Promise<Extent[]> {
    const wanted = range ?? { offset: 0, length: this.sizeBytes };
    this.#check(wanted.offset, wanted.length);
    return wanted.length === 0 ? [] : [wanted];
  }

  /** As RawDisk: before it returns. Anything but zeros must have been reserved. */
  async write(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    await this.#eachPiece(offsetBytes, bytes, async (piece, part) => {
      if (piece.offset === 0) assert(isZero(part), 'written where nothing was reserved');
      else await this.#file.write(piece.offset, part);
    });
  }

  async writeZeroes(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.#check(offsetBytes, lengthBytes);
  }

  async flush(): Promise<void> {
    await this.#file.flush();
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #eachPiece(
    offset: number,
    bytes: Uint8Array,
    act: (piece: Piece, bytes: Uint8Array) => Promise<void>,
  ): Promise<void> {
    this.#check(offset, bytes.length);
    for (let done = 0; done < bytes.length;) {
      const piece = await this.#pieceAt(offset + done, bytes.length - done);
      await act(piece, bytes.subarray(done, done + piece.length));
      done += piece.length;
    }
  }

  async #pieceAt(offset: number, most: number): Promise<Piece> {
    const first = Math.floor(offset / CLUSTER_BYTES);
    const inCluster = offset % CLUSTER_BYTES;
    const place = await this.#placeOf(first);
    let count = 1;
    while (count * CLUSTER_BYTES - inCluster < most) {
      const next = await this.#placeOf(first + count);
      if (next !== (place === 0 ? 0 : place + count * CLUSTER_BYTES)) break;
      count += 1;
    }
    const length = Math.min(count * CLUSTER_BYTES - inCluster, most);
    return { offset: place === 0 ? 0 : place + inCluster, length };
  }

  async #placeOf(cluster: number): Promise<number> {
    const number = Math.floor(cluster / SLICE_ENTRIES);
    const slice = this.#slices.get(number) ?? (await this.#readSlice(number));
    return entryAt(slice, cluster % SLICE_ENTRIES);
  }

  async #readSlice(number: number): Promise<Buffer> {
    const l1 = (this.#l1 ??= await this.#readTable(L1_OFFSET, l1EntryCount(this.sizeBytes)));
    const table = entryAt(l1, Math.floor(number / SLICES_PER_TABLE));
    const start = table + (number % SLICES_PER_TABLE) * SLICE_BYTES;
    const slice = table === 0 ? EMPTY_SLICE : await this.#readTable(start, SLICE_ENTRIES);
    if (this.#slices.size >= MOST_SLICES) this.#slices.delete(this.#slices.keys().next().value!);
    this.#slices.set(number, slice);
    return slice;
  }

  async #readTable(offset: number, entryCount: number): Promise<Buffer> {
    const table = Buffer.allocUnsafeSlow(entryCount * ENTRY_BYTES);
    await this.#file.read(offset, table);
    return table;
  }

  #check(offset: number, length: number): void {
    if (offset >= 0 && length >= 0 && offset + length <= this.sizeBytes) return;
    throw new HoldfastError(
      'DiskRangeInvalid',
      `${length} bytes at ${offset} are not on "${this.description}" (${this.sizeBytes} bytes)`,
      { details: { offset, length, sizeBytes: this.sizeBytes } },
    );
  }
}
