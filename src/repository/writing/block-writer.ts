/**
 * Stores new blocks and pages of one session: gathers them into frames, compresses, seals and appends
 * them to packs. One per worker thread and one in the main thread; they share a claim table and a
 * counter, so that a block is stored once and no pack id is used twice.
 *
 * Small backups make one data pack and one page pack whatever the number of workers: up to 4 MiB of
 * compressed frames wait unsealed; who has more opens packs, who has less hands them to the main
 * thread's writer at the end (`finish`, `adopt`).
 */
import { freeMemory } from '#base';
import { type ObjectStore } from '#storage';
import type { Keyring } from '../keys/keyring.ts';
import type { PackKind } from '../log/log-entry.ts';
import { compressFrame, type PendingFrame } from '../pack/frame.ts';
import { packIdOf } from '../pack/pack-id.ts';
import { PackWriter, type SealedPack } from '../pack/pack-writer.ts';
import type { ClaimTable } from './claims.ts';

/** Compressed bytes that may wait before a writer opens a pack of its own. */
const WAITING_BYTES = 4 * 1024 * 1024;
const DATA_FRAME_BYTES = 256 * 1024;
const PAGE_FRAME_BYTES = 16 * 1024;

export type BlockWriterOptions = {
  readonly keyring: Keyring;
  readonly store: ObjectStore;
  /** The session's id, 16 bytes. */
  readonly session: Buffer;
  /** Takes the next pack counter of the session. */
  readonly nextCounter: () => number;
  readonly claims: ClaimTable;
  /** Whether the id is stored already, as the session sees the index. */
  readonly isStored: (id: Buffer) => boolean;
  /** Told of each pack when it is durable. */
  readonly onSealed: (pack: SealedPack) => void;
};

/** Frames compressed but not sealed, by kind. */
export type WaitingFrames = Readonly<Record<PackKind, readonly PendingFrame[]>>;

export class BlockWriter {
  readonly #options: BlockWriterOptions;
  readonly #lanes: Readonly<Record<PackKind, Lane>>;
  /** Bytes of blocks and pages that were new, before compression. */
  newBytes = 0;

  constructor(options: BlockWriterOptions) {
    const { blockSize } = options.keyring;
    this.#options = options;
    this.#lanes = {
      data: new Lane(options, {
        kind: 'data',
        unitBytes: blockSize,
        frameBytes: Math.max(DATA_FRAME_BYTES, blockSize),
      }),
      page: new Lane(options, { kind: 'page', unitBytes: 1024, frameBytes: PAGE_FRAME_BYTES }),
    };
  }

  /**
   * Stores a block or page unless it is stored or claimed already.
   *
   * @returns undefined if nothing was to do, or done at once; a promise to await where a frame was
   *   written. `content` may be reused on return.
   */
  put(kind: PackKind, content: Buffer, id: Buffer): Promise<void> | undefined {
    if (this.#options.isStored(id) || !this.#options.claims.claim(id)) return undefined;
    return this.store(kind, content, id);
  }

  /** As `put`, without asking whether it is stored. */
  store(kind: PackKind, content: Buffer, id: Buffer): Promise<void> | undefined {
    this.newBytes += content.length;
    return this.#lanes[kind].add(content, id);
  }

  /** Takes a frame that is compressed already. */
  push(kind: PackKind, frame: PendingFrame): Promise<void> {
    return this.#lanes[kind].push(frame);
  }

  /** Takes over frames that another writer of the session left waiting. */
  async adopt(frames: WaitingFrames): Promise<void> {
    for (const kind of ['data', 'page'] as const) {
      for (const frame of frames[kind]) await this.#lanes[kind].push(frame);
    }
  }

  /**
   * Ends the open packs. What never made a pack is returned, unless `sealAll`: then it is sealed into
   * one pack a kind.
   */
  async finish(options: { readonly sealAll: boolean }): Promise<WaitingFrames> {
    return {
      data: await this.#lanes.data.finish(options.sealAll),
      page: await this.#lanes.page.finish(options.sealAll),
    };
  }

  /** Drops everything unsealed, after a failure. */
  async abandon(): Promise<void> {
    await this.#lanes.data.abandon();
    await this.#lanes.page.abandon();
  }
}

type LaneShape = {
  readonly kind: PackKind;
  readonly unitBytes: number;
  readonly frameBytes: number;
};

/** One kind's frame in the making, frames waiting, and open pack. */
class Lane {
  readonly #options: BlockWriterOptions;
  readonly #shape: LaneShape;
  #raw: Buffer;
  #ids: Buffer;
  #slots = 0;
  #waiting: PendingFrame[] = [];
  #waitingBytes = 0;
  #pack: PackWriter | undefined;

  constructor(options: BlockWriterOptions, shape: LaneShape) {
    this.#options = options;
    this.#shape = shape;
    this.#raw = Buffer.allocUnsafe(shape.frameBytes);
    this.#ids = Buffer.allocUnsafe((shape.frameBytes / shape.unitBytes) * 16);
  }

  add(content: Buffer, id: Buffer): Promise<void> | undefined {
    content.copy(this.#raw, this.#slots * this.#shape.unitBytes);
    id.copy(this.#ids, this.#slots * 16);
    this.#slots += 1;
    if (this.#slots * this.#shape.unitBytes < this.#shape.frameBytes) return undefined;
    return this.push(this.#takeFrame());
  }

  #takeFrame(): PendingFrame {
    const raw = this.#raw.subarray(0, this.#slots * this.#shape.unitBytes);
    const compressed = compressFrame(raw);
    const isRaw = compressed.codec === 0;
    const frame = {
      frame: isRaw ? { ...compressed, bytes: Buffer.from(compressed.bytes) } : compressed,
      ids: Buffer.from(this.#ids.subarray(0, this.#slots * 16)),
    };
    this.#slots = 0;
    return frame;
  }

  async push(frame: PendingFrame): Promise<void> {
    if (this.#pack !== undefined) return this.#append(frame);
    this.#waiting.push(frame);
    this.#waitingBytes += frame.frame.bytes.length;
    if (this.#waitingBytes > WAITING_BYTES) await this.#sealWaiting();
  }

  async #sealWaiting(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const frame of waiting) await this.#append(frame);
  }

  async #append(frame: PendingFrame): Promise<void> {
    this.#pack ??= new PackWriter({
      store: this.#options.store,
      keys: this.#options.keyring,
      packId: packIdOf({ session: this.#options.session, counter: this.#options.nextCounter() }),
      kind: this.#shape.kind,
    });
    await this.#pack.addFrame(frame);
    freeMemory(frame.frame.bytes);
    if (this.#pack.isFull) await this.#sealPack();
  }

  async #sealPack(): Promise<void> {
    const pack = this.#pack;
    if (pack === undefined) return;
    this.#options.onSealed(await pack.seal());
    this.#pack = undefined;
  }

  async finish(sealAll: boolean): Promise<readonly PendingFrame[]> {
    if (this.#slots > 0) await this.push(this.#takeFrame());
    if (sealAll) await this.#sealWaiting();
    await this.#sealPack();
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    return waiting;
  }

  async abandon(): Promise<void> {
    this.#slots = 0;
    this.#waiting = [];
    this.#waitingBytes = 0;
    await this.#pack?.abandon();
    this.#pack = undefined;
  }
}
