/**
 * The guest agent on QEMU's unix socket: JSON commands by line, one at a time.
 *
 * ```
 *   closed ──connect──► unsynced ──sync──► ready ──command──► ready
 *     ▲                    ▲  │              │ no answer in time
 *     └── connection lost ─┼──┘ no sync      ▼
 *                          └──────────── unsynced
 * ```
 *
 * A client that left before its reply leaves that reply to the next client. So each connection, and each
 * command after one that was not answered, begins with 0xFF and `guest-sync-delimited` with a fresh id; all
 * before its 0xFF-marked answer is dropped (QEMU guest agent reference, guest-sync-delimited). QEMU serves
 * one client at a time: others wait unanswered in the socket's queue.
 */
import { connect, type Socket } from 'node:net';
import { HoldfastError, type Clock } from '#base';
import type { AgentChannel } from './agent-channel.ts';

/** A file read of the agent is at most 48 MiB, as base64. */
const MAX_REPLY_BYTES = 96 * 1024 * 1024;
const NEWLINE = 0x0a;
/** Resets the agent's parser, and marks its answer to a sync. */
const DELIMITER = 0xff;

export type SocketChannelOptions = {
  /** The unix socket of the agent's character device. */
  readonly path: string;
  readonly clock: Clock;
  /** As of node:crypto. */
  readonly random: (byteCount: number) => Buffer;
};

type Arguments = Readonly<Record<string, unknown>>;

/** Connects at the first command, and again after a lost connection. */
export function openSocketChannel(options: SocketChannelOptions): AgentChannel {
  return new SocketChannel(options);
}

class SocketChannel implements AgentChannel {
  readonly #options: SocketChannelOptions;
  #connection: Connection | undefined;
  #synced = false;
  #closed = false;
  /** Settles when the commands before have ended. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: SocketChannelOptions) {
    this.#options = options;
  }

  execute(
    command: string,
    options: { readonly arguments?: Arguments; readonly timeoutMs: number },
  ): Promise<unknown> {
    const run = async (): Promise<unknown> => {
      const limit = new AbortController();
      try {
        return await Promise.race([
          this.#run(command, options.arguments, limit.signal),
          this.#expiry(command, options.timeoutMs, limit.signal),
        ]);
      } finally {
        limit.abort();
      }
    };
    const result = this.#turn.then(run);
    this.#turn = Promise.allSettled([result]); // The next one waits, however this one ends.
    return result;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#drop();
  }

  async #run(command: string, args: Arguments | undefined, ended: AbortSignal): Promise<unknown> {
    const connection = await this.#connected();
    if (!this.#synced) {
      await this.#sync(connection);
      if (ended.aborted) return undefined; // Too late: the command must not run behind the caller's back.
      this.#synced = true;
    }
    connection.send(message(command, args));
    return answerOf(command, await connection.nextReply());
  }

  async #connected(): Promise<Connection> {
    if (this.#closed) throw unavailable(this.#options.path, 'the channel has been closed');
    if (this.#connection?.isUp !== true) {
      this.#synced = false;
      const connection = new Connection(this.#options.path);
      this.#connection = connection;
      await connection.opened;
    }
    return this.#connection!;
  }

  async #sync(connection: Connection): Promise<void> {
    const id = this.#options.random(6).readUIntBE(0, 6);
    connection.send(Buffer.concat([Buffer.of(DELIMITER), message('guest-sync-delimited', { id })]));
    for (;;) {
      const line = await connection.nextReply();
      const start = line.lastIndexOf(DELIMITER);
      if (start >= 0 && parse(line.subarray(start + 1))?.['return'] === id) return;
    }
  }

  /** Rejects when the time is over; what the late reply finds is the next command's sync. */
  async #expiry(command: string, timeoutMs: number, ended: AbortSignal): Promise<never> {
    try {
      await this.#options.clock.sleep(timeoutMs, ended);
    } catch (error) {
      if (!ended.aborted) throw error;
      return await new Promise<never>(() => undefined);
    }
    const wasSynced = this.#synced;
    this.#synced = false;
    // An agent that answers no sync: the place is left to other clients, and to a fresh connection.
    if (wasSynced) this.#connection?.forgetReader();
    else this.#drop();
    const { path } = this.#options;
    if (wasSynced) throw unavailable(path, `no answer to ${command} in ${timeoutMs} ms`);
    throw unavailable(
      path,
      `no answer in ${timeoutMs} ms: it does not run, it hangs, or another client holds its channel`,
    );
  }

  #drop(): void {
    this.#connection?.end(unavailable(this.#options.path, 'the channel has been closed'));
    this.#connection = undefined;
    this.#synced = false;
  }
}

