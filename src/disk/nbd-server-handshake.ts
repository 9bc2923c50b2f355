/**
 * The server's half of the fixed newstyle handshake: options until GO or EXPORT_NAME chooses an
 * export. Everything a client sends is bounded; what makes no sense ends the connection.
 */
import type { ServerStream } from './nbd-server-stream.ts';
import type { ServedDisk } from './served-disk.ts';
import {
  ALLOCATION_CONTEXT,
  HANDSHAKE,
  INFO,
  MAX_REQUEST_BYTES,
  NBD_MAGIC,
  OPTION,
  OPTION_MAGIC,
  OPTION_REPLY,
  OPTION_REPLY_MAGIC,
  TRANSMISSION,
  violation,
  writeOffset,
} from './nbd-protocol.ts';

export type ServedExports = ReadonlyMap<string, ServedDisk>;

/** What the handshake settled for one connection. */
export type Session = {
  readonly disk: ServedDisk;
  readonly structuredReplies: boolean;
  /** Whether block status of `base:allocation` was agreed on. */
  readonly allocation: boolean;
};

export const ALLOCATION_ID = 1;
const MAX_OPTION_BYTES = 16 * 1024;
const MAX_OPTIONS = 256;
/** What we would like best; QEMU and libnbd split and join by it. */
const PREFERRED_BYTES = 64 * 1024;

type Option = { readonly code: number; readonly data: Buffer };

/** Resolves to undefined if the client leaves in order, or asks by EXPORT_NAME for what is not here. */
export async function serveHandshake(
  stream: ServerStream,
  exports: ServedExports,
): Promise<Session | undefined> {
  return await new Handshake(stream, exports).run();
}

class Handshake {
  readonly #stream: ServerStream;
  readonly #exports: ServedExports;
  #noZeroes = false;
  #structuredReplies = false;
  /** The export for which `base:allocation` was chosen. */
  #allocationOf: string | undefined;

  constructor(stream: ServerStream, exports: ServedExports) {
    this.#stream = stream;
    this.#exports = exports;
  }

  async run(): Promise<Session | undefined> {
    const greeting = Buffer.alloc(18);
    greeting.writeBigUInt64BE(NBD_MAGIC, 0);
    greeting.writeBigUInt64BE(OPTION_MAGIC, 8);
    greeting.writeUInt16BE(HANDSHAKE.fixedNewstyle | HANDSHAKE.noZeroes, 16);
    this.#stream.write(greeting);
    const flags = (await this.#stream.read(4)).readUInt32BE(0);
    if ((flags & ~(HANDSHAKE.fixedNewstyle | HANDSHAKE.noZeroes)) !== 0) {
      throw violation('unknown client flags');
    }
    this.#noZeroes = (flags & HANDSHAKE.noZeroes) !== 0;

    for (let count = 0; count < MAX_OPTIONS; count += 1) {
      const option = await this.#readOption();
      if (option.code === OPTION.exportName) return this.#chooseByName(option.data);
      if (option.code === OPTION.abort) {
        this.#reply(option.code, OPTION_REPLY.ack);
        return undefined;
      }
      const session = this.#answer(option);
      if (session !== undefined) return session;
    }
    throw violation('too many options');
  }

  async #readOption(): Promise<Option> {
    const header = await this.#stream.read(16);
    if (header.readBigUInt64BE(0) !== OPTION_MAGIC) throw violation('not an option');
    const lengthBytes = header.readUInt32BE(12);
    if (lengthBytes > MAX_OPTION_BYTES) throw violation(`an option of ${lengthBytes} bytes`);
    return { code: header.readUInt32BE(8), data: await this.#stream.read(lengthBytes) };
  }

  #answer({ code, data }: Option): Session | undefined {
    switch (code) {
      case OPTION.go:
      case OPTION.info:
        return this.#describe(code, data);
      case OPTION.list:
        this.#list(data);
        return undefined;
      case OPTION.structuredReply:
        this.#structuredReplies = data.length === 0;
        this.#reply(code, data.length === 0 ? OPTION_REPLY.ack : OPTION_REPLY.errorInvalid);
        return undefined;
      case OPTION.listMetaContext:
      case OPTION.setMetaContext:
        this.#chooseContexts(code, data);
        return undefined;
      default:
        this.#reply(code, OPTION_REPLY.errorUnsupported);
        return undefined;
    }
  }

