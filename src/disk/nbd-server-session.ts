/**
 * The transmission phase of one client of the server: requests are read one after another, answered
 * in any order. At most `MAX_IN_FLIGHT_BYTES` of answers are under way; further requests stay in the
 * socket until the client has taken what it asked for.
 */
import { freeMemory, isHoldfastError } from '#base';
import { intersectExtents, type Extent } from './extent.ts';
import {
  ALLOCATION,
  CHUNK,
  CHUNK_DONE,
  CHUNK_HEADER_BYTES,
  COMMAND,
  COMMAND_FLAG,
  MAX_REQUEST_BYTES,
  NBD_ERROR,
  readOffset,
  REQUEST_BYTES,
  REQUEST_MAGIC,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
  violation,
  writeOffset,
} from './nbd-protocol.ts';
import { ALLOCATION_ID, type Session } from './nbd-server-handshake.ts';
import type { ServerStream } from './nbd-server-stream.ts';

/** Of one connection; a larger request is answered alone. */
const MAX_IN_FLIGHT_BYTES = 16 * 1024 * 1024;
/** What a request weighs besides its data: bounds the count of small ones. */
const REQUEST_WEIGHT_BYTES = 64 * 1024;
const MAX_RUNS = 32 * 1024;
/** Reads of more pieces than this are sent whole. */
const MAX_PIECES = 64;
const MAX_TEXT_BYTES = 1024;

type Request = {
  readonly flags: number;
  readonly command: number;
  readonly cookie: bigint;
  readonly offset: number;
  readonly length: number;
};

type Objection = { readonly errno: number; readonly text: string };

/** Runs until the client disconnects (resolves) or is gone or breaks the protocol (rejects). */
export async function serveSession(
  stream: ServerStream,
  session: Session,
  onError: (error: unknown) => void,
): Promise<void> {
  const answers = new Answers(stream, session, onError);
  for (;;) {
    const request = parseRequest(await stream.read(REQUEST_BYTES));
    if (request.command === COMMAND.disconnect) return;
    if (request.command === COMMAND.write) {
      if (request.length > MAX_REQUEST_BYTES) throw violation(`a write of ${request.length} bytes`);
      await stream.discard(request.length);
    }
    await answers.admit(request);
  }
}

function parseRequest(frame: Buffer): Request {
  if (frame.readUInt32BE(0) !== REQUEST_MAGIC) throw violation('not a request');
  return {
    flags: frame.readUInt16BE(4),
    command: frame.readUInt16BE(6),
    cookie: frame.readBigUInt64BE(8),
    offset: readOffset(frame, 16),
    length: frame.readUInt32BE(24),
  };
}

class Answers {
  readonly #stream: ServerStream;
  readonly #session: Session;
  readonly #onError: (error: unknown) => void;
  #inFlightBytes = 0;
  #room: (() => void) | undefined;

  constructor(stream: ServerStream, session: Session, onError: (error: unknown) => void) {
    this.#stream = stream;
    this.#session = session;
    this.#onError = onError;
  }