/** One connection: lines in, lines out; it never reconnects. */
class Connection {
  readonly opened: Promise<void>;
  readonly #socket: Socket;
  #lines: Buffer[] = [];
  #pieces: Buffer[] = [];
  #pendingBytes = 0;
  #reader: { resolve: (line: Buffer) => void; reject: (error: Error) => void } | undefined;
  #failure: Error | undefined;

  constructor(path: string) {
    this.#socket = connect({ path });
    this.#socket.on('data', (bytes: Buffer) => this.#receive(bytes));
    this.#socket.on('error', (cause: NodeJS.ErrnoException) => {
      this.#failure ??= unavailable(path, connectReason(cause), cause);
    });
    this.#socket.on('end', () => this.#socket.destroy());
    this.opened = new Promise((resolve, reject) => {
      this.#socket.once('connect', resolve);
      this.#socket.once('close', () => {
        this.#failure ??= unavailable(path, 'the connection was closed');
        this.#reader?.reject(this.#failure);
        this.#reader = undefined;
        reject(this.#failure);
      });
    });
  }

  get isUp(): boolean {
    return this.#failure === undefined && !this.#socket.destroyed;
  }

  /** Forgets replies that nobody waits for: they answer something else. */
  send(bytes: Buffer): void {
    this.#lines = [];
    this.#socket.write(bytes);
  }

  /** One reader at a time. */
  nextReply(): Promise<Buffer> {
    const line = this.#lines.shift();
    if (line !== undefined) return Promise.resolve(line);
    if (!this.isUp) return Promise.reject(this.#failure!);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  /** Whoever waits gave up: the reply, when it comes, is for the next sync to drop. */
  forgetReader(): void {
    this.#reader = undefined;
  }

  end(error: Error): void {
    this.#failure ??= error;
    this.#socket.destroy();
  }

  #receive(bytes: Buffer): void {
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      this.#deliver(Buffer.concat([...this.#pieces, bytes.subarray(start, end)]));
      this.#pieces = [];
      this.#pendingBytes = 0;
      start = end + 1;
    }
    if (start === bytes.length) return;
    this.#pieces.push(bytes.subarray(start));
    this.#pendingBytes += bytes.length - start;
    if (this.#pendingBytes > MAX_REPLY_BYTES) {
      this.end(unavailable('agent', `a reply longer than ${MAX_REPLY_BYTES} bytes`));
    }
  }

  #deliver(line: Buffer): void {
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader === undefined) this.#lines.push(line);
    else reader.resolve(line);
  }
}

function message(command: string, args: Arguments | undefined): Buffer {
  const body = { execute: command, ...(args === undefined ? {} : { arguments: args }) };
  return Buffer.from(`${JSON.stringify(body)}\n`);
}

function parse(line: Buffer): Arguments | undefined {
  try {
    const value: unknown = JSON.parse(line.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Arguments) : undefined;
  } catch {
    return undefined; // Remains of another client's reply.
  }
}

function answerOf(command: string, line: Buffer): unknown {
  const reply = parse(line);
  if (reply !== undefined && 'return' in reply) return reply['return'];
  const error = reply?.['error'] as { class?: unknown; desc?: unknown } | undefined;
  const text = typeof error?.desc === 'string' ? error.desc : 'an answer that is no JSON';
  throw new HoldfastError('AgentFailed', `guest agent: ${command}: ${text}`, {
    details: {
      command,
      class: typeof error?.class === 'string' ? error.class : 'ProtocolViolation',
      text,
    },
  });
}

function connectReason(cause: NodeJS.ErrnoException): string {
  if (cause.code === 'EAGAIN') return 'other clients hold its channel';
  if (cause.code === 'ENOENT' || cause.code === 'ECONNREFUSED') return 'its socket is not served';
  return cause.message;
}

function unavailable(path: string, reason: string, cause?: unknown): HoldfastError {
  return new HoldfastError('AgentUnavailable', `guest agent: ${reason} (${path})`, {
    cause,
    details: { path, reason },
  });
}
