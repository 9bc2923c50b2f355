/** Counts requests and bytes by method: what an increment costs is tested, and shown in statistics. */
import type {
  ByteRange,
  CreateOutcome,
  ListedObject,
  ObjectStore,
  ObjectWriter,
} from './object-store.ts';

type CountedMethod =
  | 'createIfAbsent'
  | 'openWriter'
  | 'write'
  | 'commit'
  | 'abort'
  | 'readRange'
  | 'read'
  | 'size'
  | 'delete'
  | 'list'
  | 'discardUnfinished';

type MethodCount = {
  /** Calls begun, failed ones included. */
  readonly calls: number;
  /** Bytes of calls that succeeded; for createIfAbsent only of objects it created. */
  readonly bytes: number;
};

const METHODS: readonly CountedMethod[] = [
  'createIfAbsent',
  'openWriter',
  'write',
  'commit',
  'abort',
  'readRange',
  'read',
  'size',
  'delete',
  'list',
  'discardUnfinished',
];

class Counts {
  readonly #byMethod = new Map<CountedMethod, { calls: number; bytes: number }>();

  async of<T>(
    method: CountedMethod,
    call: Promise<T>,
    bytesOf?: (result: T) => number,
  ): Promise<T> {
    const count = this.#of(method);
    count.calls += 1;
    const result = await call;
    count.bytes += bytesOf?.(result) ?? 0;
    return result;
  }

  begin(method: CountedMethod): void {
    this.#of(method).calls += 1;
  }

  reset(): void {
    this.#byMethod.clear();
  }

  snapshot(): Readonly<Record<CountedMethod, MethodCount>> {
    const entries = METHODS.map((method) => [method, { ...this.#of(method) }]);
    return Object.fromEntries(entries) as Record<CountedMethod, MethodCount>;
  }

  #of(method: CountedMethod): { calls: number; bytes: number } {
    const count = this.#byMethod.get(method) ?? { calls: 0, bytes: 0 };
    this.#byMethod.set(method, count);
    return count;
  }
}

export class CountingStore implements ObjectStore {
  readonly location: string;
  readonly #inner: ObjectStore;
  readonly #counts = new Counts();

  constructor(inner: ObjectStore) {
    this.location = inner.location;
    this.#inner = inner;
  }

  /** A copy of the counts since the store was made or `resetCounts` was called. */
  get counts(): Readonly<Record<CountedMethod, MethodCount>> {
    return this.#counts.snapshot();
  }

  resetCounts(): void {
    this.#counts.reset();
  }

  async createIfAbsent(name: string, bytes: Uint8Array): Promise<CreateOutcome> {
    const call = this.#inner.createIfAbsent(name, bytes);
    return this.#counts.of('createIfAbsent', call, (outcome) =>
      outcome === 'created' ? bytes.length : 0,
    );
  }

  async openWriter(name: string): Promise<ObjectWriter> {
    const writer = await this.#counts.of('openWriter', this.#inner.openWriter(name));
    return new CountingWriter(writer, this.#counts);
  }

  async readRange(name: string, range: ByteRange): Promise<Buffer> {
    return this.#counts.of('readRange', this.#inner.readRange(name, range), byteLength);
  }

  async read(name: string, options: { readonly maxBytes: number }): Promise<Buffer> {
    return this.#counts.of('read', this.#inner.read(name, options), byteLength);
  }

  async size(name: string): Promise<number | undefined> {
    return this.#counts.of('size', this.#inner.size(name));
  }

  async delete(name: string): Promise<void> {
    return this.#counts.of('delete', this.#inner.delete(name));
  }

  async *list(prefix: string): AsyncGenerator<ListedObject> {
    this.#counts.begin('list');
    yield* this.#inner.list(prefix);
  }

  async discardUnfinished(prefix: string): Promise<void> {
    return this.#counts.of('discardUnfinished', this.#inner.discardUnfinished(prefix));
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }
}

class CountingWriter implements ObjectWriter {
  readonly #inner: ObjectWriter;
  readonly #counts: Counts;

  constructor(inner: ObjectWriter, counts: Counts) {
    this.#inner = inner;
    this.#counts = counts;
  }

  get writtenBytes(): number {
    return this.#inner.writtenBytes;
  }

  async write(bytes: Uint8Array): Promise<void> {
    return this.#counts.of('write', this.#inner.write(bytes), () => bytes.length);
  }

  async commit(): Promise<void> {
    return this.#counts.of('commit', this.#inner.commit());
  }

  async abort(): Promise<void> {
    return this.#counts.of('abort', this.#inner.abort());
  }
}

function byteLength(bytes: Buffer): number {
  return bytes.length;
}
