/**
 * Streaming put into a local folder: one buffer fills while the other is written, so that the caller
 * rarely waits for the file system and small frames become few large writes.
 */
import assert from 'node:assert/strict';
import { HoldfastError } from '#base';
import type { FolderTree } from './folder-tree.ts';
import { objectExists } from './object-errors.ts';
import type { ObjectWriter } from './object-store.ts';
import {
  beginPut,
  publishPut,
  removePut,
  syncPutData,
  writeFully,
  type UnfinishedPut,
} from './unfinished-put.ts';

const BUFFER_BYTES = 1024 * 1024;

/** How much is written before the disk is told to start, so that commit finds little left to do. */
const WRITEBACK_BYTES = 16 * 1024 * 1024;

export class LocalWriter implements ObjectWriter {
  readonly #tree: FolderTree;
  readonly #put: UnfinishedPut;
  #filling: Buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  #spare: Buffer | undefined;
  #filledBytes = 0;
  #flushedBytes = 0;
  #inFlight: Promise<void> = Promise.resolve();
  #writeback: Promise<void> | undefined;
  #writebackFromBytes = 0;
  #failure: { readonly error: unknown } | undefined;
  #state: 'open' | 'busy' | 'ended' = 'open';

  private constructor(tree: FolderTree, put: UnfinishedPut) {
    this.#tree = tree;
    this.#put = put;
  }

  static async open(tree: FolderTree, name: string): Promise<LocalWriter> {
    return new LocalWriter(tree, await beginPut(tree, name));
  }

  get writtenBytes(): number {
    return this.#flushedBytes + this.#filledBytes;
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#alone(async () => {
      this.#throwFailure();
      let rest = bytes;
      while (rest.length > 0) {
        const part = rest.subarray(0, BUFFER_BYTES - this.#filledBytes);
        this.#filling.set(part, this.#filledBytes);
        this.#filledBytes += part.length;
        rest = rest.subarray(part.length);
        if (this.#filledBytes === BUFFER_BYTES) await this.#flush();
      }
    });
  }

  commit(): Promise<void> {
    return this.#alone(async () => {
      try {
        await this.#flush();
        await this.#inFlight;
        await this.#writeback;
        this.#throwFailure();
        await this.#publish();
      } catch (error) {
        await removePut(this.#put);
        throw error;
      } finally {
        this.#end();
      }
    });
  }

  async abort(): Promise<void> {
    if (this.#state === 'ended') return;
    this.#end();
    await this.#inFlight;
    await this.#writeback;
    await removePut(this.#put);
  }

  async #publish(): Promise<void> {
    const outcome = await publishPut(this.#tree, this.#put);
    if (outcome === 'created') return;
    const { name } = this.#put;
    if (outcome === 'exists') throw objectExists({ name, location: this.#tree.root });
    throw new HoldfastError(
      'StoreFailed',
      `the unfinished put of ${name} in ${this.#tree.root} was discarded by somebody else`,
      { details: { object: name } },
    );
  }

  /** Starts writing the filled buffer, once the one before is written. */
  async #flush(): Promise<void> {
    await this.#inFlight;
    this.#throwFailure();
    if (this.#filledBytes === 0) return;
    const full = this.#filling;
    const position = this.#flushedBytes;
    const bytes = full.subarray(0, this.#filledBytes);
    this.#filling = this.#spare ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
    this.#spare = full;
    this.#flushedBytes += bytes.length;
    this.#filledBytes = 0;
    this.#startWriteback(position);
    this.#inFlight = writeFully(this.#put, bytes, position).catch(this.#fail);
  }

  /** The system reports a lost write to one fsync only: a failure here must not be forgotten. */
  #startWriteback(flushedBytes: number): void {
    if (this.#writeback !== undefined) return;
    if (flushedBytes - this.#writebackFromBytes < WRITEBACK_BYTES) return;
    this.#writebackFromBytes = flushedBytes;
    this.#writeback = syncPutData(this.#put)
      .catch(this.#fail)
      .finally(() => {
        this.#writeback = undefined;
      });
  }

  readonly #fail = (error: unknown): void => {
    this.#failure ??= { error };
  };

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error as Error;
  }

  #end(): void {
    this.#state = 'ended';
    this.#filling = Buffer.alloc(0);
    this.#spare = undefined;
  }

  /** Two overlapping calls would mix their bytes: a bug of the caller, never let through. */
  async #alone(act: () => Promise<void>): Promise<void> {
    assert(this.#state === 'open', `a ${this.#state} writer of ${this.#put.name} was called`);
    this.#state = 'busy';
    try {
      await act();
    } finally {
      if (this.#state === 'busy') this.#state = 'open';
    }
  }
}
