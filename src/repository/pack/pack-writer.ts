/**
 * Writes one pack, frame after frame.
 *
 *     new ──addFrame──► open ──addFrame… ──seal──► sealed (durable)
 *                         └──── abandon, an error ──► abandoned (nothing visible, or unknown to the log)
 *
 * A frame number, and so a nonce, is given out once and its bytes are sealed once (invariant 8): a
 * failed pack is never continued, and its id never used again. Sending the same bytes again is the
 * store's business.
 */
import assert from 'node:assert/strict';
import { freeMemory } from '#base';
import type { ObjectStore, ObjectWriter } from '#storage';
import type { PendingFrame } from './frame.ts';
import { PackCipher } from './pack-cipher.ts';
import { counterOf, packName } from './pack-id.ts';
import {
  HEADER_BYTES,
  ID_BYTES,
  MAX_FRAMES,
  MAX_PACK_BYTES,
  MAX_SLOTS,
  TAG_BYTES,
  TARGET_BYTES,
  TRAILER_BYTES,
  encodeHeader,
  encodeTrailer,
  frameLimit,
  unitOf,
  type PackHeader,
  type PackKeys,
  type PackKind,
} from './pack-layout.ts';
import {
  encodeFooter,
  footerBytes,
  frameProblem,
  hasZeroId,
  newTable,
  type PackFooter,
} from './pack-footer.ts';

export type PackWriterOptions = {
  readonly store: ObjectStore;
  readonly keys: PackKeys;
  readonly packId: Buffer;
  readonly kind: PackKind;
};

export type SealedPack = {
  readonly packId: Buffer;
  readonly counter: number;
  readonly kind: PackKind;
  /** Of the whole object. */
  readonly sizeBytes: number;
  readonly footer: PackFooter;
};

type Row = Pick<PendingFrame['frame'], 'codec' | 'rawLength'> & {
  readonly sealedLength: number;
  readonly ids: Buffer;
};

export class PackWriter {
  readonly header: PackHeader;
  readonly #store: ObjectStore;
  readonly #keys: PackKeys;
  readonly #cipher: PackCipher;
  readonly #rows: Row[] = [];
  #writer: ObjectWriter | undefined;
  #framesEnd = HEADER_BYTES;
  #slotCount = 0;
  #state: 'open' | 'busy' | 'sealed' | 'abandoned' = 'open';

  /** Touches the store only at the first frame, so an unused writer leaves nothing behind. */
  constructor({ store, keys, packId, kind }: PackWriterOptions) {
    this.header = { packId, kind, generation: keys.generation };
    this.#store = store;
    this.#keys = keys;
    this.#cipher = new PackCipher(keys, this.header);
  }

  get frameCount(): number {
    return this.#rows.length;
  }

  /** What the object will have if it is sealed now. */
  get sizeBytes(): number {
    return this.#sizeWith(0, 0);
  }

  /** Whether the pack has reached its target size: the next frame belongs in another. */
  get isFull(): boolean {
    const { kind } = this.header;
    return this.#framesEnd >= TARGET_BYTES[kind] || this.#rows.length >= MAX_FRAMES;
  }