  /** GO and INFO: u32 length | name | u16 count | u16 requests. */
  #describe(code: number, data: Buffer): Session | undefined {
    const name = countedText(data, 0);
    if (name === undefined) {
      this.#reply(code, OPTION_REPLY.errorInvalid);
      return undefined;
    }
    const disk = this.#exports.get(name);
    if (disk === undefined) {
      this.#reply(code, OPTION_REPLY.errorUnknown, Buffer.from(`no export named "${name}"`));
      return undefined;
    }
    const described = Buffer.alloc(12);
    described.writeUInt16BE(INFO.export, 0);
    writeOffset(described, disk.sizeBytes, 2);
    described.writeUInt16BE(this.#flags(), 10);
    this.#reply(code, OPTION_REPLY.info, described);
    const sizes = Buffer.alloc(14);
    sizes.writeUInt16BE(INFO.blockSize, 0);
    sizes.writeUInt32BE(1, 2);
    sizes.writeUInt32BE(PREFERRED_BYTES, 6);
    sizes.writeUInt32BE(MAX_REQUEST_BYTES, 10);
    this.#reply(code, OPTION_REPLY.info, sizes);
    this.#reply(code, OPTION_REPLY.ack);
    return code === OPTION.go ? this.#session(name, disk) : undefined;
  }

  #chooseByName(data: Buffer): Session | undefined {
    const name = data.toString('utf8');
    const disk = this.#exports.get(name);
    if (disk === undefined) return undefined;
    const answer = Buffer.alloc(this.#noZeroes ? 10 : 134);
    writeOffset(answer, disk.sizeBytes, 0);
    answer.writeUInt16BE(this.#flags(), 8);
    this.#stream.write(answer);
    return this.#session(name, disk);
  }

  #session(name: string, disk: ServedDisk): Session {
    return {
      disk,
      structuredReplies: this.#structuredReplies,
      allocation: this.#structuredReplies && this.#allocationOf === name,
    };
  }

  #list(data: Buffer): void {
    if (data.length > 0) {
      this.#reply(OPTION.list, OPTION_REPLY.errorInvalid);
      return;
    }
    for (const name of this.#exports.keys()) {
      const bytes = Buffer.from(name);
      const entry = Buffer.alloc(4 + bytes.length);
      entry.writeUInt32BE(bytes.length, 0);
      bytes.copy(entry, 4);
      this.#reply(OPTION.list, OPTION_REPLY.server, entry);
    }
    this.#reply(OPTION.list, OPTION_REPLY.ack);
  }

  /** u32 length | export name | u32 count | count × (u32 length | query). No query lists them all. */
  #chooseContexts(code: number, data: Buffer): void {
    const name = countedText(data, 0);
    const queries = name === undefined ? undefined : queriesOf(data, 4 + Buffer.byteLength(name));
    if (name === undefined || queries === undefined || !this.#structuredReplies) {
      this.#reply(code, OPTION_REPLY.errorInvalid);
      return;
    }
    if (!this.#exports.has(name)) {
      this.#reply(code, OPTION_REPLY.errorUnknown);
      return;
    }
    const lists = code === OPTION.listMetaContext;
    const chosen = lists
      ? queries.length === 0 || queries.some((query) => ALLOCATION_CONTEXT.startsWith(query))
      : queries.includes(ALLOCATION_CONTEXT);
    if (!lists) this.#allocationOf = chosen ? name : undefined;
    if (chosen) {
      const id = Buffer.alloc(4);
      id.writeUInt32BE(ALLOCATION_ID, 0);
      const context = Buffer.concat([id, Buffer.from(ALLOCATION_CONTEXT)]);
      this.#reply(code, OPTION_REPLY.metaContext, context);
    }
    this.#reply(code, OPTION_REPLY.ack);
  }

  #flags(): number {
    const { hasFlags, readOnly, sendFlush, canMultiConn, sendDf } = TRANSMISSION;
    const always = hasFlags | readOnly | sendFlush | canMultiConn;
    return this.#structuredReplies ? always | sendDf : always;
  }

  #reply(code: number, type: number, data: Buffer = Buffer.alloc(0)): void {
    const header = Buffer.alloc(20);
    header.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0);
    header.writeUInt32BE(code, 8);
    header.writeUInt32BE(type, 12);
    header.writeUInt32BE(data.length, 16);
    this.#stream.write(Buffer.concat([header, data]));
  }
}

/** The text at `at`, if its length stays inside `data`. */
function countedText(data: Buffer, at: number): string | undefined {
  if (data.length < at + 4) return undefined;
  const end = at + 4 + data.readUInt32BE(at);
  return end > data.length ? undefined : data.toString('utf8', at + 4, end);
}

function queriesOf(data: Buffer, start: number): string[] | undefined {
  if (data.length < start + 4) return undefined;
  const queries: string[] = [];
  let at = start + 4;
  for (let left = data.readUInt32BE(start); left > 0; left -= 1) {
    const query = countedText(data, at);
    if (query === undefined) return undefined;
    queries.push(query);
    at += 4 + data.readUInt32BE(at);
  }
  return queries;
}
