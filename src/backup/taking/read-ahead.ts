/**
 * Reads a list of pieces of a disk in order, ahead of its user, into a ring of memory: while one piece is
 * hashed and compressed, the next are read.
 *
 * ```
 *   0        oldest: taken        newest                    4 pieces of the longest
 *   │ free   │ in use │ being read │ free, for the next piece │
 * ```
 *
 * Of small pieces as many are asked for at once as QEMU's NBD server takes from a client: it goes on while
 * this thread compresses. (16 KiB blocks of a running VM: a fifth faster than 4 at once.)
 */
import { toldElsewhere } from '#base';
import type { DiskSource } from '#disk';

export type Piece = { readonly offset: number; readonly length: number };

const DEPTH = 16;
const PIECE_BYTES = 1024 * 1024;
const LONGEST_PIECES = 4;

/** A piece's place in the ring. */
type Place = { readonly start: number; readonly end: number; readonly reading: Promise<Buffer> };

export class ReadAhead {
  /** The length of the longest piece: whole blocks. */
  readonly pieceBytes: number;
  readonly #blockSize: number;
  readonly #memory: Buffer;
  #source: DiskSource | undefined;
  #pieces: readonly Piece[] = [];
  /** The pieces of the list that were begun. */
  #begun = 0;
  /** Oldest first; the first is in use where `#isTaken`. */
  readonly #places: Place[] = [];
  #isTaken = false;

  constructor(blockSize: number) {
    this.#blockSize = blockSize;
    this.pieceBytes = Math.max(PIECE_BYTES, blockSize);
    this.#memory = Buffer.allocUnsafeSlow(LONGEST_PIECES * this.pieceBytes);
  }

  /** Begins to read `pieces`; the list before has been settled. */
  start(source: DiskSource, pieces: readonly Piece[]): void {
    this.#source = source;
    this.#pieces = pieces;
    this.#begun = 0;
    this.#beginMore();
  }

  /**
   * The next piece, its last block filled up with zeros. It stays as it is until the next call.
   *
   * @throws as `DiskSource.read`.
   */
  async next(): Promise<Buffer> {
    if (this.#isTaken) this.#places.shift();
    this.#isTaken = false;
    this.#beginMore();
    const bytes = await this.#places[0]!.reading;
    this.#isTaken = true;
    this.#beginMore();
    return bytes;
  }

  /** Waits until nothing is being read any more; what was not taken is forgotten. */
  async settle(): Promise<void> {
    const places = this.#places.splice(0);
    this.#isTaken = false;
    await Promise.allSettled(places.map(({ reading }) => reading));
  }

  #beginMore(): void {
    for (;;) {
      const piece = this.#pieces[this.#begun];
      const underWay = this.#places.length - (this.#isTaken ? 1 : 0);
      if (piece === undefined || underWay >= DEPTH) return;
      const start = this.#room(Math.ceil(piece.length / this.#blockSize) * this.#blockSize);
      if (start === undefined) return;
      this.#begun += 1;
      const end = start + Math.ceil(piece.length / this.#blockSize) * this.#blockSize;
      const buffer = this.#memory.subarray(start, end);
      const reading = readPadded(this.#source!, piece, { buffer, blockSize: this.#blockSize });
      // Its failure is thrown by `next`; until then it must not count as unhandled.
      void toldElsewhere(reading);
      this.#places.push({ start, end, reading });
    }
  }

  /** Where a piece of this length finds room; undefined: not before an older one is done with. */
  #room(lengthBytes: number): number | undefined {
    const [oldest, newest] = [this.#places[0], this.#places.at(-1)];
    if (oldest === undefined || newest === undefined) return 0;
    const isWrapped = newest.start < oldest.start;
    const limit = isWrapped ? oldest.start : this.#memory.length;
    if (newest.end + lengthBytes <= limit) return newest.end;
    return !isWrapped && lengthBytes <= oldest.start ? 0 : undefined;
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
