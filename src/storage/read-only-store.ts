/** Refuses every change with `StoreReadOnly`, before the store beneath hears of it. */
import { HoldfastError } from '#base';
import type { ByteRange, ListedObject, ObjectStore } from './object-store.ts';

export class ReadOnlyStore implements ObjectStore {
  readonly location: string;
  readonly #inner: ObjectStore;

  constructor(inner: ObjectStore) {
    this.location = inner.location;
    this.#inner = inner;
  }

  async createIfAbsent(name: string): Promise<never> {
    throw this.#refusal(`create ${name}`);
  }

  async openWriter(name: string): Promise<never> {
    throw this.#refusal(`write ${name}`);
  }

  async delete(name: string): Promise<never> {
    throw this.#refusal(`delete ${name}`);
  }

  async discardUnfinished(prefix: string): Promise<never> {
    throw this.#refusal(`discard what is unfinished under '${prefix}'`);
  }

  async readRange(name: string, range: ByteRange): Promise<Buffer> {
    return this.#inner.readRange(name, range);
  }

  async read(name: string, options: { readonly maxBytes: number }): Promise<Buffer> {
    return this.#inner.read(name, options);
  }

  async size(name: string): Promise<number | undefined> {
    return this.#inner.size(name);
  }

  list(prefix: string): AsyncIterable<ListedObject> {
    return this.#inner.list(prefix);
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  #refusal(doing: string): HoldfastError {
    return new HoldfastError(
      'StoreReadOnly',
      `cannot ${doing}: ${this.location} was opened for reading only`,
    );
  }
}
