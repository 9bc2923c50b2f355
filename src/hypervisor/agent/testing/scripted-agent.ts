/**
 * A guest agent that answers as its test says, on a unix socket as QEMU's: one client at a time is read,
 * 0xFF resets the parser, replies are never dropped because the client left.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

/** What a command gets: its `return`, an agent's error, silence, or the connection's end. */
export type Answer =
  | { readonly return: unknown }
  | { readonly error: { readonly class: string; readonly desc: string } }
  | 'silence'
  | 'disconnect';

export type Call = { readonly command: string; readonly args: Record<string, unknown> };
export type Script = (call: Call) => Answer | Promise<Answer>;

export class ScriptedAgent {
  readonly path: string;
  readonly #script: Script;
  readonly #server: Server;
  readonly #waiting: Socket[] = [];
  #client: Socket | undefined;
  /** Every command, syncs too, in order. */
  readonly calls: Call[] = [];
  /** Set: nothing is read any more. */
  hung = false;
  connectionCount = 0;

  private constructor(path: string, script: Script) {
    this.path = path;
    this.#script = script;
    this.#server = createServer((socket) => {
      this.connectionCount += 1;
      socket.pause();
      socket.on('error', () => socket.destroy());
      socket.on('close', () => this.#left(socket));
      if (this.#client === undefined) this.#serve(socket);
      else this.#waiting.push(socket);
    });
  }

  static async start(path: string, script: Script): Promise<ScriptedAgent> {
    const agent = new ScriptedAgent(path, script);
    agent.#server.listen(path);
    await once(agent.#server, 'listening');
    return agent;
  }

  /** The commands but syncs. */
  get commands(): string[] {
    return this.calls.map(({ command }) => command).filter((name) => !name.includes('sync'));
  }

  /** Whether somebody has its socket. */
  get isConnected(): boolean {
    return this.#client !== undefined;
  }

  /** Sends bytes unasked, as a reply that an earlier client left. */
  leaveBehind(bytes: string | Buffer): void {
    this.#client?.write(bytes);
  }

  disconnect(): void {
    this.#client?.destroy();
  }

  async stop(): Promise<void> {
    for (const socket of [...this.#waiting, this.#client]) socket?.destroy();
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }

  #left(socket: Socket): void {
    const position = this.#waiting.indexOf(socket);
    if (position >= 0) this.#waiting.splice(position, 1);
    if (this.#client !== socket) return;
    this.#client = undefined;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#serve(next);
  }

  #serve(socket: Socket): void {
    this.#client = socket;
    let text = '';
    let turn: Promise<void> = Promise.resolve();
    socket.setEncoding('latin1');
    socket.on('data', (piece: string) => {
      text += piece;
      const lines = text.split('\n');
      text = lines.pop()!;
      for (const line of lines) turn = turn.then(() => this.#answer(socket, line));
    });
    socket.resume();
  }

  async #answer(socket: Socket, line: string): Promise<void> {
    if (this.hung) return;
    const reset = line.lastIndexOf('\u00ff');
    if (reset >= 0)
      socket.write('{"error": {"class": "GenericError", "desc": "JSON parse error, stray"}}\n');
    const request = JSON.parse(Buffer.from(line.slice(reset + 1), 'latin1').toString()) as {
      execute: string;
      arguments?: Record<string, unknown>;
    };
    const call = { command: request.execute, args: request.arguments ?? {} };
    this.calls.push(call);
    if (call.command === 'guest-sync-delimited') {
      socket.write(Buffer.concat([Buffer.of(0xff), reply({ return: call.args['id'] })]));
      return;
    }
    const answer = await this.#script(call);
    if (answer === 'silence') return;
    if (answer === 'disconnect') socket.destroy();
    else socket.write(reply(answer));
  }
}

export function refusal(desc: string, errorClass = 'GenericError'): Answer {
  return { error: { class: errorClass, desc } };
}

function reply(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value)}\n`);
}
