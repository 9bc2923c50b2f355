/**
 * Writes one run: an immutable file of records sorted by id.
 *
 *     pages    pageCount × 4096   page.ts
 *     fences   pageCount × 8      first 8 id bytes of each page as two u32, high word first
 *     filter   lineCount × 64     filter.ts
 *     footer   64                 `HFIR`, version, pageCount, lineCount (u32), recordCount, idCount
 *                                 (f64), CRC-32 of fences, of filter, zeros, CRC-32 of bytes 0–59
 *
 * All little-endian. The bytes depend on the records alone. Fences and filter are made in a second
 * pass over the written pages, when their exact size is known: so both stand once in memory, shared.
 */
import assert from 'node:assert/strict';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { addToFilter, filterLines, filterScale, LINE_BYTES } from './filter.ts';
import { checkPage, PAGE_BYTES, PAGE_HEADER_BYTES, PAGE_RECORDS, sealPage } from './page.ts';
import type { Found } from './found.ts';
import { compareRecord, loadRecordKey, newKey, RECORD_BYTES, type Key } from './record.ts';
import { encodeFooter, type RunMeta, type SharedRun } from './run-format.ts';
import { indexWriteFailed } from './write-failed.ts';

const CHUNK_PAGES = 64;
const CHUNK_BYTES = CHUNK_PAGES * PAGE_BYTES;

export class RunWriter {
  readonly path: string;
  readonly #file: FileHandle;
  #chunk = Buffer.alloc(CHUNK_BYTES + PAGE_BYTES);
  #view: DataView;
  /** Bytes of `#chunk` in sealed pages; the open page follows. */
  #sealedBytes = 0;
  #openRecords = 0;
  #pageCount = 0;
  #writtenBytes = 0;
  #recordCount = 0;
  #idCount = 0;

  private constructor(path: string, file: FileHandle) {
    this.path = path;
    this.#file = file;
    this.#view = viewOf(this.#chunk);
  }

  /** @throws {HoldfastError} `StoreFull`, `StoreFailed` */
  static async create(path: string): Promise<RunWriter> {
    return new RunWriter(path, await open(path, 'wx+').catch(indexWriteFailed));
  }

  get recordCount(): number {
    return this.#recordCount;
  }

  /** Whether `drain` should be awaited before more is appended. */
  get isFull(): boolean {
    return this.#sealedBytes >= CHUNK_BYTES;
  }

  /** Appends what is known of `key`, which is above every key before; nothing if nothing is left of it. */
  append(key: Key, found: Found): void {
    if (found.copyCount === 0) {
      if (found.count === 0) return;
      this.#appendRecord(key, found, -1);
    }
    for (let i = 0; i < found.copyCount; i++) this.#appendRecord(key, found, i);
    this.#idCount++;
  }

