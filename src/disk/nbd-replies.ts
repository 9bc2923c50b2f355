/**
 * Reads replies from an NBD server and matches them to the requests in flight; payload bytes go
 * straight into each request's own buffer.
 *
 *     magic+12 ──simple──► [payload] ─────────────────────────► settled
 *        │                                                         ▲
 *        └─structured─► length ─► chunk payload ──DONE flag────────┘
 *                          ▲            │ not DONE: the next chunk may belong to any request
 *                          └────────────┘
 *
 * Nothing from the peer is believed: chunks must lie in the request, a read must be covered exactly
 * once, lengths are bounded. Whatever breaks that throws `ProtocolViolation` out of the intake.
 */
import { HoldfastError } from '#base';
import type { ByteIntake } from './byte-intake.ts';
import { normaliseExtents, totalBytes, type Extent } from './extent.ts';
import {
  CHUNK,
  CHUNK_DONE,
  CHUNK_HEADER_BYTES,
  CHUNK_IS_ERROR,
  COMMAND,
  NBD_ERROR,
  readOffset,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
  violation,
  type BlockStatus,
  type Command,
} from './nbd-protocol.ts';

/** What a client asks for, until it is settled; it may be sent again on another connection. */
export type NbdRequest = {
  readonly command: Command;
  readonly offset: number;
  readonly length: number;
  /** Filled by a read. */
  readonly target?: Buffer;
  /** Sent by a write. */
  readonly payload?: Uint8Array;
  readonly resolve: (answer: NbdAnswer) => void;
  readonly reject: (error: Error) => void;
  /** How often a connection was lost under it. */
  lossCount: number;
};

/** Block status runs by the context's name; empty for other commands. */
export type NbdAnswer = ReadonlyMap<string, readonly BlockStatus[]>;

export type InFlight = {
  readonly request: NbdRequest;
  readonly covered: Extent[];
  /** By the context id of this connection. */
  readonly statuses: Map<number, BlockStatus[]>;
  error?: Error;
};

export type ReplyEvents = {
  readonly structured: boolean;
  /** The request with this cookie, if it is in flight. */
  readonly find: (cookie: bigint) => InFlight | undefined;
  /** The reply is complete: the request is in flight no more. */
  readonly settle: (cookie: bigint, inFlight: InFlight) => void;
};

const MAX_ERROR_BYTES = 64 * 1024;
const MAX_STATUS_BYTES = 16 * 1024 * 1024;
/** A read answered in more pieces than this is not an answer but an attack. */
const MAX_PIECES = 1 << 16;

type Chunk = {
  readonly cookie: bigint;
  readonly inFlight: InFlight;
  readonly type: number;
  readonly length: number;
  readonly done: boolean;
};

export class ReplyReader {
  readonly #intake: ByteIntake;
  readonly #events: ReplyEvents;
  readonly #header = Buffer.alloc(CHUNK_HEADER_BYTES);
  readonly #offset = Buffer.alloc(8);

  constructor(intake: ByteIntake, events: ReplyEvents) {
    this.#intake = intake;
    this.#events = events;
  }

  /** Asks the intake for the next reply; goes on by itself. */
  readonly next = (): void => {
    this.#intake.fill(this.#header.subarray(0, SIMPLE_REPLY_BYTES), this.#onHeader);
  };

