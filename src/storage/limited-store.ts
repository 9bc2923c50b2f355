/** Keeps a store from being asked too much at once: so many calls, and so many bytes a second. */
import assert from 'node:assert/strict';
import type { Clock } from '#base';
import type {
  ByteRange,
  CreateOutcome,
  ListedObject,
  ObjectStore,
  ObjectWriter,
} from './object-store.ts';

type LimitOptions = {
  readonly clock: Clock;
  readonly maxConcurrentCalls: number;
  /** Of reads and writes together; undefined: unlimited. */
  readonly bytesPerSecond?: number;
};

export class LimitedStore implements ObjectStore {
  readonly location: string;
  readonly #inner: ObjectStore;
  readonly #limits: Limits;

  constructor(inner: ObjectStore, options: LimitOptions) {
    this.location = inner.location;
    this.#inner = inner;
    this.#limits = new Limits(options);
  }

  async createIfAbsent(name: string, bytes: Uint8Array): Promise<CreateOutcome> {
    return this.#limits.run(bytes.length, () => this.#inner.createIfAbsent(name, bytes));
  }

  async openWriter(name: string): Promise<ObjectWriter> {
    const writer = await this.#limits.run(0, () => this.#inner.openWriter(name));
    return new LimitedWriter(writer, this.#limits);
  }

  async readRange(name: string, range: ByteRange): Promise<Buffer> {
    return this.#limits.run(range.lengthBytes, () => this.#inner.readRange(name, range));
  }

  /** The size is known only afterwards, so it delays the calls that follow. */
  async read(name: string, options: { readonly maxBytes: number }): Promise<Buffer> {
    const bytes = await this.#limits.run(0, () => this.#inner.read(name, options));
    this.#limits.charge(bytes.length);
    return bytes;
  }

  async size(name: string): Promise<number | undefined> {
    return this.#limits.run(0, () => this.#inner.size(name));
  }

  async delete(name: string): Promise<void> {
    return this.#limits.run(0, () => this.#inner.delete(name));
  }

  /** Counts as a call only while it fetches: its consumer may call the store for each object. */
  async *list(prefix: string): AsyncGenerator<ListedObject> {
    const iterator = this.#inner.list(prefix)[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await this.#limits.run(0, () => iterator.next());
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  }

  async discardUnfinished(prefix: string): Promise<void> {
    return this.#limits.run(0, () => this.#inner.discardUnfinished(prefix));
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }
}

class LimitedWriter implements ObjectWriter {
  readonly #inner: ObjectWriter;
  readonly #limits: Limits;

  constructor(inner: ObjectWriter, limits: Limits) {
    this.#inner = inner;
    this.#limits = limits;
  }

  get writtenBytes(): number {
    return this.#inner.writtenBytes;
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#limits.run(bytes.length, () => this.#inner.write(bytes));
  }

  commit(): Promise<void> {
    return this.#limits.run(0, () => this.#inner.commit());
  }

  abort(): Promise<void> {
    return this.#limits.run(0, () => this.#inner.abort());
  }
}

class Limits {
  readonly #clock: Clock;
  readonly #bytesPerMs: number;
  #freeCalls: number;
  readonly #waiting: (() => void)[] = [];
  /** Until when the bytes granted so far keep the line busy. */
  #busyUntilMs = 0;

  constructor({ clock, maxConcurrentCalls, bytesPerSecond = Infinity }: LimitOptions) {
    assert(maxConcurrentCalls >= 1, 'maxConcurrentCalls');
    assert(bytesPerSecond > 0, 'bytesPerSecond');
    this.#clock = clock;
    this.#freeCalls = maxConcurrentCalls;
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  async run<T>(bytes: number, call: () => Promise<T>): Promise<T> {
    if (this.#freeCalls > 0) this.#freeCalls -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      const delayMs = bytes === 0 ? 0 : this.charge(bytes);
      if (delayMs > 0) await this.#clock.sleep(delayMs);
      return await call();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#freeCalls += 1;
      else next(); // The call's place goes straight to the next in line.
    }
  }

  /** Books `bytes` on the line; returns how long to wait for what was booked before. */
  charge(bytes: number): number {
    const nowMs = this.#clock.monotonicMs();
    const startMs = Math.max(nowMs, this.#busyUntilMs);
    this.#busyUntilMs = startMs + bytes / this.#bytesPerMs;
    return startMs - nowMs;
  }
}
