/**
 * The session's claim table: which new blocks its workers have taken on, so that a block met by two
 * workers is stored once. Shared memory, open addressing; an entry is five 32-bit words:
 *
 *     0: state (0 free ──CAS──► 1 being written ──► 2 ready)   1–4: the id, whole
 *
 * Entries are never removed; a full table is renewed together with the session's view of the index
 * (backup-session.ts), by when everything claimed is sealed and found there.
 */

const WORDS = 5;
/** 42 MiB of memory, for 23 GiB of new data at 16 KiB between two refreshes. */
const CLAIMS = 1 << 21;
const SMALLEST_CLAIMS = 1 << 14;

export type ClaimTableData = {
  readonly words: SharedArrayBuffer;
  readonly size: SharedArrayBuffer;
};

export class ClaimTable {
  readonly #words: Int32Array;
  readonly #size: Int32Array;
  readonly #mask: number;

  constructor(data: ClaimTableData) {
    this.#words = new Int32Array(data.words);
    this.#size = new Int32Array(data.size);
    this.#mask = this.#words.length / WORDS - 1;
  }

  /** Memory for a table; `capacity` is a power of two. */
  static allocate(capacity: number): ClaimTableData {
    return {
      words: new SharedArrayBuffer(capacity * WORDS * 4),
      size: new SharedArrayBuffer(4),
    };
  }

  /** True once more than 70 % is used: time to renew it. */
  get isCrowded(): boolean {
    return Atomics.load(this.#size, 0) > 0.7 * (this.#mask + 1);
  }

  /** Empties the table. Only while no worker uses it. */
  clear(): void {
    this.#words.fill(0);
    Atomics.store(this.#size, 0, 0);
  }

  /** Claims the id. @returns true: the caller must store the block; false: this session has it. */
  claim(id: Buffer): boolean {
    return this.#find(id, true) === 'claimed';
  }

  /** Whether the id is claimed. */
  has(id: Buffer): boolean {
    return this.#find(id, false) === 'there';
  }

  /** A full table answers as if the id were new: the block is then stored once more, nothing else. */
  #find(id: Buffer, claims: boolean): 'there' | 'claimed' | 'absent' {
    const words = this.#words;
    const key = [
      id.readInt32LE(0),
      id.readInt32LE(4),
      id.readInt32LE(8),
      id.readInt32LE(12),
    ] as const;
    let at = key[0] & this.#mask;
    for (let tried = 0; tried <= this.#mask; tried += 1) {
      const base = at * WORDS;
      let state = Atomics.load(words, base);
      if (state === 0 && !claims) return 'absent';
      if (state === 0) state = Atomics.compareExchange(words, base, 0, 1);
      if (state === 0) {
        words.set(key, base + 1);
        Atomics.store(words, base, 2);
        Atomics.add(this.#size, 0, 1);
        return 'claimed';
      }
      while (state === 1) state = Atomics.load(words, base);
      if (this.#isAt(base, key)) return 'there';
      at = (at + 1) & this.#mask;
    }
    return claims ? 'claimed' : 'absent';
  }

  #isAt(base: number, key: readonly [number, number, number, number]): boolean {
    const words = this.#words;
    return (
      words[base + 1] === key[0] &&
      words[base + 2] === key[1] &&
      words[base + 3] === key[2] &&
      words[base + 4] === key[3]
    );
  }
}

/** For so much new data at most, between two refreshes. */
export function claimCapacity(expectedBytes: number, blockSize: number): number {
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(1, (2 * expectedBytes) / blockSize)));
  return Math.min(CLAIMS, Math.max(SMALLEST_CLAIMS, wanted * 2));
}
