/**
 * One disk of a point as something that can be served: map → index → frames. What follows in a frame is
 * often what follows on the disk: such blocks are found by comparing ids, without asking the index.
 */
import { HoldfastError, isHoldfastError } from '#base';
import type { Extent, ServedDisk } from '#disk';
import type { Repository } from '#repository';
import type { PointDisk } from '../point-disks.ts';
import type { FramePool, PoolFrame } from './frame-pool.ts';
import { PointMap } from './point-map.ts';

export type ServedPointOptions = {
  readonly repository: Repository;
  readonly point: string;
  readonly disk: PointDisk;
  readonly pool: FramePool;
};

/** Reads that go up the disk in order: where they are, and up to where frames were begun. */
type Stream = { at: number; begunTo: number };

/** Where the last block came from. */
type Here = { readonly frame: PoolFrame; readonly slot: number };

type Held = { here: Here | undefined };

/** Of `count` blocks; undefined: they are all zero. */
type Content = { readonly count: number; readonly bytes: Uint8Array | undefined };

const ID_BYTES = 16;
/** What a frame usually holds of the disk. */
const FRAME_BYTES = 256 * 1024;
/** Frames begun ahead of a client that reads in order. */
const AHEAD_BYTES = 1024 * 1024;
/** A read is in order if it begins near where one of the last ended. */
const MOST_STREAMS = 16;
const NEAR_BYTES = 4 * 1024 * 1024;

export class ServedPoint implements ServedDisk {
  readonly #options: ServedPointOptions;
  readonly #map: PointMap;
  readonly #blockSize: number;
  readonly #streams: Stream[] = [];

  constructor(options: ServedPointOptions) {
    this.#options = options;
    this.#map = new PointMap(options.repository, options.disk);
    this.#blockSize = options.repository.state.blockSize;
  }

  get sizeBytes(): number {
    return this.#options.disk.sizeBytes;
  }

  /** As `ServedDisk.read`. @throws {HoldfastError} `BlockMissing`, naming disk, point and offset. */
  async read(offset: number, target: Uint8Array): Promise<void> {
    await this.#renewingIndex(async () => await this.#read(offset, target));
  }