  /** Writes the sealed pages. @throws {HoldfastError} `StoreFull`, `StoreFailed` */
  async drain(): Promise<void> {
    const sealed = this.#sealedBytes;
    await writeFully(this.#file, this.#chunk.subarray(0, sealed), this.#writtenBytes);
    this.#writtenBytes += sealed;
    this.#chunk.copy(this.#chunk, 0, sealed, sealed + PAGE_BYTES);
    this.#sealedBytes = 0;
    if (this.#openRecords === 0) this.#chunk.fill(0, 0, PAGE_BYTES);
  }

  /** Completes the file and makes it durable (its name follows with the manifest). */
  async finish(): Promise<{ meta: RunMeta; shared: SharedRun }> {
    if (this.#openRecords > 0) this.#sealOpenPage();
    await this.drain();
    const pageCount = this.#pageCount;
    const lineCount = filterLines(this.#idCount);
    const shared: SharedRun = {
      fences: new SharedArrayBuffer(pageCount * 8),
      filter: new SharedArrayBuffer(lineCount * LINE_BYTES),
    };
    await this.#summarise(shared);
    const fencesCrc = await this.#writeTable(shared.fences);
    const filterCrc = await this.#writeTable(shared.filter);
    const meta = { pageCount, lineCount, recordCount: this.#recordCount, idCount: this.#idCount };
    await writeFully(
      this.#file,
      encodeFooter({ ...meta, fencesCrc, filterCrc }),
      this.#writtenBytes,
    );
    await this.#file.datasync().catch(indexWriteFailed);
    await this.#file.close();
    return { meta, shared };
  }

  /** Gives up: the file goes. After a failed write, or when nothing was appended. */
  async discard(): Promise<void> {
    await this.#file.close();
    await rm(this.path, { force: true });
  }

  #appendRecord(key: Key, found: Found, i: number): void {
    const offset = this.#sealedBytes + PAGE_HEADER_BYTES + this.#openRecords * RECORD_BYTES;
    found.writeRecord(this.#view, offset, { key, i });
    this.#recordCount++;
    if (++this.#openRecords === PAGE_RECORDS) this.#sealOpenPage();
  }

  #sealOpenPage(): void {
    const page = this.#chunk.subarray(this.#sealedBytes, this.#sealedBytes + PAGE_BYTES);
    sealPage(page, this.#pageCount++, this.#openRecords);
    this.#sealedBytes += PAGE_BYTES;
    this.#openRecords = 0;
    if (this.#sealedBytes + PAGE_BYTES > this.#chunk.length) {
      this.#chunk = Buffer.concat([this.#chunk, Buffer.alloc(this.#chunk.length)]);
      this.#view = viewOf(this.#chunk);
    }
    this.#chunk.fill(0, this.#sealedBytes, this.#sealedBytes + PAGE_BYTES);
  }

  async #summarise(shared: SharedRun): Promise<void> {
    const fences = new Uint32Array(shared.fences);
    const filter = new Uint32Array(shared.filter);
    const scale = filterScale(filter.byteLength / LINE_BYTES);
    const key = newKey();
    const chunk = Buffer.alloc(CHUNK_BYTES);
    const view = viewOf(chunk);
    let isFirst = true;
    for (let page = 0; page < this.#pageCount;) {
      const pages = Math.min(CHUNK_PAGES, this.#pageCount - page);
      await this.#file.read(chunk, 0, pages * PAGE_BYTES, page * PAGE_BYTES);
      for (let at = 0; at < pages * PAGE_BYTES; at += PAGE_BYTES, page++) {
        const body = chunk.subarray(at + 4, at + PAGE_BYTES);
        checkPage(chunk.subarray(at, at + PAGE_BYTES), body, { path: this.path, number: page });
        fences[page * 2] = view.getUint32(at + PAGE_HEADER_BYTES);
        fences[page * 2 + 1] = view.getUint32(at + PAGE_HEADER_BYTES + 4);
        const end = at + PAGE_HEADER_BYTES + view.getUint32(at + 12, true) * RECORD_BYTES;
        for (let offset = at + PAGE_HEADER_BYTES; offset < end; offset += RECORD_BYTES) {
          if (!isFirst && compareRecord(view, offset, key) === 0) continue;
          isFirst = false;
          loadRecordKey(key, view, offset);
          addToFilter(filter, scale, key);
        }
      }
    }
  }

  /** Appends `table` in slices; returns its CRC-32. */
  async #writeTable(table: SharedArrayBuffer): Promise<number> {
    let crc = 0;
    for (let at = 0; at < table.byteLength; at += CHUNK_BYTES) {
      const slice = Buffer.from(table, at, Math.min(CHUNK_BYTES, table.byteLength - at));
      crc = crc32(slice, crc);
      await writeFully(this.#file, slice, this.#writtenBytes);
      this.#writtenBytes += slice.length;
    }
    return crc;
  }
}

const viewOf = (bytes: Buffer): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

async function writeFully(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const left = bytes.length - done;
    const { bytesWritten } = await file
      .write(bytes, done, left, position + done)
      .catch(indexWriteFailed);
    assert(bytesWritten > 0);
    done += bytesWritten;
  }
}
