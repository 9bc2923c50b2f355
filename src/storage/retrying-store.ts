/**
 * Repeats calls that failed for a reason that may pass (`StoreFailed`), waiting longer each time.
 *
 * A stream is never repeated here: after a failed `write` or `commit` nobody knows what arrived, and
 * the caller has the bytes, so it sends them again or abandons the object. Nor is a listing that has
 * begun.
 */
import { isHoldfastError, type Clock } from '#base';
import type {
  ByteRange,
  CreateOutcome,
  ListedObject,
  ObjectStore,
  ObjectWriter,
} from './object-store.ts';

type RetryOptions = {
  readonly clock: Clock;
  /** Calls in all, the first one included. */
  readonly attempts?: number;
  /** The wait after the first failure; each further one is twice as long, up to `maxDelayMs`. */
  readonly firstDelayMs?: number;
  readonly maxDelayMs?: number;
};

export class RetryingStore implements ObjectStore {
  readonly location: string;
  readonly #inner: ObjectStore;
  readonly #options: Required<RetryOptions>;

  constructor(inner: ObjectStore, options: RetryOptions) {
    this.location = inner.location;
    this.#inner = inner;
    this.#options = { attempts: 5, firstDelayMs: 200, maxDelayMs: 10_000, ...options };
  }

  /**
   * After a failure the object may have been created nevertheless. If a repetition then finds it, and
   * it holds exactly `bytes`, it is taken for this caller's own: so the bytes of concurrent callers
   * must differ (sealed objects always do).
   */
  async createIfAbsent(name: string, bytes: Uint8Array): Promise<CreateOutcome> {
    let attempt = 0;
    return this.#repeat(async () => {
      attempt += 1;
      const outcome = await this.#inner.createIfAbsent(name, bytes);
      if (outcome === 'created' || attempt === 1) return outcome;
      return (await this.#holds(name, bytes)) ? 'created' : 'exists';
    });
  }

  async openWriter(name: string): Promise<ObjectWriter> {
    return this.#repeat(() => this.#inner.openWriter(name));
  }

  async readRange(name: string, range: ByteRange): Promise<Buffer> {
    return this.#repeat(() => this.#inner.readRange(name, range));
  }

  async read(name: string, options: { readonly maxBytes: number }): Promise<Buffer> {
    return this.#repeat(() => this.#inner.read(name, options));
  }

  async size(name: string): Promise<number | undefined> {
    return this.#repeat(() => this.#inner.size(name));
  }

  async delete(name: string): Promise<void> {
    return this.#repeat(() => this.#inner.delete(name));
  }

  async *list(prefix: string): AsyncGenerator<ListedObject> {
    const { first, rest } = await this.#repeat(async () => {
      const iterator = this.#inner.list(prefix)[Symbol.asyncIterator]();
      return { first: await iterator.next(), rest: { [Symbol.asyncIterator]: () => iterator } };
    });
    if (first.done === true) return;
    yield first.value;
    yield* rest;
  }

  async discardUnfinished(prefix: string): Promise<void> {
    return this.#repeat(() => this.#inner.discardUnfinished(prefix));
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  async #holds(name: string, bytes: Uint8Array): Promise<boolean> {
    if ((await this.#inner.size(name)) !== bytes.length) return false;
    try {
      return (await this.#inner.read(name, { maxBytes: bytes.length })).equals(bytes);
    } catch (error) {
      // It existed and was deleted meanwhile: whosever it was, it is not there now.
      if (isHoldfastError(error, 'ObjectNotFound')) return false;
      throw error;
    }
  }

  async #repeat<T>(call: () => Promise<T>): Promise<T> {
    const { clock, attempts, firstDelayMs, maxDelayMs } = this.#options;
    for (let attempt = 1; ; attempt++) {
      try {
        return await call();
      } catch (error) {
        if (!isHoldfastError(error, 'StoreFailed') || attempt >= attempts) throw error;
      }
      await clock.sleep(Math.min(maxDelayMs, firstDelayMs * 2 ** (attempt - 1)));
    }
  }
}
