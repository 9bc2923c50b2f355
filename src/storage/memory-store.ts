/** One process's view of a `MemoryDisk` (memory-disk.ts): a whole object store, for tests. */
import assert from 'node:assert/strict';
import { HoldfastError } from '#base';
import type { FaultyMemory, MemoryCall, ProcessLife, UnfinishedObject } from './faulty-memory.ts';
import { checkRange, checkSize, objectExists, objectNotFound } from './object-errors.ts';
import { checkObjectName, checkObjectPrefix } from './object-name.ts';
import type {
  ByteRange,
  CreateOutcome,
  ListedObject,
  ObjectStore,
  ObjectWriter,
} from './object-store.ts';

const LOCATION = 'memory:';

export class MemoryStore implements ObjectStore {
  readonly location = LOCATION;
  readonly #disk: FaultyMemory;
  readonly #life: ProcessLife;

  constructor(disk: FaultyMemory, life: ProcessLife) {
    this.#disk = disk;
    this.#life = life;
  }

  async createIfAbsent(name: string, bytes: Uint8Array): Promise<CreateOutcome> {
    checkObjectName(name);
    const disk = this.#disk;
    return this.#call<CreateOutcome>({
      method: 'createIfAbsent',
      name,
      effect: () => {
        if (disk.objects.has(name)) return 'exists';
        disk.put(name, copyOf(bytes));
        return 'created';
      },
      torn: (where) => tear(disk, { name, bytes: copyOf(bytes), where }),
    });
  }

  async openWriter(name: string): Promise<ObjectWriter> {
    checkObjectName(name);
    return this.#call({
      method: 'openWriter',
      name,
      effect: () => {
        const put: UnfinishedObject = { name, chunks: [] };
        this.#disk.unfinished.add(put);
        return new MemoryWriter(this.#disk, this.#life, put);
      },
    });
  }

  async readRange(name: string, range: ByteRange): Promise<Buffer> {
    checkObjectName(name);
    const effect = (): Buffer => {
      const bytes = this.#find(name);
      checkRange({ name, location: LOCATION }, range, bytes.length);
      const { offsetBytes, lengthBytes } = range;
      return copyOf(bytes.subarray(offsetBytes, offsetBytes + lengthBytes));
    };
    return this.#call({ method: 'readRange', name, effect });
  }

  async read(name: string, { maxBytes }: { readonly maxBytes: number }): Promise<Buffer> {
    checkObjectName(name);
    const effect = (): Buffer => {
      const bytes = this.#find(name);
      checkSize({ name, location: LOCATION }, bytes.length, maxBytes);
      return copyOf(bytes);
    };
    return this.#call({ method: 'read', name, effect });
  }

  async size(name: string): Promise<number | undefined> {
    checkObjectName(name);
    const effect = (): number | undefined => this.#disk.objects.get(name)?.length;
    return this.#call({ method: 'size', name, effect });
  }

  async delete(name: string): Promise<void> {
    checkObjectName(name);
    return this.#call({ method: 'delete', name, effect: () => this.#disk.remove(name) });
  }

  async *list(prefix: string): AsyncGenerator<ListedObject> {
    checkObjectPrefix(prefix);
    const effect = (): ListedObject[] => this.#disk.listed(prefix);
    yield* await this.#call({ method: 'list', name: prefix, effect });
  }

  async discardUnfinished(prefix: string): Promise<void> {
    checkObjectPrefix(prefix);
    return this.#call({
      method: 'discardUnfinished',
      name: prefix,
      effect: () => {
        for (const put of this.#disk.unfinished) {
          if (put.name.startsWith(prefix)) this.#disk.unfinished.delete(put);
        }
      },
    });
  }

  /** Not counted and never failing, so that tests may close the stores of dead processes. */
  async close(): Promise<void> {}

  #find(name: string): Buffer {
    const bytes = this.#disk.objects.get(name);
    if (bytes === undefined) throw objectNotFound({ name, location: LOCATION });
    return bytes;
  }

  #call<T>(call: MemoryCall<T>): Promise<T> {
    return this.#disk.call(this.#life, call);
  }
}

class MemoryWriter implements ObjectWriter {
  readonly #disk: FaultyMemory;
  readonly #life: ProcessLife;
  readonly #put: UnfinishedObject;
  #writtenBytes = 0;
  #state: 'open' | 'busy' | 'ended' = 'open';

  constructor(disk: FaultyMemory, life: ProcessLife, put: UnfinishedObject) {
    this.#disk = disk;
    this.#life = life;
    this.#put = put;
  }

  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#begin();
    const { name, chunks } = this.#put;
    await this.#disk.call(this.#life, {
      method: 'write',
      name,
      effect: () => {
        chunks.push(copyOf(bytes));
        this.#writtenBytes += bytes.length;
      },
      torn: () => chunks.push(copyOf(bytes.subarray(0, bytes.length >>> 1))),
    });
    this.#state = 'open';
  }

  async commit(): Promise<void> {
    this.#begin();
    const disk = this.#disk;
    const { name, chunks } = this.#put;
    const effect = (): void => {
      this.#state = 'ended';
      if (!disk.unfinished.delete(this.#put)) {
        throw new HoldfastError('StoreFailed', `the unfinished put of ${name} was discarded`);
      }
      if (disk.objects.has(name)) throw objectExists({ name, location: LOCATION });
      disk.put(name, Buffer.concat(chunks));
    };
    await this.#disk.call(this.#life, {
      method: 'commit',
      name,
      effect,
      torn: (where) => tear(disk, { name, bytes: Buffer.concat(chunks), where }),
    });
  }

  async abort(): Promise<void> {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    const effect = (): boolean => this.#disk.unfinished.delete(this.#put);
    await this.#disk.call(this.#life, { method: 'abort', name: this.#put.name, effect });
  }

  /** A call that rejects leaves the writer busy: only `abort` may follow, as the contract says. */
  #begin(): void {
    assert(this.#state === 'open', `a writer of ${this.#put.name} was called while ${this.#state}`);
    this.#state = 'busy';
  }
}

type Tear = {
  readonly name: string;
  readonly bytes: Buffer;
  readonly where: 'hidden' | 'visible';
};

/** Half an object: invisible among the unfinished, or, against the contract, visible. */
function tear(disk: FaultyMemory, { name, bytes, where }: Tear): void {
  const half = copyOf(bytes.subarray(0, bytes.length >>> 1));
  if (where === 'hidden') disk.unfinished.add({ name, chunks: [half] });
  else if (!disk.objects.has(name)) disk.put(name, half);
}

function copyOf(bytes: Uint8Array): Buffer {
  return Buffer.from(Uint8Array.from(bytes).buffer);
}
