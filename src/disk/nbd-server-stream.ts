/** A client's socket as the server uses it: exact reads with bounded buffering, and writes. */
import type { Socket } from 'node:net';
import { HoldfastError } from '#base';
import { ByteIntake } from './byte-intake.ts';

const MAX_WAITING_BYTES = 64 * 1024;

export class ServerStream {
  readonly #socket: Socket;
  readonly #intake = new ByteIntake();

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      this.#intake.push(chunk);
      if (this.#intake.waitingBytes > MAX_WAITING_BYTES) socket.pause();
    });
    socket.on('error', (cause) => this.#intake.fail(gone(cause)));
    socket.on('close', () => this.#intake.fail(gone()));
  }

  /** The next `lengthBytes`; rejects with `DiskUnavailable` once the client is gone. */
  async read(lengthBytes: number): Promise<Buffer> {
    const bytes = this.#intake.read(lengthBytes);
    this.#resume();
    return await bytes;
  }

  /** Drops the next `lengthBytes` without holding them. */
  async discard(lengthBytes: number): Promise<void> {
    for (let left = lengthBytes; left > 0; left -= MAX_WAITING_BYTES) {
      await this.read(Math.min(left, MAX_WAITING_BYTES));
    }
  }

  write(bytes: Uint8Array): void {
    if (!this.#socket.destroyed) this.#socket.write(bytes);
  }

  /**
   * Sends buffers as one frame, without copying them. Resolves when the kernel has them or the client
   * is gone: only then may they be reused.
   */
  send(buffers: readonly Uint8Array[]): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed) {
        resolve();
        return;
      }
      this.#socket.cork();
      for (const buffer of buffers.slice(0, -1)) this.#socket.write(buffer);
      this.#socket.write(buffers.at(-1)!, () => resolve());
      this.#socket.uncork();
    });
  }

  /** Sends what is queued, then ends. */
  end(): void {
    this.#socket.end(() => this.#socket.destroy());
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #resume(): void {
    if (this.#intake.waitingBytes <= MAX_WAITING_BYTES) this.#socket.resume();
  }
}

function gone(cause?: Error): HoldfastError {
  return new HoldfastError('DiskUnavailable', 'NBD: the client is gone', { cause });
}
