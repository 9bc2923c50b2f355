/**
 * The NBD client: pipelined requests over one connection that is made again when it is lost.
 *
 *     submit ─► queue ─pump─► connection (at most `depth` in flight) ─► settled
 *                 ▲               │ lost
 *                 └── reconnect ◄─┘  every request is idempotent, so the unanswered are sent again
 *
 * A request under which the connection was lost `MAX_LOSSES` times is given up, lest one that kills
 * the server does so for ever. Reconnecting checks that the export is still the same size.
 */
import { HoldfastError, throwIfCancelled, type Clock } from '#base';
import type { Extent } from './extent.ts';
import { formatNbdUri, type NbdAddress } from './nbd-address.ts';
import { NbdConnection } from './nbd-connection.ts';
import { COMMAND, TRANSMISSION, type BlockStatus, type NbdExport } from './nbd-protocol.ts';
import type { NbdAnswer, NbdRequest } from './nbd-replies.ts';

export type NbdClientOptions = {
  readonly address: NbdAddress;
  readonly clock: Clock;
  /** Metadata contexts to ask for; the server may not have them all. */
  readonly contexts?: readonly string[];
  /** Aborting fails everything with `Cancelled`, now and later. */
  readonly signal?: AbortSignal;
  /** No read or write crosses a multiple of this many bytes; absent: of 1 MiB. */
  readonly pieceBytes?: number;
  /** Requests in flight at most. */
  readonly depth?: number;
  /** Attempts to reconnect, with pauses of 0.1, 0.2, 0.4 … 5 s between them. */
  readonly reconnectAttempts?: number;
  readonly stallTimeoutMs?: number;
};

const DEFAULT_DEPTH = 16;
const DEFAULT_RECONNECT_ATTEMPTS = 8;
const DEFAULT_STALL_TIMEOUT_MS = 120_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;
const MAX_LOSSES = 4;
/** One read or write on the wire. Measured, MiB/s from qemu-nbd: 256 KiB 4670, 1 MiB 5310, 4 MiB 2840. */
const PIECE_BYTES = 1024 * 1024;
/** Status, trim and zero requests carry no payload; servers take just under 4 GiB. */
const LONG_PIECE_BYTES = 2 ** 31;

export class NbdClient {
  readonly #options: NbdClientOptions;
  readonly #queue: NbdRequest[] = [];
  readonly #onAbort: () => void;
  readonly exported: NbdExport;
  #connection: NbdConnection | undefined;
  #reconnecting = false;
  /** Set for good by close, abort and protocol violations. */
  #end: Error | undefined;

  private constructor(options: NbdClientOptions, connection: NbdConnection) {
    this.#options = options;
    this.exported = connection.exported;
    this.#onAbort = () => this.#finish(cancelled(options.signal));
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#adopt(connection);
  }

  /**
   * Connects once, without retrying.
   *
   * @throws {HoldfastError} `DiskUnavailable`, `DiskNotFound`, `ProtocolViolation`, `Cancelled`.
   */
  static async connect(options: NbdClientOptions): Promise<NbdClient> {
    throwIfCancelled(options.signal);
    const connection = await NbdConnection.open(connectionOptions(options));
    if (options.signal?.aborted === true) await connection.close();
    throwIfCancelled(options.signal);
    return new NbdClient(options, connection);
  }

  get sizeBytes(): number {
    return this.exported.sizeBytes;
  }

  get readOnly(): boolean {
    return this.#has(TRANSMISSION.readOnly);
  }

