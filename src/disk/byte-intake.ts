/**
 * Cuts a byte stream into the pieces that its reader asks for, copying each straight into the
 * reader's own buffer. Used by both ends of NBD.
 *
 *     idle --fill/skip--> wanting --last byte arrives--> idle, then the callback runs
 *
 * Callbacks run synchronously and normally ask for the next piece. Bytes that nobody asked for yet
 * are copied aside; the owner bounds them (`waitingBytes`) by pausing its socket.
 */
import assert from 'node:assert/strict';

export class ByteIntake {
  /** Undefined while skipping. */
  #target: Buffer | undefined;
  #wantedBytes = 0;
  #filledBytes = 0;
  #onFull: (() => void) | undefined;
  #waiting: Buffer = Buffer.alloc(0);
  #consuming = false;
  #rejectRead: ((error: Error) => void) | undefined;
  #failure: Error | undefined;

  /** Bytes received and not yet asked for. */
  get waitingBytes(): number {
    return this.#waiting.length;
  }

  /** Fills all of `target` (not empty), then calls `onFull`. One request at a time. */
  fill(target: Uint8Array, onFull: () => void): void {
    const view = Buffer.from(target.buffer, target.byteOffset, target.byteLength);
    this.#want(view, view.length, onFull);
  }

  /** Drops the next `lengthBytes` (not zero), then calls `onFull`. */
  skip(lengthBytes: number, onFull: () => void): void {
    this.#want(undefined, lengthBytes, onFull);
  }

  /** The next `lengthBytes` as a fresh buffer; rejects with the error given to `fail`. */
  read(lengthBytes: number): Promise<Buffer> {
    if (lengthBytes === 0) return Promise.resolve(Buffer.alloc(0));
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      const target = Buffer.allocUnsafe(lengthBytes);
      this.#rejectRead = reject;
      this.fill(target, () => {
        this.#rejectRead = undefined;
        resolve(target);
      });
    });
  }

  /** Takes bytes from the socket; `chunk` may be reused by the caller afterwards. */
  push(chunk: Buffer): void {
    const used = this.#waiting.length === 0 ? this.#consume(chunk) : 0;
    if (used < chunk.length) this.#waiting = Buffer.concat([this.#waiting, chunk.subarray(used)]);
  }

  /** No more bytes will come: rejects the `read` under way and later ones. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#onFull = undefined;
    this.#rejectRead?.(error);
    this.#rejectRead = undefined;
  }

  #want(target: Buffer | undefined, wantedBytes: number, onFull: () => void): void {
    assert.ok(this.#onFull === undefined && wantedBytes > 0);
    this.#target = target;
    this.#wantedBytes = wantedBytes;
    this.#filledBytes = 0;
    this.#onFull = onFull;
    if (this.#consuming || this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = Buffer.alloc(0);
    this.#waiting = waiting.subarray(this.#consume(waiting));
  }

  /** Hands out bytes for as long as somebody asks; returns how many. */
  #consume(chunk: Buffer): number {
    let at = 0;
    this.#consuming = true;
    try {
      while (this.#onFull !== undefined && at < chunk.length) {
        const length = Math.min(this.#wantedBytes - this.#filledBytes, chunk.length - at);
        if (this.#target !== undefined) {
          chunk.copy(this.#target, this.#filledBytes, at, at + length);
        }
        at += length;
        this.#filledBytes += length;
        if (this.#filledBytes < this.#wantedBytes) break;
        const onFull = this.#onFull;
        this.#onFull = undefined;
        onFull();
      }
    } finally {
      this.#consuming = false;
    }
    return at;
  }
}
