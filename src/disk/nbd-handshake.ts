/**
 * The client's half of the fixed newstyle handshake:
 *
 *     greeting → flags → STRUCTURED_REPLY → SET_META_CONTEXT (if any context is wanted) → GO
 *
 * A server without structured replies or contexts is used without them. Lengths from the peer are
 * checked before anything is allocated.
 */
import { HoldfastError } from '#base';
import {
  HANDSHAKE,
  INFO,
  MAX_REQUEST_BYTES,
  NBD_MAGIC,
  OPTION,
  OPTION_MAGIC,
  OPTION_REPLY,
  OPTION_REPLY_MAGIC,
  readOffset,
  violation,
  type NbdExport,
} from './nbd-protocol.ts';

export type HandshakeStream = {
  readonly read: (lengthBytes: number) => Promise<Buffer>;
  readonly write: (bytes: Buffer) => void;
};

export type HandshakeWishes = {
  readonly exportName: string;
  readonly contexts: readonly string[];
};

type OptionReply = { readonly type: number; readonly data: Buffer };

const MAX_REPLY_BYTES = 64 * 1024;
const MAX_REPLIES = 1024;
const ERROR_REPLY = 0x80000000;

/**
 * Runs the handshake up to the transmission phase.
 *
 * @throws {HoldfastError} `DiskNotFound` if the server has no such export; `ArgumentInvalid` if it
 *   wants TLS; `DiskUnavailable` if it refuses otherwise; `ProtocolViolation`.
 */
export async function negotiate(
  stream: HandshakeStream,
  wishes: HandshakeWishes,
): Promise<NbdExport> {
  await greet(stream);
  const structuredReplies = await askStructuredReplies(stream);
  const contexts =
    structuredReplies && wishes.contexts.length > 0
      ? await askContexts(stream, wishes)
      : new Map<number, string>();
  return { ...(await go(stream, wishes.exportName)), structuredReplies, contexts };
}

async function greet(stream: HandshakeStream): Promise<void> {
  const greeting = await stream.read(18);
  if (greeting.readBigUInt64BE(0) !== NBD_MAGIC || greeting.readBigUInt64BE(8) !== OPTION_MAGIC) {
    throw violation('the server does not speak the newstyle protocol');
  }
  const flags = greeting.readUInt16BE(16);
  if ((flags & HANDSHAKE.fixedNewstyle) === 0) {
    throw violation('the server does not speak the fixed newstyle protocol');
  }
  const answer = Buffer.alloc(4);
  answer.writeUInt32BE(flags & (HANDSHAKE.fixedNewstyle | HANDSHAKE.noZeroes));
  stream.write(answer);
}

async function askStructuredReplies(stream: HandshakeStream): Promise<boolean> {
  sendOption(stream, OPTION.structuredReply, Buffer.alloc(0));
  const replies = await readReplies(stream, OPTION.structuredReply);
  return replies.at(-1)!.type === OPTION_REPLY.ack;
}

async function askContexts(
  stream: HandshakeStream,
  wishes: HandshakeWishes,
): Promise<Map<number, string>> {
  sendOption(
    stream,
    OPTION.setMetaContext,
    Buffer.concat([
      countedText(wishes.exportName),
      uint32(wishes.contexts.length),
      ...wishes.contexts.map(countedText),
    ]),
  );
  const contexts = new Map<number, string>();
  for (const { type, data } of await readReplies(stream, OPTION.setMetaContext)) {
    if (type !== OPTION_REPLY.metaContext) continue;
    if (data.length < 5) throw violation('a metadata context has no name');
    contexts.set(data.readUInt32BE(0), data.toString('utf8', 4));
  }
  return contexts;
}

async function go(
  stream: HandshakeStream,
  exportName: string,
): Promise<Omit<NbdExport, 'structuredReplies' | 'contexts'>> {
  const wanted = Buffer.alloc(4);
  wanted.writeUInt16BE(1, 0);
  wanted.writeUInt16BE(INFO.blockSize, 2);
  sendOption(stream, OPTION.go, Buffer.concat([countedText(exportName), wanted]));

  const replies = await readReplies(stream, OPTION.go);
  const last = replies.at(-1)!;
  if (last.type !== OPTION_REPLY.ack) throw refusal(last, exportName);

  const described = infoOf(replies, INFO.export, 12);
  if (described === undefined) throw violation('the server did not say the size of the export');
  const sizes = infoOf(replies, INFO.blockSize, 14);
  const minBlockBytes = sizes?.readUInt32BE(2) ?? 1;
  const maxRequestBytes = Math.min(sizes?.readUInt32BE(10) ?? MAX_REQUEST_BYTES, MAX_REQUEST_BYTES);
  if (!isPowerOfTwo(minBlockBytes) || maxRequestBytes < minBlockBytes) {
    throw violation(`the server wants blocks of ${minBlockBytes} to ${maxRequestBytes} bytes`);
  }
  return {
    sizeBytes: readOffset(described, 2),
    flags: described.readUInt16BE(10),
    minBlockBytes,
    maxRequestBytes: maxRequestBytes - (maxRequestBytes % minBlockBytes),
  };
}

function infoOf(
  replies: readonly OptionReply[],
  info: number,
  lengthBytes: number,
): Buffer | undefined {
  return replies.find(
    ({ type, data }) =>
      type === OPTION_REPLY.info && data.length >= lengthBytes && data.readUInt16BE(0) === info,
  )?.data;
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && value <= 64 * 1024 && (value & (value - 1)) === 0;
}

function refusal(reply: OptionReply, exportName: string): HoldfastError {
  const text = reply.data.toString('utf8');
  const tail = text === '' ? '' : `: ${text}`;
  switch (reply.type) {
    case OPTION_REPLY.errorUnknown:
      return new HoldfastError('DiskNotFound', `NBD: no export named "${exportName}"${tail}`);
    case OPTION_REPLY.errorTlsRequired:
      return new HoldfastError('ArgumentInvalid', 'NBD: the server wants TLS; use a unix socket');
    case OPTION_REPLY.errorUnsupported:
      return violation('the server is too old: it does not know NBD_OPT_GO');
    default:
      return new HoldfastError('DiskUnavailable', `NBD: the server refuses "${exportName}"${tail}`);
  }
}

/** All replies to one option; the last is the acknowledgement or the error. */
async function readReplies(stream: HandshakeStream, option: number): Promise<OptionReply[]> {
  const replies: OptionReply[] = [];
  while (replies.length < MAX_REPLIES) {
    const header = await stream.read(20);
    if (header.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC || header.readUInt32BE(8) !== option) {
      throw violation('an option was answered with something else');
    }
    const type = header.readUInt32BE(12);
    const lengthBytes = header.readUInt32BE(16);
    if (lengthBytes > MAX_REPLY_BYTES)
      throw violation(`an option's reply has ${lengthBytes} bytes`);
    replies.push({ type, data: await stream.read(lengthBytes) });
    if (type === OPTION_REPLY.ack || type >= ERROR_REPLY) return replies;
  }
  throw violation('an option was answered endlessly');
}

function sendOption(stream: HandshakeStream, option: number, data: Buffer): void {
  const header = Buffer.alloc(16);
  header.writeBigUInt64BE(OPTION_MAGIC, 0);
  header.writeUInt32BE(option, 8);
  header.writeUInt32BE(data.length, 12);
  stream.write(Buffer.concat([header, data]));
}

function countedText(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([uint32(bytes.length), bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