  get description(): string {
    return formatNbdUri(this.#options.address);
  }

  /** Fills `target` from `offset`; both aligned or not. As `DiskSource.read`. */
  async read(offset: number, target: Uint8Array): Promise<void> {
    this.#checkRange({ offset, length: target.length });
    const block = this.exported.minBlockBytes;
    if (offset % block === 0 && target.length % block === 0) {
      const view = Buffer.from(target.buffer, target.byteOffset, target.byteLength);
      await this.#inPieces({ offset, length: target.length }, this.#pieceBytes, (piece) => {
        const start = piece.offset - offset;
        const part = view.subarray(start, start + piece.length);
        return this.#submit({ command: COMMAND.read, ...piece, target: part });
      });
      return;
    }
    const start = offset - (offset % block);
    const end = Math.ceil((offset + target.length) / block) * block;
    const aligned = Buffer.allocUnsafe(end - start);
    await this.read(start, aligned);
    target.set(aligned.subarray(offset - start, offset - start + target.length));
  }

  /** Writes `bytes` at `offset`, both multiples of the server's smallest block. */
  async write(offset: number, bytes: Uint8Array): Promise<void> {
    this.#checkRange({ offset, length: bytes.length }, this.exported.minBlockBytes);
    await this.#inPieces({ offset, length: bytes.length }, this.#pieceBytes, (piece) => {
      const start = piece.offset - offset;
      const payload = bytes.subarray(start, start + piece.length);
      return this.#submit({ command: COMMAND.write, ...piece, payload });
    });
  }

  /** Makes the range zero; the server may drop its blocks. Writes zeros where it cannot. */
  async writeZeroes(offset: number, length: number): Promise<void> {
    this.#checkRange({ offset, length }, this.exported.minBlockBytes);
    if (this.#has(TRANSMISSION.sendWriteZeroes)) {
      await this.#inPieces({ offset, length }, LONG_PIECE_BYTES, (piece) =>
        this.#submit({ command: COMMAND.writeZeroes, ...piece }),
      );
      return;
    }
    const zeros = new Uint8Array(Math.min(length, this.#pieceBytes));
    for (let at = 0; at < length; at += zeros.length) {
      await this.write(offset + at, zeros.subarray(0, Math.min(zeros.length, length - at)));
    }
  }

  /** Says that the range is not needed; what it reads as afterwards is undefined. */
  async trim(offset: number, length: number): Promise<void> {
    this.#checkRange({ offset, length }, this.exported.minBlockBytes);
    if (!this.#has(TRANSMISSION.sendTrim)) return;
    await this.#inPieces({ offset, length }, LONG_PIECE_BYTES, (piece) =>
      this.#submit({ command: COMMAND.trim, ...piece }),
    );
  }

  /** Durable on return: every write whose promise was resolved before the call. */
  async flush(): Promise<void> {
    if (!this.#has(TRANSMISSION.sendFlush)) return;
    await this.#submit({ command: COMMAND.flush, offset: 0, length: 0 });
  }

  /** Whether the server agreed to a metadata context. */
  hasContext(name: string): boolean {
    return Array.from(this.exported.contexts.values()).includes(name);
  }

  /**
   * The runs of one metadata context over `range`, in ascending order and without gaps; adjacent runs
   * may have equal flags.
   */
  async *statuses(context: string, range: Extent): AsyncGenerator<BlockStatus> {
    this.#checkRange(range);
    if (!this.hasContext(context)) {
      throw new HoldfastError('ArgumentInvalid', `${this.description} does not offer ${context}`);
    }
    const end = range.offset + range.length;
    let offset = range.offset;
    while (offset < end) {
      const length = Math.min(end - offset, LONG_PIECE_BYTES);
      const answer = await this.#submit({ command: COMMAND.blockStatus, offset, length });
      const runs = answer.get(context) ?? [];
      if (runs.length === 0) {
        throw new HoldfastError(
          'DiskReadFailed',
          `${this.description} gives no ${context} at offset ${offset}`,
          { details: { offset, length } },
        );
      }
      yield* runs;
      offset = runs.at(-1)!.offset + runs.at(-1)!.length;
    }
  }

  /** Ends in order; requests under way fail with `DiskUnavailable`. Idempotent. */
  async close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#finish(new HoldfastError('DiskUnavailable', `${this.description} was closed`));
    await connection?.close();
  }

  get #pieceBytes(): number {
    const { pieceBytes = PIECE_BYTES } = this.#options;
    return Math.min(pieceBytes, this.exported.maxRequestBytes);
  }

  #has(flag: number): boolean {
    return (this.exported.flags & flag) !== 0;
  }

  #checkRange({ offset, length }: Extent, blockBytes = 1): void {
    const inside = offset >= 0 && length >= 0 && offset + length <= this.sizeBytes;
    if (inside && offset % blockBytes === 0 && length % blockBytes === 0) return;
    throw new HoldfastError(
      'DiskRangeInvalid',
      `${length} bytes at ${offset} are not on ${this.description} (${this.sizeBytes} bytes)`,
      { details: { offset, length, sizeBytes: this.sizeBytes } },
    );
  }

  async #inPieces(
    { offset, length }: Extent,
    pieceBytes: number,
    submit: (piece: Extent) => Promise<unknown>,
  ): Promise<void> {
    const end = offset + length;
    const pieces: Promise<unknown>[] = [];
    // Each up to the next multiple: no piece crosses one.
    for (let at = offset; at < end;) {
      const next = Math.min(end, at - (at % pieceBytes) + pieceBytes);
      pieces.push(submit({ offset: at, length: next - at }));
      at = next;
    }
    // All must have settled before the caller may touch its buffer again.
    const failed = (await Promise.allSettled(pieces)).find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  }

  #submit(request: Omit<NbdRequest, 'resolve' | 'reject' | 'lossCount'>): Promise<NbdAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) {
        reject(this.#end);
        return;
      }
      const settled = (): void => this.#pump();
      this.#queue.push({
        ...request,
        lossCount: 0,
        resolve: (answer) => {
          resolve(answer);
          settled();
        },
        reject: (error) => {
          reject(error);
          settled();
        },
      });
      this.#pump();
      if (this.#connection === undefined) void this.#reconnect();
    });
  }

  #pump(): void {
    const depth = this.#options.depth ?? DEFAULT_DEPTH;
    while (this.#connection !== undefined && this.#connection.inFlightCount < depth) {
      const request = this.#queue.shift();
      if (request === undefined) return;
      this.#connection.send(request);
    }
  }

  #adopt(connection: NbdConnection): void {
    this.#connection = connection;
    connection.onLost((unanswered, error) => {
      this.#connection = undefined;
      this.#queue.unshift(...unanswered);
      if (error instanceof HoldfastError && error.code !== 'DiskUnavailable') {
        this.#finish(error);
        return;
      }
      for (const request of unanswered) request.lossCount += 1;
      this.#failQueue(error, (request) => request.lossCount >= MAX_LOSSES);
      if (this.#queue.length > 0) void this.#reconnect();
    });
    this.#pump();
  }

  /** Never rejects: what goes wrong fails the requests that wait. */
  async #reconnect(): Promise<void> {
    if (this.#reconnecting || this.#end !== undefined) return;
    this.#reconnecting = true;
    let error: unknown;
    try {
      error = await this.#tryToReconnect();
    } finally {
      this.#reconnecting = false;
    }
    if (error === undefined || this.#end !== undefined) return;
    if (error instanceof HoldfastError && error.kind === 'conflict') this.#finish(error);
    this.#failQueue(
      new HoldfastError('DiskUnavailable', `${this.description} does not come back`, {
        cause: error,
      }),
      () => true,
    );
  }

  /** Returns the last error if no attempt succeeds. */
  async #tryToReconnect(): Promise<unknown> {
    const { clock, signal, reconnectAttempts = DEFAULT_RECONNECT_ATTEMPTS } = this.#options;
    let error: unknown = new HoldfastError('DiskUnavailable', 'reconnecting is switched off');
    for (let attempt = 0; attempt < reconnectAttempts && this.#end === undefined; attempt += 1) {
      try {
        await clock.sleep(Math.min(FIRST_PAUSE_MS * 2 ** attempt, LONGEST_PAUSE_MS), signal);
        const connection = await NbdConnection.open(connectionOptions(this.#options));
        if (this.#end !== undefined) {
          await connection.close();
          return undefined;
        }
        if (connection.exported.sizeBytes !== this.sizeBytes) {
          await connection.close();
          return new HoldfastError(
            'DiskChanged',
            `${this.description} had ${this.sizeBytes} bytes and came back with ${connection.exported.sizeBytes}`,
          );
        }
        this.#adopt(connection);
        return undefined;
      } catch (failure) {
        error = failure;
      }
    }
    return error;
  }

  /** Ends the client for good. */
  #finish(error: Error): void {
    this.#end ??= error;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#connection?.abandon(this.#end);
    this.#failQueue(this.#end, () => true);
  }

  #failQueue(error: Error, hopeless: (request: NbdRequest) => boolean): void {
    const failed = this.#queue.filter(hopeless);
    const kept = this.#queue.filter((request) => !hopeless(request));
    this.#queue.splice(0, this.#queue.length, ...kept);
    for (const request of failed) request.reject(error);
  }
}

function connectionOptions(options: NbdClientOptions): Parameters<typeof NbdConnection.open>[0] {
  return {
    address: options.address,
    contexts: options.contexts ?? [],
    clock: options.clock,
    stallTimeoutMs: options.stallTimeoutMs ?? DEFAULT_STALL_TIMEOUT_MS,
  };
}

function cancelled(signal: AbortSignal | undefined): HoldfastError {
  return new HoldfastError('Cancelled', 'cancelled', { cause: signal?.reason });
}
