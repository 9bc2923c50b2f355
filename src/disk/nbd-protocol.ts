/**
 * The NBD protocol's numbers and frames, as in doc/proto.md of the NetworkBlockDevice project.
 * Newstyle fixed handshake, structured and simple replies; no TLS, no extended headers.
 *
 *     request            u32 magic 25609513 | u16 flags | u16 command | u64 cookie | u64 offset | u32 length | [payload]
 *     simple reply       u32 magic 67446698 | u32 error | u64 cookie | [payload]
 *     structured chunk   u32 magic 668e33ef | u16 flags | u16 type | u64 cookie | u32 length | payload
 *     option             u64 IHAVEOPT | u32 option | u32 length | data
 *     option reply       u64 magic 3e889045565a9 | u32 option | u32 type | u32 length | data
 */
import { HoldfastError } from '#base';

export const NBD_MAGIC = 0x4e42444d41474943n;
export const OPTION_MAGIC = 0x49484156454f5054n;
export const OPTION_REPLY_MAGIC = 0x3e889045565a9n;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

export const REQUEST_BYTES = 28;
export const SIMPLE_REPLY_BYTES = 16;
export const CHUNK_HEADER_BYTES = 20;

/** Both ways of the handshake flags; the client answers with the same bits. */
export const HANDSHAKE = { fixedNewstyle: 1, noZeroes: 2 } as const;

export const OPTION = {
  exportName: 1,
  abort: 2,
  list: 3,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const;

export const OPTION_REPLY = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  errorUnsupported: 0x80000001,
  errorPolicy: 0x80000002,
  errorInvalid: 0x80000003,
  errorTlsRequired: 0x80000005,
  errorUnknown: 0x80000006,
  errorTooBig: 0x80000009,
} as const;

export const INFO = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

export const TRANSMISSION = {
  hasFlags: 1,
  readOnly: 1 << 1,
  sendFlush: 1 << 2,
  sendFua: 1 << 3,
  sendTrim: 1 << 5,
  sendWriteZeroes: 1 << 6,
  sendDf: 1 << 7,
  canMultiConn: 1 << 8,
} as const;

export const COMMAND = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  writeZeroes: 6,
  blockStatus: 7,
} as const;
export type Command = (typeof COMMAND)[keyof typeof COMMAND];

export const COMMAND_FLAG = { dontFragment: 1 << 2, requestOne: 1 << 3 } as const;

export const CHUNK = {
  none: 0,
  offsetData: 1,
  offsetHole: 2,
  blockStatus: 5,
  error: 0x8001,
  errorOffset: 0x8002,
} as const;
export const CHUNK_DONE = 1;
/** Set in the type of every error chunk, known or not. */
export const CHUNK_IS_ERROR = 0x8000;

export const NBD_ERROR = {
  notPermitted: 1,
  io: 5,
  noMemory: 12,
  invalid: 22,
  noSpace: 28,
  overflow: 75,
  notSupported: 95,
  shutdown: 108,
} as const;

export const ALLOCATION_CONTEXT = 'base:allocation';
/** Flags of `base:allocation`. */
export const ALLOCATION = { hole: 1, zero: 2 } as const;

/** The most that QEMU, nbdkit and nbd-server take in one read or write; also our server's limit. */
export const MAX_REQUEST_BYTES = 32 * 1024 * 1024;
export const DEFAULT_PORT = 10809;

/** What the handshake learns about an export. */
export type NbdExport = {
  readonly sizeBytes: number;
  readonly flags: number;
  readonly minBlockBytes: number;
  readonly maxRequestBytes: number;
  readonly structuredReplies: boolean;
  /** Metadata contexts by the id that the server gave them. */
  readonly contexts: ReadonlyMap<number, string>;
};

/** One run of a metadata context, such as `base:allocation` or `qemu:dirty-bitmap:NAME`. */
export type BlockStatus = {
  readonly offset: number;
  readonly length: number;
  readonly flags: number;
};

/** The peer broke the protocol; the connection cannot be used any more. */
export function violation(message: string): HoldfastError {
  return new HoldfastError('ProtocolViolation', `NBD: ${message}`);
}

/** Reads a u64 that must be exact as a number. */
export function readOffset(frame: Buffer, at: number): number {
  const value = frame.readUInt32BE(at) * 0x1_0000_0000 + frame.readUInt32BE(at + 4);
  if (!Number.isSafeInteger(value)) throw violation(`the peer sent ${value} as an offset or size`);
  return value;
}

export function writeOffset(frame: Buffer, value: number, at: number): void {
  frame.writeUInt32BE(Math.floor(value / 0x1_0000_0000), at);
  frame.writeUInt32BE(value % 0x1_0000_0000, at + 4);
}
