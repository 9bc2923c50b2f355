/** What a lookup gives, and the one place where records of an id are folded together. */
import assert from 'node:assert/strict';
import { NO_PACK, type Key } from './record.ts';

const TWO_32 = 0x1_0000_0000;
const DELTA_LIMIT = 2 ** 47;

/**
 * What the index knows of one id. Made once and filled again by every lookup: reading it makes no
 * garbage. Copies are distinct and sorted by pack, frame, slot; `i` below is from 0 to `copyCount`.
 */
export class Found {
  /** Placements; 0 for an id without any. */
  count = 0;
  copyCount = 0;
  packs = new Uint32Array(8);
  shares = new Uint32Array(8);
  frames = new Uint16Array(8);
  slots = new Uint8Array(8);

  reset(): void {
    this.count = 0;
    this.copyCount = 0;
  }

  /** Adds a copy unless it is there; should two differ in share, the larger stands (any order, same result). */
  addCopy(pack: number, place: number, share: number): void {
    let at = this.copyCount;
    while (at > 0 && this.#compare(at - 1, pack, place) > 0) at--;
    if (at > 0 && this.#compare(at - 1, pack, place) === 0) {
      if (share > this.shares[at - 1]!) this.shares[at - 1] = share;
      return;
    }
    if (this.copyCount === this.packs.length) this.#grow();
    if (at < this.copyCount) this.#shift(at);
    this.packs[at] = pack;
    this.frames[at] = place >>> 8;
    this.slots[at] = place & 0xff;
    this.shares[at] = share;
    this.copyCount++;
  }

  /** Adds what the record at `offset` says. */
  addRecord(view: DataView, offset: number, isPackGone: (pack: number) => boolean): void {
    this.count += view.getInt16(offset + 30, true) * TWO_32 + view.getUint32(offset + 26, true);
    const pack = view.getUint32(offset + 16, true);
    if (pack === NO_PACK || isPackGone(pack)) return;
    const slotAndShare = view.getUint32(offset + 22, true);
    const place = (view.getUint16(offset + 20, true) << 8) | (slotAndShare & 0xff);
    this.addCopy(pack, place, slotAndShare >>> 8);
  }

  /** Writes copy `i` (or, with `i` = −1, no copy) of `key` at `offset`; the first record carries the count. */
  writeRecord(view: DataView, offset: number, { key, i }: { key: Key; i: number }): void {
    for (let word = 0; word < 4; word++) view.setUint32(offset + word * 4, key[word]!);
    view.setUint32(offset + 16, i < 0 ? NO_PACK : this.packs[i]!, true);
    view.setUint16(offset + 20, i < 0 ? 0 : this.frames[i]!, true);
    view.setUint32(offset + 22, i < 0 ? 0 : ((this.shares[i]! << 8) | this.slots[i]!) >>> 0, true);
    const delta = i <= 0 ? this.count : 0;
    assert(delta >= -DELTA_LIMIT && delta < DELTA_LIMIT, 'a placement count left 48 bits');
    view.setUint32(offset + 26, delta >>> 0, true);
    view.setInt16(offset + 30, Math.floor(delta / TWO_32), true);
  }

  #compare(i: number, pack: number, place: number): number {
    const difference = this.packs[i]! - pack;
    return difference !== 0 ? difference : this.frames[i]! * 256 + this.slots[i]! - place;
  }

  #shift(at: number): void {
    for (const column of [this.packs, this.frames, this.slots, this.shares]) {
      column.copyWithin(at + 1, at, this.copyCount);
    }
  }

  #grow(): void {
    const { packs, frames, slots, shares } = this;
    const length = packs.length * 2;
    this.packs = new Uint32Array(length);
    this.frames = new Uint16Array(length);
    this.slots = new Uint8Array(length);
    this.shares = new Uint32Array(length);
    this.packs.set(packs);
    this.frames.set(frames);
    this.slots.set(slots);
    this.shares.set(shares);
  }
}

export const newFound = (): Found => new Found();