  readonly #onHeader = (): void => {
    const magic = this.#header.readUInt32BE(0);
    if (magic === SIMPLE_REPLY_MAGIC) {
      this.#onSimpleReply();
    } else if (magic === STRUCTURED_REPLY_MAGIC && this.#events.structured) {
      this.#intake.fill(this.#header.subarray(SIMPLE_REPLY_BYTES), this.#onChunk);
    } else {
      throw violation(`a reply starts with ${magic.toString(16)}`);
    }
  };

  #onSimpleReply(): void {
    const cookie = this.#header.readBigUInt64BE(8);
    const inFlight = this.#lookUp(cookie);
    const { request } = inFlight;
    const errno = this.#header.readUInt32BE(4);
    if (errno !== 0) {
      inFlight.error = requestError(request, { errno, text: '' });
    } else if (request.command === COMMAND.read) {
      if (this.#events.structured) throw violation('a read was answered with a simple reply');
      inFlight.covered.push({ offset: request.offset, length: request.length });
      this.#intake.fill(request.target!, () => this.#settle(cookie, inFlight));
      return;
    }
    this.#settle(cookie, inFlight);
  }

  readonly #onChunk = (): void => {
    const cookie = this.#header.readBigUInt64BE(8);
    const chunk: Chunk = {
      cookie,
      inFlight: this.#lookUp(cookie),
      type: this.#header.readUInt16BE(6),
      length: this.#header.readUInt32BE(16),
      done: (this.#header.readUInt16BE(4) & CHUNK_DONE) !== 0,
    };
    switch (chunk.type) {
      case CHUNK.none:
        if (chunk.length !== 0 || !chunk.done) throw violation('an empty chunk is not empty');
        this.#endChunk(chunk);
        return;
      case CHUNK.offsetData:
        this.#onData(chunk);
        return;
      case CHUNK.offsetHole:
        this.#take(chunk, { least: 12, most: 12 }, (payload) => {
          const hole = { offset: readOffset(payload, 0), length: payload.readUInt32BE(8) };
          this.#cover(chunk.inFlight, hole).fill(0);
        });
        return;
      case CHUNK.blockStatus:
        this.#take(chunk, { least: 12, most: MAX_STATUS_BYTES }, (payload) =>
          takeStatuses(chunk.inFlight, payload),
        );
        return;
      default:
        if ((chunk.type & CHUNK_IS_ERROR) === 0) throw violation(`unknown chunk ${chunk.type}`);
        this.#take(chunk, { least: 6, most: MAX_ERROR_BYTES }, (payload) =>
          takeError(chunk, payload),
        );
    }
  };

  #onData(chunk: Chunk): void {
    if (chunk.length <= 8) throw violation('a data chunk holds no data');
    this.#intake.fill(this.#offset, () => {
      const piece = { offset: readOffset(this.#offset, 0), length: chunk.length - 8 };
      this.#intake.fill(this.#cover(chunk.inFlight, piece), () => this.#endChunk(chunk));
    });
  }

  /** Receives a chunk's whole payload, of a length between the bounds. */
  #take(
    chunk: Chunk,
    bounds: { least: number; most: number },
    use: (payload: Buffer) => void,
  ): void {
    if (chunk.length < bounds.least || chunk.length > bounds.most) {
      throw violation(`a chunk of type ${chunk.type} has ${chunk.length} bytes`);
    }
    const payload = Buffer.allocUnsafe(chunk.length);
    this.#intake.fill(payload, () => {
      use(payload);
      this.#endChunk(chunk);
    });
  }

  /** The part of the request's buffer that a piece of the reply fills. */
  #cover({ request, covered }: InFlight, piece: Extent): Buffer {
    const start = piece.offset - request.offset;
    if (
      request.command !== COMMAND.read ||
      start < 0 ||
      piece.length === 0 ||
      start + piece.length > request.length
    ) {
      throw violation('the server answered with data that was not asked for');
    }
    if (covered.push(piece) > MAX_PIECES) throw violation('a read was answered in crumbs');
    return request.target!.subarray(start, start + piece.length);
  }

  #endChunk(chunk: Chunk): void {
    if (chunk.done) this.#settle(chunk.cookie, chunk.inFlight);
    else this.next();
  }

  #settle(cookie: bigint, inFlight: InFlight): void {
    const { request, covered, error } = inFlight;
    if (request.command === COMMAND.read && error === undefined && !coversOnce(request, covered)) {
      throw violation('a read was answered with gaps or overlaps');
    }
    this.#events.settle(cookie, inFlight);
    this.next();
  }

  #lookUp(cookie: bigint): InFlight {
    const inFlight = this.#events.find(cookie);
    if (inFlight === undefined) throw violation('a reply to a request that was not made');
    return inFlight;
  }
}

function coversOnce(request: NbdRequest, covered: Extent[]): boolean {
  if (covered.length === 1) return covered[0]!.length === request.length;
  return totalBytes(covered) === request.length && normaliseExtents(covered).length === 1;
}

/** Payload: u32 context id, then runs of u32 length and u32 flags, from the request's offset on. */
function takeStatuses({ request, statuses }: InFlight, payload: Buffer): void {
  if (request.command !== COMMAND.blockStatus || (payload.length - 4) % 8 !== 0) {
    throw violation('a block status chunk is out of place');
  }
  const end = request.offset + request.length;
  const runs: BlockStatus[] = [];
  let offset = request.offset;
  for (let at = 4; at < payload.length && offset < end; at += 8) {
    const stated = payload.readUInt32BE(at);
    if (stated === 0) throw violation('a block status run is empty');
    // The last run may reach past the request.
    const length = Math.min(stated, end - offset);
    runs.push({ offset, length, flags: payload.readUInt32BE(at + 4) });
    offset += length;
  }
  statuses.set(payload.readUInt32BE(0), runs);
}

/** Payload: u32 error | u16 length | text | [u64 offset]. */
function takeError({ inFlight, type }: Chunk, payload: Buffer): void {
  const textEnd = 6 + payload.readUInt16BE(4);
  if (textEnd > payload.length) throw violation('an error text leaves its chunk');
  const errno = payload.readUInt32BE(0);
  const text = payload.toString('utf8', 6, textEnd);
  const named = type === CHUNK.errorOffset && payload.length >= textEnd + 8;
  const offset = named ? readOffset(payload, textEnd) : inFlight.request.offset;
  inFlight.error ??= requestError(inFlight.request, { errno, text, offset });
}

const ERRNO_TEXT: ReadonlyMap<number, string> = new Map([
  [NBD_ERROR.notPermitted, 'not permitted'],
  [NBD_ERROR.io, 'input/output error'],
  [NBD_ERROR.noMemory, 'the server is out of memory'],
  [NBD_ERROR.invalid, 'invalid request'],
  [NBD_ERROR.noSpace, 'no space left'],
  [NBD_ERROR.overflow, 'too large'],
  [NBD_ERROR.notSupported, 'not supported'],
  [NBD_ERROR.shutdown, 'the server is shutting down'],
]);

function requestError(
  request: NbdRequest,
  failure: { errno: number; text: string; offset?: number },
): HoldfastError {
  const { errno, text, offset = request.offset } = failure;
  const reads = request.command === COMMAND.read || request.command === COMMAND.blockStatus;
  const cause = ERRNO_TEXT.get(errno) ?? `error ${errno}`;
  const tail = text === '' ? cause : `${cause}: ${text}`;
  if (errno === NBD_ERROR.shutdown) return new HoldfastError('DiskUnavailable', `NBD: ${tail}`);
  return new HoldfastError(
    reads ? 'DiskReadFailed' : 'DiskWriteFailed',
    `cannot ${reads ? 'read' : 'write'} ${request.length} bytes at offset ${offset}: ${tail}`,
    { details: { offset, length: request.length, errno } },
  );
}