  /**
   * Seals and appends a frame; calls come one after another. The pack keeps `ids`; the frame's bytes
   * may be reused on return. After a rejection the pack is abandoned.
   *
   * @returns the frame's number in the pack.
   * @throws {HoldfastError} the store's errors.
   */
  async addFrame({ frame, ids }: PendingFrame): Promise<number> {
    this.#checkFrame({ frame, ids });
    return this.#exclusively(async () => {
      const number = this.#rows.length;
      const writer = await this.#openWriter();
      const sealed = this.#cipher.sealFrame(number, frame.bytes);
      const { codec, rawLength } = frame;
      this.#rows.push({ codec, rawLength, ids, sealedLength: sealed.length });
      this.#framesEnd += sealed.length;
      this.#slotCount += ids.length / ID_BYTES;
      await writer.write(sealed);
      freeMemory(sealed);
      return number;
    });
  }

  /**
   * Writes footer and trailer and makes the pack durable; it has at least one frame. After a rejection
   * the pack is abandoned, though its object may exist: no log entry names it.
   *
   * @throws {HoldfastError} the store's errors; `ObjectExists` if its name was used before.
   */
  async seal(): Promise<SealedPack> {
    assert(this.#rows.length > 0, 'a pack has a frame');
    const footer = this.#footer();
    const { packId, kind } = this.header;
    const { sizeBytes, frameCount } = footer;
    await this.#exclusively(async () => {
      const writer = await this.#openWriter();
      const sealed = this.#cipher.sealFooter(encodeFooter(footer));
      const lengths = { footerBytes: sealed.length, frameCount, sizeBytes };
      await writer.write(
        Buffer.concat([sealed, encodeTrailer({ header: this.header, ...lengths })]),
      );
      assert(writer.writtenBytes === sizeBytes, 'the bytes written are the size of the pack');
      await writer.commit();
    });
    this.#state = 'sealed';
    return { packId, counter: counterOf(packId), kind, sizeBytes, footer };
  }

  /** Drops what was written; does nothing to a pack that is sealed or abandoned. */
  async abandon(): Promise<void> {
    if (this.#state === 'sealed' || this.#state === 'abandoned') return;
    this.#state = 'abandoned';
    await this.#writer?.abort();
  }

  /** Runs one step of an open pack; if it fails, the pack is abandoned and the error thrown. */
  async #exclusively<T>(step: () => Promise<T>): Promise<T> {
    assert(this.#state === 'open', `the pack is ${this.#state}`);
    this.#state = 'busy';
    try {
      const result = await step();
      assert(this.#state === 'busy', `the pack is ${this.#state}`);
      this.#state = 'open';
      return result;
    } catch (error) {
      // What an abort that fails as well leaves behind is discarded with the session's remains.
      await this.abandon().catch(() => undefined);
      throw error;
    }
  }

  async #openWriter(): Promise<ObjectWriter> {
    if (this.#writer !== undefined) return this.#writer;
    const writer = await this.#store.openWriter(packName(this.header.packId));
    this.#writer = writer;
    await writer.write(encodeHeader(this.header));
    return writer;
  }

  #checkFrame({ frame, ids }: PendingFrame): void {
    const { blockSize } = this.#keys;
    const { kind } = this.header;
    const slots = ids.length / ID_BYTES;
    const sealedLength = frame.bytes.length + TAG_BYTES;
    const shape = { sealedLength, rawLength: frame.rawLength, slots, codec: frame.codec };
    const limits = { unitBytes: unitOf(kind, blockSize), limitBytes: frameLimit(kind, blockSize) };
    assert(this.#rows.length < MAX_FRAMES, 'frames of a pack');
    assert(Number.isInteger(slots) && slots <= MAX_SLOTS, 'ids are 16 bytes a slot');
    assert.equal(frameProblem({ ...shape, ...limits }), undefined);
    assert(!hasZeroId(ids), 'what is all zero is not stored');
    assert(this.#sizeWith(sealedLength, slots) <= MAX_PACK_BYTES, 'a pack is below 4 GiB');
  }

  #sizeWith(sealedLength: number, slots: number): number {
    const frames = this.#rows.length + (sealedLength > 0 ? 1 : 0);
    const footer = footerBytes(frames, this.#slotCount + slots) + TAG_BYTES;
    return this.#framesEnd + sealedLength + footer + TRAILER_BYTES;
  }

  #footer(): PackFooter {
    const { header } = this;
    const table = newTable({
      ...header,
      name: packName(header.packId),
      unitBytes: unitOf(header.kind, this.#keys.blockSize),
      sizeBytes: this.sizeBytes,
      frameCount: this.#rows.length,
    });
    let offset = HEADER_BYTES;
    let firstSlot = 0;
    for (const [frame, row] of this.#rows.entries()) {
      table.offsets[frame] = offset;
      table.sealedLengths[frame] = row.sealedLength;
      table.rawLengths[frame] = row.rawLength;
      table.slotCounts[frame] = row.ids.length / ID_BYTES;
      table.codecs[frame] = row.codec;
      offset += row.sealedLength;
      firstSlot += row.ids.length / ID_BYTES;
      table.firstSlots[frame + 1] = firstSlot;
    }
    return { ...table, ids: Buffer.concat(this.#rows.map((row) => row.ids)) };
  }
}
