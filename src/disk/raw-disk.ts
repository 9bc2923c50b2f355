/**
 * A raw image file or block device, read and written directly through the page cache. Read errors of
 * the kernel name the exact place: a long read stops at the first unreadable sector.
 */
import { readSync, writeSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { HoldfastError, throwIfCancelled, type Clock } from '#base';
import type { DiskTarget, OpenOptions, TargetSpec } from './disk-source.ts';
import type { Extent } from './extent.ts';
import { mapRawImage } from './image-map.ts';

/** Zeros are compared and written in pieces of this. */
const ZERO_PIECE_BYTES = 1024 * 1024;
const ZEROS = Buffer.alloc(ZERO_PIECE_BYTES);
/** Where asking qemu-img for holes is cheaper than reading. */
const MAP_FROM_BYTES = 64 * 1024 * 1024;
/** Handing a read to Node's pool costs some 50 µs, reading so much from the page cache 30 µs at most. */
const SMALL_BYTES = 128 * 1024;
/** Above, the page cache did not have it, and several reads at once are faster. */
const QUICK_MS = 0.3;
/** How many small reads go to the pool after a slow one. */
const READS_AFTER_SLOW = 64;

export class RawDisk implements DiskTarget {
  readonly #handle: FileHandle;
  readonly #spec: TargetSpec & { readonly kind: 'raw' };
  readonly #signal: AbortSignal | undefined;
  readonly #clock: Clock;
  /** Small reads that still go to the pool. */
  #pooledReads = 0;

  private constructor(
    handle: FileHandle,
    spec: TargetSpec & { readonly kind: 'raw' },
    { signal, clock }: OpenOptions,
  ) {
    this.#handle = handle;
    this.#spec = spec;
    this.#signal = signal;
    this.#clock = clock;
  }

  /** @throws {HoldfastError} `DiskNotFound`, `DiskUnavailable`. */
  static async open(
    spec: TargetSpec & { readonly kind: 'raw' },
    mode: 'r' | 'r+',
    options: OpenOptions,
  ): Promise<RawDisk> {
    try {
      return new RawDisk(await open(spec.path, mode), spec, options);
    } catch (cause) {
      const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
      throw new HoldfastError(
        missing ? 'DiskNotFound' : 'DiskUnavailable',
        `cannot open "${spec.path}": ${(cause as Error).message}`,
        { cause, details: { path: spec.path } },
      );
    }
  }

  get sizeBytes(): number {
    return this.#spec.sizeBytes;
  }

  get description(): string {
    return this.#spec.path;
  }

  get fresh(): boolean {
    return this.#spec.fresh;
  }

  async read(offsetBytes: number, target: Uint8Array): Promise<void> {
    this.#check(offsetBytes, target.length);
    for (let done = 0; done < target.length;) {
      const offset = offsetBytes + done;
      const bytesRead = await this.#readSome(offset, target.subarray(done));
      if (bytesRead === 0) {
        throw new HoldfastError(
          'DiskChanged',
          `"${this.description}" ends at ${offset} but had ${this.sizeBytes} bytes: it was made smaller`,
          { details: { offset, sizeBytes: this.sizeBytes } },
        );
      }
      done += bytesRead;
    }
  }

  async dataExtents(range?: Extent): Promise<Extent[]> {
    const wanted = range ?? { offset: 0, length: this.sizeBytes };
    this.#check(wanted.offset, wanted.length);
    return await mapRawImage(this.#spec.path, wanted, this.#signal);
  }

  /**
   * Writes before it returns, in the caller's thread, which is a worker's: handing 256 KiB at a time to
   * Node's pool cost a third of a restore's time (10.5 s → 8 s on a busy machine).
   */
  async write(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    this.#check(offsetBytes, bytes.length);
    if (this.fresh && isZero(bytes)) return;
    try {
      for (let done = 0; done < bytes.length;) {
        const position = offsetBytes + done;
        done += writeSync(this.#handle.fd, bytes, done, undefined, position);
      }
    } catch (cause) {
      throw this.#failed('DiskWriteFailed', offsetBytes, cause);
    }
  }

  async writeZeroes(offsetBytes: number, lengthBytes: number): Promise<void> {
    this.#check(offsetBytes, lengthBytes);
    if (this.fresh) return;
    const range = { offset: offsetBytes, length: lengthBytes };
    const data = lengthBytes >= MAP_FROM_BYTES ? await this.dataExtents(range) : [range];
    const piece = Buffer.allocUnsafe(Math.min(lengthBytes, ZERO_PIECE_BYTES));
    for (const { offset, length } of data) {
      for (let at = 0; at < length; at += piece.length) {
        const part = piece.subarray(0, Math.min(piece.length, length - at));
        await this.read(offset + at, part);
        if (!isZero(part)) await this.write(offset + at, ZEROS.subarray(0, part.length));
      }
    }
  }

  async flush(): Promise<void> {
    try {
      await this.#handle.sync();
    } catch (cause) {
      throw this.#failed('DiskWriteFailed', 0, cause);
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #readSome(offset: number, target: Uint8Array): Promise<number> {
    try {
      if (target.length <= SMALL_BYTES && this.#pooledReads === 0) {
        return this.#readAtOnce(offset, target);
      }
      if (target.length <= SMALL_BYTES) this.#pooledReads -= 1;
      return (await this.#handle.read(target, 0, target.length, offset)).bytesRead;
    } catch (cause) {
      throw this.#failed('DiskReadFailed', offset, cause);
    }
  }

  /** In the caller's thread, which is a worker's. */
  #readAtOnce(offset: number, target: Uint8Array): number {
    const startMs = this.#clock.monotonicMs();
    const bytesRead = readSync(this.#handle.fd, target, 0, target.length, offset);
    if (this.#clock.monotonicMs() - startMs > QUICK_MS) this.#pooledReads = READS_AFTER_SLOW;
    return bytesRead;
  }

  #check(offset: number, length: number): void {
    throwIfCancelled(this.#signal);
    if (offset >= 0 && length >= 0 && offset + length <= this.sizeBytes) return;
    throw new HoldfastError(
      'DiskRangeInvalid',
      `${length} bytes at ${offset} are not on "${this.description}" (${this.sizeBytes} bytes)`,
      { details: { offset, length, sizeBytes: this.sizeBytes } },
    );
  }

  #failed(
    code: 'DiskReadFailed' | 'DiskWriteFailed',
    offset: number,
    cause: unknown,
  ): HoldfastError {
    const verb = code === 'DiskReadFailed' ? 'read' : 'write';
    const message = `cannot ${verb} "${this.description}" at offset ${offset}: ${(cause as Error).message}`;
    return new HoldfastError(code, message, { cause, details: { offset } });
  }
}

export function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += ZERO_PIECE_BYTES) {
    const part = bytes.subarray(at, at + ZERO_PIECE_BYTES);
    if (ZEROS.compare(part, 0, part.length, 0, part.length) !== 0) return false;
  }
  return true;
}
