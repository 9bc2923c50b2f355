/**
 * One connection to an NBD server in its transmission phase. It never reconnects and never retries:
 * when it ends, it hands back what was not answered.
 *
 *     open ──handshake──► up ──close()──► DISC sent, ended
 *                          └──socket ends, stalls, or violates──► lost(unanswered, error)
 */
import { connect, type Socket } from 'node:net';
import { HoldfastError, type Clock } from '#base';
import { ByteIntake } from './byte-intake.ts';
import type { NbdAddress } from './nbd-address.ts';
import { negotiate } from './nbd-handshake.ts';
import {
  COMMAND,
  REQUEST_BYTES,
  REQUEST_MAGIC,
  violation,
  writeOffset,
  type NbdExport,
} from './nbd-protocol.ts';
import { ReplyReader, type InFlight, type NbdAnswer, type NbdRequest } from './nbd-replies.ts';

/** Measured: larger buffers gain nothing, 64 KiB costs a third of the throughput. */
const RECEIVE_BYTES = 256 * 1024;
/** More than this unasked for cannot be answers of a handshake. */
const MAX_WAITING_BYTES = 1024 * 1024;

export type ConnectionOptions = {
  readonly address: NbdAddress;
  readonly contexts: readonly string[];
  readonly clock: Clock;
  /** A server that owes an answer and sends nothing for this long is given up. */
  readonly stallTimeoutMs: number;
};

export type ConnectionLost = (unanswered: readonly NbdRequest[], error: Error) => void;

export class NbdConnection {
  readonly #socket: Socket;
  readonly #intake = new ByteIntake();
  readonly #inFlight = new Map<bigint, InFlight>();
  readonly #ended = new AbortController();
  readonly #stallTimeoutMs: number;
  readonly #clock: Clock;
  #lastActivityMs: number;
  #owesAnswer = true;
  #nextCookie = 1n;
  #failure: Error | undefined;
  #onLost: ConnectionLost | undefined;
  #exported: NbdExport | undefined;

