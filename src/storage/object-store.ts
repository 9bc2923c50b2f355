/**
 * The contract of every store of objects. The repository talks to nothing else.
 *
 * An object is an immutable sequence of bytes under a name (object-name.ts). Four promises hold for
 * every implementation, and `object-store.contract.ts` tries to break them on each:
 *
 * 1. Whole or absent: whoever looks finds no object or all of its bytes, also after a crash.
 * 2. Durable on return: what `createIfAbsent` or `commit` reported survives a loss of power. `'exists'`
 *    and `ObjectExists` promise the same of the object that is there, so a log never gets a hole.
 * 3. Read after write: once a call has returned, `size`, `read` and `readRange` of every process see
 *    its effect; `list` may be partial or stale, so nothing may be concluded from absence in it.
 * 4. Never replaced: a name that exists keeps its bytes until `delete`.
 *
 * Calls may overlap freely and have no order among each other but that of the caller's `await`s; the
 * calls of one writer come one after another. Every method rejects with `ArgumentInvalid` for a
 * malformed name, `StoreFailed` (retryable) where the store could not be asked, and, if it writes,
 * `StoreFull` or `StoreReadOnly`. A mutation that rejected may or may not have happened, but never
 * half.
 */

export type ByteRange = { readonly offsetBytes: number; readonly lengthBytes: number };

export type ListedObject = { readonly name: string; readonly sizeBytes: number };

export type CreateOutcome = 'created' | 'exists';

export interface ObjectStore {
  /** For messages, and, where `openStore` made the store, the location that opens it again. */
  readonly location: string;

  /**
   * Makes an object unless its name is taken. Of any number of concurrent callers, in any number of
   * processes, exactly one gets `'created'`; for the others nothing changed.
   */
  createIfAbsent(name: string, bytes: Uint8Array): Promise<CreateOutcome>;

  /** Begins a streaming put of an object too large to hold; the caller ends it by commit or abort. */
  openWriter(name: string): Promise<ObjectWriter>;

  /**
   * @returns exactly `lengthBytes` bytes from absolute `offsetBytes`, in memory of their own.
   * @throws {HoldfastError} `ObjectNotFound`; `ObjectDamaged` if the object ends before the range
   *   does, which is known before anything is allocated.
   */
  readRange(name: string, range: ByteRange): Promise<Buffer>;

  /**
   * @returns the whole object.
   * @throws {HoldfastError} `ObjectNotFound`; `ObjectDamaged` if it is larger than `maxBytes`, which
   *   is known before anything is allocated.
   */
  read(name: string, options: { readonly maxBytes: number }): Promise<Buffer>;

  /** Size in bytes; undefined: a direct, strongly consistent look found no such object. */
  size(name: string): Promise<number | undefined>;

  /** Idempotent and durable on return: neither absence nor a repetition is an error. */
  delete(name: string): Promise<void>;

  /**
   * Objects whose name begins with `prefix` (any prefix of a name, '' for all), in no order, each at
   * most once. May miss objects and show deleted ones.
   */
  list(prefix: string): AsyncIterable<ListedObject>;

  /**
   * Deletes what unfinished puts of names beginning with `prefix` left behind (temporary files,
   * multipart uploads), never a finished object. A put still running under the prefix fails at its
   * commit with `StoreFailed`: the caller knows that its writers are dead. A `createIfAbsent` that is
   * running is not disturbed.
   */
  discardUnfinished(prefix: string): Promise<void>;

  /** Releases local resources. No call may follow; writers still open are lost. */
  close(): Promise<void>;
}

/**
 * One streaming put:
 *
 *     openWriter ──► open ──commit──► finished (visible, durable, whole)
 *                      └──── abort, a failed call, death ──► nothing visible, remains discardable
 */
export interface ObjectWriter {
  /** Bytes accepted so far. */
  readonly writtenBytes: number;

  /**
   * Appends. On return the caller may reuse `bytes`; the write may still be under way, and then its
   * failure rejects a later call. After a rejection only `abort` may follow.
   */
  write(bytes: Uint8Array): Promise<void>;

  /**
   * Makes the object visible and durable, whole.
   *
   * @throws {HoldfastError} `ObjectExists` if a finished object of that name is there: it is unchanged
   *   and these bytes are dropped.
   */
  commit(): Promise<void>;

  /** Drops everything written; after `commit` or another `abort` it does nothing. */
  abort(): Promise<void>;
}
