/**
 * Calls between two threads, both ways, over one message port: each side has a table of handlers, and
 * calls the other's by name. Messages of one side arrive in order, and a handler begins when its message
 * arrives, so what a handler does before its first `await` is ordered too.
 *
 *     call ──{call, id, name}──► handler ──{id, value | error}──► the promise settles
 *     tell ──{call, no id}────► handler (an error of it is a bug: it is thrown)
 */
import type { MessagePort, Transferable } from 'node:worker_threads';
import { fromPlainError, toPlainError, type PlainError } from './plain-error.ts';

/** Handlers by name: each takes one argument of plain data. */
export type CallTable = Readonly<Record<string, (argument: never) => unknown>>;

/** What both ends of a thread have: a `Worker` outside, a `MessagePort` inside. */
export type Channel = {
  postMessage(message: unknown, transfer?: readonly Transferable[]): void;
  on(event: 'message', listener: (message: Message) => void): unknown;
};

type Message =
  | {
      readonly type: 'call';
      readonly id?: number;
      readonly name: string;
      readonly argument: unknown;
    }
  | { readonly type: 'value'; readonly id: number; readonly value: unknown }
  | { readonly type: 'error'; readonly id: number; readonly error: PlainError };

type Argument<Table extends CallTable, Name extends keyof Table> = Parameters<Table[Name]>[0];
type Result<Table extends CallTable, Name extends keyof Table> = Awaited<ReturnType<Table[Name]>>;

type Waiting = {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
};

export class CallPort<Theirs extends CallTable> {
  readonly #channel: Channel;
  readonly #handlers: CallTable;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #failure: Error | undefined;

  constructor(channel: Channel | MessagePort, handlers: CallTable) {
    this.#channel = channel as Channel;
    this.#handlers = handlers;
    this.#channel.on('message', (message) => void this.#take(message));
  }

  /** Calls a handler of the other side. Rejects with its error, or with the one given to `fail`. */
  call<Name extends keyof Theirs & string>(
    name: Name,
    argument: Argument<Theirs, Name>,
    transfer: readonly Transferable[] = [],
  ): Promise<Result<Theirs, Name>> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      const id = ++this.#lastId;
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#channel.postMessage({ type: 'call', id, name, argument }, transfer);
    });
  }

  /** As `call`, without waiting for anything. */
  tell<Name extends keyof Theirs & string>(
    name: Name,
    argument: Argument<Theirs, Name>,
    transfer: readonly Transferable[] = [],
  ): void {
    if (this.#failure !== undefined) return;
    this.#channel.postMessage({ type: 'call', name, argument }, transfer);
  }

  /** The other side is gone: rejects all calls, also later ones. */
  fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  async #take(message: Message): Promise<void> {
    if (message.type === 'call') {
      await this.#answer(message);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.type === 'value') waiting?.resolve(message.value);
    else waiting?.reject(fromPlainError(message.error));
  }

  async #answer({ id, name, argument }: Message & { readonly type: 'call' }): Promise<void> {
    const handler = this.#handlers[name] as (argument: unknown) => unknown;
    if (id === undefined) {
      await handler(argument);
      return;
    }
    let result: unknown;
    try {
      result = await handler(argument);
    } catch (error) {
      this.#channel.postMessage({ type: 'error', id, error: toPlainError(error) });
      return;
    }
    this.#channel.postMessage({ type: 'value', id, value: result });
  }
}