  private constructor(options: ConnectionOptions) {
    this.#clock = options.clock;
    this.#stallTimeoutMs = options.stallTimeoutMs;
    this.#lastActivityMs = options.clock.monotonicMs();
    this.#socket = connect({
      ...options.address.endpoint,
      onread: { buffer: Buffer.allocUnsafe(RECEIVE_BYTES), callback: this.#receive },
    });
    this.#socket.setNoDelay(true);
    this.#socket.on('error', (cause) => {
      this.#failure ??= new HoldfastError(
        'DiskUnavailable',
        `NBD: the connection failed: ${cause.message}`,
        { cause },
      );
    });
    this.#socket.on('end', () => this.#socket.destroy());
    this.#socket.on('close', this.#onClose);
    void this.#watch();
  }

  /**
   * Connects and negotiates.
   *
   * @throws {HoldfastError} `DiskUnavailable`, and what `negotiate` throws.
   */
  static async open(options: ConnectionOptions): Promise<NbdConnection> {
    const connection = new NbdConnection(options);
    try {
      connection.#exported = await negotiate(
        {
          read: (lengthBytes) => connection.#intake.read(lengthBytes),
          write: (bytes) => void connection.#socket.write(bytes),
        },
        { exportName: options.address.exportName, contexts: options.contexts },
      );
    } catch (error) {
      connection.#ended.abort();
      connection.#socket.destroy();
      throw error;
    }
    connection.#start();
    return connection;
  }

  get exported(): NbdExport {
    return this.#exported!;
  }

  get inFlightCount(): number {
    return this.#inFlight.size;
  }

  /** Called once, when the connection ends by itself. */
  onLost(callback: ConnectionLost): void {
    this.#onLost = callback;
    if (this.#ended.signal.aborted) callback([], this.#failure ?? closedByPeer());
  }

  send(request: NbdRequest): void {
    const cookie = this.#nextCookie;
    this.#nextCookie += 1n;
    if (this.#inFlight.size === 0) this.#lastActivityMs = this.#clock.monotonicMs();
    this.#inFlight.set(cookie, { request, covered: [], statuses: new Map() });

    const header = requestFrame(request, cookie);
    if (request.payload === undefined) {
      this.#socket.write(header);
      return;
    }
    this.#socket.cork();
    this.#socket.write(header);
    this.#socket.write(request.payload);
    this.#socket.uncork();
  }

  /** Says goodbye and ends; what is in flight fails with `DiskUnavailable`. */
  async close(): Promise<void> {
    this.#onLost = undefined;
    if (this.#socket.destroyed) return;
    const closed = new Promise((resolve) => this.#socket.once('close', resolve));
    const goodbye = { command: COMMAND.disconnect, offset: 0, length: 0 };
    this.#failure ??= new HoldfastError('DiskUnavailable', 'NBD: the connection was closed');
    this.#socket.end(requestFrame(goodbye, 0n), () => this.#socket.destroy());
    await closed;
  }

  /** Ends at once; requests in flight are handed to `onLost` with `error`. */
  abandon(error: Error): void {
    this.#failure ??= error;
    this.#socket.destroy();
  }

  #start(): void {
    this.#owesAnswer = false;
    const replies = new ReplyReader(this.#intake, {
      structured: this.exported.structuredReplies,
      find: (cookie) => this.#inFlight.get(cookie),
      settle: (cookie, { request, statuses, error }) => {
        this.#inFlight.delete(cookie);
        if (error === undefined) request.resolve(this.#byName(statuses));
        else request.reject(error);
      },
    });
    try {
      replies.next();
    } catch (error) {
      this.abandon(error as Error);
    }
  }

  readonly #receive = (lengthBytes: number, buffer: Uint8Array): boolean => {
    this.#lastActivityMs = this.#clock.monotonicMs();
    try {
      this.#intake.push(Buffer.from(buffer.buffer, buffer.byteOffset, lengthBytes));
      if (this.#intake.waitingBytes > MAX_WAITING_BYTES) throw violation('unasked bytes');
    } catch (error) {
      this.abandon(error as Error);
    }
    return true;
  };

  readonly #onClose = (): void => {
    const error = this.#failure ?? closedByPeer();
    this.#failure = error;
    this.#ended.abort();
    this.#intake.fail(error);
    const unanswered = Array.from(this.#inFlight.values(), ({ request }) => request);
    this.#inFlight.clear();
    if (this.#onLost !== undefined) this.#onLost(unanswered, error);
    else for (const request of unanswered) request.reject(error);
  };

  /** Context ids are the connection's own: a reconnected server may number them otherwise. */
  #byName(statuses: InFlight['statuses']): NbdAnswer {
    return new Map(
      Array.from(statuses, ([id, runs]) => [this.exported.contexts.get(id) ?? '', runs]),
    );
  }

  /** Gives the server up when it owes an answer and has been silent for too long. */
  async #watch(): Promise<void> {
    while (!this.#ended.signal.aborted) {
      try {
        await this.#clock.sleep(this.#stallTimeoutMs / 2, this.#ended.signal);
      } catch {
        return; // The connection ended: the only reason for which the sleep is cut short.
      }
      const silentMs = this.#clock.monotonicMs() - this.#lastActivityMs;
      const owes = this.#owesAnswer || this.#inFlight.size > 0;
      if (owes && silentMs >= this.#stallTimeoutMs) {
        this.abandon(
          new HoldfastError('DiskUnavailable', `NBD: no answer for ${Math.round(silentMs)} ms`),
        );
      }
    }
  }
}

function closedByPeer(): HoldfastError {
  return new HoldfastError('DiskUnavailable', 'NBD: the server closed the connection');
}

function requestFrame(
  request: Pick<NbdRequest, 'command' | 'offset' | 'length'>,
  cookie: bigint,
): Buffer {
  const frame = Buffer.allocUnsafe(REQUEST_BYTES);
  frame.writeUInt32BE(REQUEST_MAGIC, 0);
  frame.writeUInt16BE(0, 4);
  frame.writeUInt16BE(request.command, 6);
  frame.writeBigUInt64BE(cookie, 8);
  writeOffset(frame, request.offset, 16);
  frame.writeUInt32BE(request.length, 24);
  return frame;
}
