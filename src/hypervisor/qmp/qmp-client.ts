/**
 * A client of QEMU's machine protocol (QMP, docs/interop/qmp-spec.txt) on a unix socket: greeting, capabilities,
 * commands with ids, events.
 *
 *     connect ─► greeting ─► qmp_capabilities ─► commands, pipelined ─► closed (once, for good)
 *
 * QEMU runs commands one after the other, in the order sent. A socket serves one client at a time: while
 * another one is connected, the greeting does not come. A command without an answer in time ends the client:
 * whether it ran is not known then.
 */
import { createConnection, type Socket } from 'node:net';
import { HoldfastError, type Clock } from '#base';
import { unreachable } from './qmp-unreachable.ts';
import type { QmpArguments, QmpCommand, QmpReturn } from './qmp-commands.ts';

export type QmpEvent = { readonly event: string; readonly data: Readonly<Record<string, unknown>> };

export type QmpOptions = {
  /** Of the unix socket. */
  readonly path: string;
  readonly clock: Clock;
  /** How long QEMU may take for the greeting and for each command. */
  readonly timeoutMs?: number;
};

type Message = {
  readonly id?: number;
  readonly QMP?: unknown;
  readonly event?: string;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
};

type Waiting = {
  readonly command: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: AbortController;
};

const DEFAULT_TIMEOUT_MS = 60_000;
/** QEMU greets at once; while it serves another client, never. */
const GREETING_TIMEOUT_MS = 10_000;
const GREETING = 0;

export class QmpClient {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  readonly #onClosed: (reason: HoldfastError) => void;
  /** Resolves, once, to the reason: QEMU ended, it stopped answering, or `close` was called. */
  readonly closed: Promise<HoldfastError>;
  #end: HoldfastError | undefined;
  #isGone = false;
  #lastId = GREETING;
  #partialLine = '';

  private constructor({ path, clock, timeoutMs = DEFAULT_TIMEOUT_MS }: QmpOptions, socket: Socket) {
    this.#path = path;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#socket = socket;
    const { promise, resolve } = Promise.withResolvers<HoldfastError>();
    this.closed = promise;
    this.#onClosed = resolve;
    socket.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    socket.on('error', (cause) => this.#lose(this.#unavailable(cause.message, cause)));
    socket.on('close', () => this.#lose(this.#unavailable('it closed the connection')));
  }

  /** @throws {HoldfastError} `HypervisorUnavailable`: no socket, no QEMU behind it, or it serves another client. */
  static async connect(options: QmpOptions): Promise<QmpClient> {
    const client = new QmpClient(options, createConnection({ path: options.path }));
    try {
      await client.#await(GREETING, 'a greeting');
    } catch (error) {
      await client.close();
      const { cause } = error as HoldfastError;
      const waitedMs = client.#limitOf(GREETING);
      throw unreachable({ path: options.path, cause, isGone: client.isGone, waitedMs });
    }
    try {
      await client.execute('qmp_capabilities');
      return client;
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  /** Of the unix socket. */
  get path(): string {
    return this.#path;
  }

  get isOpen(): boolean {
    return this.#end === undefined;
  }

  /** QEMU closed the connection: it has ended. False after a timeout, when it may still be there. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /**
   * Runs one command; several may be under way, and run in the order of the calls.
   *
   * @throws {HoldfastError} `HypervisorFailed` with QEMU's `class` and `text` in details;
   *   `HypervisorUnavailable` if no answer comes (it may have run, or may still).
   */
  async execute<Command extends QmpCommand>(
    command: Command,
    ...[args]: QmpArguments<Command>
  ): Promise<QmpReturn<Command>> {
    if (this.#end !== undefined) throw this.#end;
    this.#lastId += 1;
    const id = this.#lastId;
    const answer = this.#await(id, command);
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    return (await answer) as QmpReturn<Command>;
  }

  /** Tells of every event from now on; the returned function ends that. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Idempotent; commands under way are rejected. */
  async close(): Promise<void> {
    this.#finish(this.#unavailable('we closed the connection'));
    if (!this.#socket.closed) await new Promise((resolve) => this.#socket.once('close', resolve));
  }

  #await(id: number, command: string): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const timer = new AbortController();
    this.#waiting.set(id, { command, resolve, reject, timer });
    if (this.#end !== undefined) this.#failWaiting(this.#end);
    const timeoutMs = this.#limitOf(id);
    void this.#clock.sleep(timeoutMs, timer.signal).then(
      () => this.#finish(this.#unavailable(`no answer within ${timeoutMs} ms: ${command}`)),
      () => {}, // Answered, or the client ended: the rejection is our own abort.
    );
    return promise;
  }

  #limitOf(id: number): number {
    return id === GREETING ? Math.min(GREETING_TIMEOUT_MS, this.#timeoutMs) : this.#timeoutMs;
  }

  #take(text: string): void {
    const lines = (this.#partialLine + text).split('\n');
    this.#partialLine = lines.pop() ?? '';
    for (const line of lines) {
      if (line.trim() === '' || this.#end !== undefined) continue;
      let message: Message;
      try {
        message = JSON.parse(line) as Message;
      } catch (cause) {
        this.#finish(this.#unavailable(`this is not QMP: ${line.slice(0, 80)}`, cause));
        return;
      }
      this.#receive(message);
    }
  }

  #receive({ id = GREETING, event, data = {}, error, ...message }: Message): void {
    if (event !== undefined) {
      for (const listener of this.#listeners) listener({ event, data });
      return;
    }
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    waiting.timer.abort();
    if (error === undefined) waiting.resolve(message.return);
    else waiting.reject(refused(waiting.command, error));
  }

  #lose(reason: HoldfastError): void {
    if (this.#end === undefined) this.#isGone = true;
    this.#finish(reason);
  }

  #finish(reason: HoldfastError): void {
    if (this.#end !== undefined) return;
    this.#end = reason;
    this.#socket.destroy();
    this.#failWaiting(reason);
    this.#onClosed(reason);
  }

  #failWaiting(reason: HoldfastError): void {
    for (const { timer, reject } of this.#waiting.values()) {
      timer.abort();
      reject(reason);
    }
    this.#waiting.clear();
  }

  #unavailable(why: string, cause?: unknown): HoldfastError {
    return new HoldfastError('HypervisorUnavailable', `QEMU at "${this.#path}": ${why}`, {
      cause,
      details: { path: this.#path },
    });
  }
}

function refused(command: string, error: { class: string; desc: string }): HoldfastError {
  return new HoldfastError('HypervisorFailed', `QEMU refused ${command}: ${error.desc}`, {
    details: { command, class: error.class, text: error.desc },
  });
}
