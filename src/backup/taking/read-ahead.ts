/**
 * Reads a list of pieces of a disk in order, a few ahead of its user, into a ring of buffers: while one
 * piece is hashed and compressed, the next are read.
 */
import type { DiskSource } from '#disk';

export type Piece = { readonly offset: number; readonly length: number };

const DEPTH = 4;
const PIECE_BYTES = 1024 * 1024;

export class ReadAhead {
  /** The length of the longest piece: whole blocks. */
  readonly pieceBytes: number;
  readonly #blockSize: number;
  readonly #buffers: readonly Buffer[];
  #source: DiskSource | undefined;
  #pieces: readonly Piece[] = [];
  readonly #running: Promise<Buffer>[] = [];
  #started = 0;
  #taken = 0;

  constructor(blockSize: number) {
    this.#blockSize = blockSize;
    this.pieceBytes = Math.max(PIECE_BYTES, blockSize);
    this.#buffers = Array.from({ length: DEPTH }, () => Buffer.allocUnsafeSlow(this.pieceBytes));
  }

  /** Begins to read `pieces`; those of the list before were all taken, or it was settled. */
  start(source: DiskSource, pieces: readonly Piece[]): void {
    this.#source = source;
    this.#pieces = pieces;
    this.#started = 0;
    this.#taken = 0;
    while (this.#started < DEPTH) if (!this.#startNext()) break;
  }

  /**
   * The next piece, its last block filled up with zeros. It stays as it is until the next call.
   *
   * @throws as `DiskSource.read`.
   */
  async next(): Promise<Buffer> {
    // The buffer that was taken last is free again.
    if (this.#taken > 0) this.#startNext();
    this.#taken += 1;
    return await this.#running.shift()!;
  }

  /** Waits until nothing is being read any more, after a failure. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#running.splice(0));
  }

  #startNext(): boolean {
    const piece = this.#pieces[this.#started];
    if (piece === undefined) return false;
    const buffer = this.#buffers[this.#started % DEPTH]!;
    this.#started += 1;
    const reading = readPadded(this.#source!, piece, { buffer, blockSize: this.#blockSize });
    // Its failure is thrown by `next`; until then it must not count as unhandled.
    reading.catch(() => undefined);
    this.#running.push(reading);
    return true;
  }
}

/** Reads a piece into the beginning of `buffer`, filled up to a whole block with zeros. */
export async function readPadded(
  source: DiskSource,
  { offset, length }: Piece,
  { buffer, blockSize }: { readonly buffer: Buffer; readonly blockSize: number },
): Promise<Buffer> {
  const padded = Math.ceil(length / blockSize) * blockSize;
  await source.read(offset, buffer.subarray(0, length));
  return buffer.subarray(0, padded).fill(0, length);
}
