/**
 * How many live bytes one mark of compaction may have: as many as the store has room for. Nobody can ask a
 * store how much that is; it is found by what did not fit and by what was freed.
 */

/** At most so many: bounds what a crash makes us move again. */
const MOST_BYTES = 1024 ** 3;

export class RoundLimit {
  #bytes = MOST_BYTES;
  /** Whether something was freed since a mark did not fit: then more may fit now. */
  #hasGained = false;

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether some mark did not fit, and none as large as the most fitted since. */
  get isShort(): boolean {
    return this.#bytes < MOST_BYTES;
  }

  /** A mark of `liveBytes` fitted: what it took is free again, and what it freed as well. */
  fitted(liveBytes: number, freedBytes: number): void {
    this.#hasGained ||= freedBytes > 0;
    this.#bytes = Math.min(MOST_BYTES, Math.max(this.#bytes, liveBytes + Math.max(0, freedBytes)));
  }

  /** A mark did not fit: the next has at most `mostBytes`. */
  failed(mostBytes: number, freedBytes: number): void {
    this.#hasGained = freedBytes > 0;
    this.#bytes = Math.floor(Math.min(this.#bytes, mostBytes));
  }

  /** When nothing is left within the limit. @returns false: more would not fit either. */
  raise(): boolean {
    if (!this.isShort || !this.#hasGained) return false;
    this.#bytes = Math.min(MOST_BYTES, Math.max(1, 2 * this.#bytes));
    return true;
  }
}