  /** Starts to answer; waits first while too much is under way. */
  async admit(request: Request): Promise<void> {
    const reads = request.command === COMMAND.read && request.length <= MAX_REQUEST_BYTES;
    const weight = REQUEST_WEIGHT_BYTES + (reads ? request.length : 0);
    while (this.#inFlightBytes > 0 && this.#inFlightBytes + weight > MAX_IN_FLIGHT_BYTES) {
      await new Promise<void>((resolve) => {
        this.#room = resolve;
      });
    }
    this.#inFlightBytes += weight;
    void this.#answer(request).then(() => {
      this.#inFlightBytes -= weight;
      this.#room?.();
    });
  }

  /** Never rejects: what goes wrong is answered with an error. */
  async #answer(request: Request): Promise<void> {
    try {
      const error = this.#objection(request);
      if (error !== undefined) await this.#sendError(request, error);
      else if (request.command === COMMAND.read) await this.#read(request);
      else if (request.command === COMMAND.blockStatus) await this.#blockStatus(request);
      else await this.#stream.send([this.#acknowledgement(request)]);
    } catch (error) {
      this.#onError(error);
      const text = error instanceof Error ? error.message : '';
      const errno = isHoldfastError(error, 'Cancelled') ? NBD_ERROR.shutdown : NBD_ERROR.io;
      await this.#sendError(request, { errno, text });
    }
  }

  #objection(request: Request): Objection | undefined {
    switch (request.command) {
      case COMMAND.flush:
        return undefined;
      case COMMAND.write:
      case COMMAND.trim:
      case COMMAND.writeZeroes:
        return { errno: NBD_ERROR.notPermitted, text: 'the export is read-only' };
      case COMMAND.read:
        if (request.length > MAX_REQUEST_BYTES) {
          return { errno: NBD_ERROR.overflow, text: 'more than 32 MiB in one read' };
        }
        return this.#rangeObjection(request);
      case COMMAND.blockStatus:
        if (!this.#session.allocation) {
          return { errno: NBD_ERROR.invalid, text: 'no metadata context was chosen' };
        }
        return this.#rangeObjection(request);
      default:
        return { errno: NBD_ERROR.invalid, text: `unknown command ${request.command}` };
    }
  }

  #rangeObjection({ offset, length }: Request): Objection | undefined {
    if (length > 0 && offset + length <= this.#session.disk.sizeBytes) return undefined;
    return { errno: NBD_ERROR.invalid, text: 'the range is not on the disk' };
  }

  async #read(request: Request): Promise<void> {
    const { disk, structuredReplies } = this.#session;
    const range: Extent = { offset: request.offset, length: request.length };
    if (!structuredReplies) {
      const data = Buffer.allocUnsafeSlow(request.length);
      await disk.read(request.offset, data);
      await this.#stream.send([simpleReply(request.cookie, 0), data]);
      freeMemory(data);
      return;
    }
    const mayFragment = (request.flags & COMMAND_FLAG.dontFragment) === 0;
    const pieces = mayFragment ? await this.#piecesOf(range) : [{ ...range, hole: false }];
    const frames = await Promise.all(
      pieces.map(async (piece, index) => {
        const flags = index === pieces.length - 1 ? CHUNK_DONE : 0;
        return await this.#readPiece({ cookie: request.cookie, flags }, piece);
      }),
    );
    const buffers = frames.flat();
    await this.#stream.send(buffers);
    for (const buffer of buffers) freeMemory(buffer);
  }

  async #readPiece(
    reply: { cookie: bigint; flags: number },
    piece: Extent & { hole: boolean },
  ): Promise<Uint8Array[]> {
    const place = Buffer.alloc(piece.hole ? 12 : 8);
    writeOffset(place, piece.offset, 0);
    if (piece.hole) {
      place.writeUInt32BE(piece.length, 8);
      return [chunkHeader({ ...reply, type: CHUNK.offsetHole, length: 12 }), place];
    }
    const data = Buffer.allocUnsafeSlow(piece.length);
    await this.#session.disk.read(piece.offset, data);
    const header = chunkHeader({ ...reply, type: CHUNK.offsetData, length: 8 + piece.length });
    return [header, place, data];
  }

  /** The range as data and holes, in order and without gaps. */
  async #piecesOf(range: Extent): Promise<(Extent & { hole: boolean })[]> {
    const { disk } = this.#session;
    if (disk.dataExtents === undefined) return [{ ...range, hole: false }];
    const data = intersectExtents(await disk.dataExtents(range), [range]);
    if (data.length > MAX_PIECES) return [{ ...range, hole: false }];
    return withHoles(data, range);
  }

  async #blockStatus(request: Request): Promise<void> {
    const { disk } = this.#session;
    const range: Extent = { offset: request.offset, length: request.length };
    const known = await disk.dataExtents?.(range);
    const data = known === undefined ? [range] : intersectExtents(known, [range]);
    const one = (request.flags & COMMAND_FLAG.requestOne) !== 0;
    const runs = withHoles(data, range).slice(0, one ? 1 : MAX_RUNS);
    const payload = Buffer.alloc(4 + runs.length * 8);
    payload.writeUInt32BE(ALLOCATION_ID, 0);
    for (const [index, run] of runs.entries()) {
      payload.writeUInt32BE(run.length, 4 + index * 8);
      payload.writeUInt32BE(run.hole ? ALLOCATION.hole | ALLOCATION.zero : 0, 8 + index * 8);
    }
    const { cookie } = request;
    const type = CHUNK.blockStatus;
    const header = chunkHeader({ cookie, flags: CHUNK_DONE, type, length: payload.length });
    await this.#stream.send([header, payload]);
  }

  #acknowledgement({ cookie }: Request): Buffer {
    if (!this.#session.structuredReplies) return simpleReply(cookie, 0);
    return chunkHeader({ cookie, flags: CHUNK_DONE, type: CHUNK.none, length: 0 });
  }

  async #sendError({ cookie }: Request, { errno, text }: Objection): Promise<void> {
    if (!this.#session.structuredReplies) {
      await this.#stream.send([simpleReply(cookie, errno)]);
      return;
    }
    const bytes = Buffer.from(text).subarray(0, MAX_TEXT_BYTES);
    const head = Buffer.alloc(6);
    head.writeUInt32BE(errno, 0);
    head.writeUInt16BE(bytes.length, 4);
    const length = head.length + bytes.length;
    const header = chunkHeader({ cookie, flags: CHUNK_DONE, type: CHUNK.error, length });
    await this.#stream.send([Buffer.concat([header, head, bytes])]);
  }
}

/** Fills the gaps between normal data extents, which lie in `range`, with holes. */
function withHoles(data: readonly Extent[], range: Extent): (Extent & { hole: boolean })[] {
  const pieces: (Extent & { hole: boolean })[] = [];
  let offset = range.offset;
  const end = range.offset + range.length;
  for (const extent of data) {
    if (extent.offset > offset) {
      pieces.push({ offset, length: extent.offset - offset, hole: true });
    }
    pieces.push({ ...extent, hole: false });
    offset = extent.offset + extent.length;
  }
  if (offset < end) pieces.push({ offset, length: end - offset, hole: true });
  return pieces;
}

function simpleReply(cookie: bigint, errno: number): Buffer {
  const reply = Buffer.alloc(SIMPLE_REPLY_BYTES);
  reply.writeUInt32BE(SIMPLE_REPLY_MAGIC, 0);
  reply.writeUInt32BE(errno, 4);
  reply.writeBigUInt64BE(cookie, 8);
  return reply;
}

function chunkHeader(chunk: {
  cookie: bigint;
  flags: number;
  type: number;
  length: number;
}): Buffer {
  const header = Buffer.alloc(CHUNK_HEADER_BYTES);
  header.writeUInt32BE(STRUCTURED_REPLY_MAGIC, 0);
  header.writeUInt16BE(chunk.flags, 4);
  header.writeUInt16BE(chunk.type, 6);
  header.writeBigUInt64BE(chunk.cookie, 8);
  header.writeUInt32BE(chunk.length, 16);
  return header;
}