  /** Whoever boots from a point must not feel that a local cache is damaged. */
  async #renewingIndex<Result>(work: () => Promise<Result>): Promise<Result> {
    const { repository } = this.#options;
    const { keeper } = repository.parts;
    try {
      return await work();
    } catch (error) {
      if (!isHoldfastError(error, 'IndexDamaged')) throw error;
      await repository.renewIndex(keeper);
      return await work();
    }
  }

  async #read(offset: number, target: Uint8Array): Promise<void> {
    const end = offset + target.length;
    const last = Math.ceil(end / this.#blockSize);
    this.#readAhead(offset, end);
    const held: Held = { here: undefined };
    try {
      for (let block = Math.floor(offset / this.#blockSize); block < last;) {
        const ids = await this.#map.idsFrom(block, last - block);
        const start = block * this.#blockSize;
        const content = await this.#content(held, ids, start);
        const to = Math.min(start + content.count * this.#blockSize, end);
        const from = Math.max(start, offset);
        const part = target.subarray(from - offset, to - offset);
        if (content.bytes === undefined) part.fill(0);
        else part.set(content.bytes.subarray(from - start, to - start));
        block += content.count;
      }
    } finally {
      this.#letGo(held);
    }
  }

  async dataExtents(range: Extent): Promise<Extent[]> {
    return await this.#renewingIndex(async () => await this.#map.dataExtents(range));
  }

  /** The first of the blocks, as many as lie together, to be copied at once; keeps a frame in `held`. */
  async #content(held: Held, ids: Buffer, offset: number): Promise<Content> {
    const zeros = zeroCount(ids);
    if (zeros > 0) return { count: zeros, bytes: undefined };
    const id = ids.subarray(0, ID_BYTES);
    const next = nextIn(held.here, id);
    if (next === undefined) {
      this.#letGo(held);
      held.here = await this.#find(id);
    } else held.here = next;
    if (held.here === undefined) return { count: 1, bytes: await this.#other(id, offset) };
    const { frame, slot } = held.here;
    const count = sameCount(frame.ids.subarray(slot * ID_BYTES), ids);
    held.here = { frame, slot: slot + count - 1 };
    const bytes = frame.raw.subarray(slot * this.#blockSize, (slot + count) * this.#blockSize);
    return { count, bytes };
  }

  #letGo(held: Held): void {
    if (held.here !== undefined) this.#options.pool.release(held.here.frame);
    held.here = undefined;
  }

  /** The block in its best copy's frame; undefined: that copy cannot be used. */
  async #find(id: Buffer): Promise<Here | undefined> {
    const { repository, pool } = this.#options;
    const [place] = repository.parts.keeper.reader.places(id);
    if (place === undefined) return undefined;
    try {
      const frame = await pool.frame(place);
      if (isAt(frame, place.slot, id)) return { frame, slot: place.slot };
      pool.release(frame);
    } catch (error) {
      // `#other` looks at every copy and says why not.
      if (!isHoldfastError(error)) throw error;
    }
    return undefined;
  }

  /** The block from any copy. */
  async #other(id: Buffer, offset: number): Promise<Buffer> {
    const { repository, point, disk } = this.#options;
    try {
      return await repository.parts.keeper.reader.read(id);
    } catch (error) {
      if (!isHoldfastError(error, 'BlockMissing')) throw error;
      throw new HoldfastError(
        'BlockMissing',
        `${disk.name} of point ${point} cannot be read at offset ${offset}: ${error.message}`,
        { cause: error, details: { ...error.details, disk: disk.name, point, offset } },
      );
    }
  }

  /** Has the frames opened that this read wants, and, of a client that reads in order, the next. */
  #readAhead(offset: number, end: number): void {
    const stream = this.#streams.find(({ at }) => Math.abs(offset - at) <= NEAR_BYTES);
    if (stream === undefined) {
      if (this.#streams.length === MOST_STREAMS) this.#streams.shift();
      this.#streams.push({ at: end, begunTo: end });
      void this.#begin(offset, end);
      return;
    }
    stream.at = Math.max(end, stream.at);
    const start = stream.begunTo >= offset ? stream.begunTo : offset;
    const stop = Math.min(stream.at + AHEAD_BYTES, this.sizeBytes);
    stream.begunTo = Math.max(start, stop);
    void this.#begin(start, stop);
  }

  /** Never rejects: the read itself finds out what is wrong. */
  async #begin(start: number, stop: number): Promise<void> {
    const { repository, pool } = this.#options;
    try {
      for (let at = start; at < stop; at += FRAME_BYTES) {
        const id = await this.#map.idOf(Math.floor(at / this.#blockSize));
        if (id === undefined) continue;
        const [place] = repository.parts.keeper.reader.places(id);
        if (place !== undefined) pool.prefetch(place);
      }
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
    }
  }
}

/** How many ids at the beginning are those of zeros. */
function zeroCount(ids: Buffer): number {
  let bytes = 0;
  while (bytes < ids.length && ids[bytes] === 0) bytes += 1;
  return Math.floor(bytes / ID_BYTES);
}

/** How many ids both begin with; at least one. */
function sameCount(one: Buffer, other: Buffer): number {
  const most = Math.min(one.length, other.length);
  if (one.compare(other, 0, most, 0, most) === 0) return most / ID_BYTES;
  let bytes = 0;
  while (one[bytes] === other[bytes]) bytes += 1;
  return Math.floor(bytes / ID_BYTES);
}

/** The slot after `here`, if it holds the block. */
function nextIn(here: Here | undefined, id: Buffer): Here | undefined {
  if (here === undefined || !isAt(here.frame, here.slot + 1, id)) return undefined;
  return { frame: here.frame, slot: here.slot + 1 };
}

function isAt({ ids }: PoolFrame, slot: number, id: Buffer): boolean {
  const start = slot * ID_BYTES;
  return start < ids.length && ids.compare(id, 0, ID_BYTES, start, start + ID_BYTES) === 0;
}
