/** Keeps values by key up to a number of bytes, the least recently used goes first. */

type Entry<Value> = { readonly value: Value; readonly sizeBytes: number };

export type BoundedCacheOptions<Value> = {
  readonly limitBytes: number;
  readonly sizeOf: (value: Value) => number;
};

export class BoundedCache<Value extends object> {
  readonly #limitBytes: number;
  readonly #sizeOf: (value: Value) => number;
  /** In order of use, the oldest first. */
  readonly #entries = new Map<string, Entry<Value>>();
  readonly #loading = new Map<string, Promise<Value>>();
  #sizeBytes = 0;

  constructor({ limitBytes, sizeOf }: BoundedCacheOptions<Value>) {
    this.#limitBytes = limitBytes;
    this.#sizeOf = sizeOf;
  }

  /** Bytes of all values kept: at most the limit. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** The value if it is at hand. */
  peek(key: string): Value | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /**
   * The value, loaded if need be; callers that come while it loads share one load. A failed load is not
   * kept, so the next caller tries again.
   */
  async get(key: string, load: () => Promise<Value>): Promise<Value> {
    const found = this.peek(key);
    if (found !== undefined) return found;
    const running = this.#loading.get(key);
    if (running !== undefined) return running;
    const loading = load();
    this.#loading.set(key, loading);
    try {
      const value = await loading;
      this.keep(key, value);
      return value;
    } finally {
      this.#loading.delete(key);
    }
  }

  /** Keeps a value that was come by otherwise. */
  keep(key: string, value: Value): void {
    const sizeBytes = this.#sizeOf(value);
    if (sizeBytes > this.#limitBytes || this.#entries.has(key)) return;
    this.#entries.set(key, { value, sizeBytes });
    this.#sizeBytes += sizeBytes;
    for (const [oldest, entry] of this.#entries) {
      if (this.#sizeBytes <= this.#limitBytes) return;
      this.#entries.delete(oldest);
      this.#sizeBytes -= entry.sizeBytes;
    }
  }
}
