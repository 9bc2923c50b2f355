/**
 * What has been added since the last flush: an open-addressing table in typed arrays, of fixed
 * size, without an object or an allocation per record. An id may have several records; they lie in
 * one probe chain, so a lookup walks to the first empty slot.
 */
import assert from 'node:assert/strict';
import type { Found } from './found.ts';
import { NO_PACK, type Copy, type Key } from './record.ts';

const RADIX = 0x1_0000;

export class Memtable {
  readonly capacity: number;
  /** Records in use. */
  size = 0;
  /** One above the highest pack number that was added. */
  packLimit = 0;
  readonly #mask: number;
  /** Record number + 1, or 0. At most half full. */
  readonly #slots: Uint32Array;
  readonly #ids: Uint32Array;
  readonly #packs: Uint32Array;
  readonly #places: Uint32Array;
  readonly #shares: Uint32Array;
  readonly #deltas: Float64Array;

  constructor(capacity: number) {
    assert(capacity >= 8 && capacity <= 2 ** 24);
    this.capacity = capacity;
    const slotCount = 2 ** Math.ceil(Math.log2(capacity * 2));
    this.#mask = slotCount - 1;
    this.#slots = new Uint32Array(slotCount);
    this.#ids = new Uint32Array(capacity * 4);
    this.#packs = new Uint32Array(capacity);
    this.#places = new Uint32Array(capacity);
    this.#shares = new Uint32Array(capacity);
    this.#deltas = new Float64Array(capacity);
  }

  addCopy(key: Key, copy: Copy): void {
    checkRanges(copy);
    const place = (copy.frame << 8) | copy.slot;
    let countOnly = -1;
    let at = this.#home(key);
    for (let record = this.#slots[at]! - 1; record >= 0; record = this.#slots[at]! - 1) {
      if (this.#isOf(record, key)) {
        if (this.#packs[record] === NO_PACK) countOnly = record;
        else if (this.#packs[record] === copy.pack && this.#places[record] === place) {
          this.#shares[record] = Math.max(this.#shares[record]!, copy.share);
          return;
        }
      }
      at = (at + 1) & this.#mask;
    }
    const record = countOnly >= 0 ? countOnly : this.#insert(at, key);
    this.#packs[record] = copy.pack;
    this.#places[record] = place;
    this.#shares[record] = copy.share;
    if (copy.pack >= this.packLimit) this.packLimit = copy.pack + 1;
  }

  addCount(key: Key, delta: number): void {
    assert(Number.isSafeInteger(delta));
    let at = this.#home(key);
    for (let record = this.#slots[at]! - 1; record >= 0; record = this.#slots[at]! - 1) {
      if (this.#isOf(record, key)) {
        this.#deltas[record]! += delta;
        return;
      }
      at = (at + 1) & this.#mask;
    }
    const record = this.#insert(at, key);
    this.#packs[record] = NO_PACK;
    this.#deltas[record] = delta;
  }

  has(key: Key): boolean {
    let at = this.#home(key);
    for (let record = this.#slots[at]! - 1; record >= 0; record = this.#slots[at]! - 1) {
      if (this.#isOf(record, key)) return true;
      at = (at + 1) & this.#mask;
    }
    return false;
  }

  /** Adds the records of `key` to `into`. */
  find(key: Key, into: Found, isPackGone: (pack: number) => boolean): void {
    let at = this.#home(key);
    for (let record = this.#slots[at]! - 1; record >= 0; record = this.#slots[at]! - 1) {
      if (this.#isOf(record, key)) this.read(record, into, isPackGone);
      at = (at + 1) & this.#mask;
    }
  }

  /** Adds record number `record` to `into`. */
  read(record: number, into: Found, isPackGone: (pack: number) => boolean): void {
    into.count += this.#deltas[record]!;
    const pack = this.#packs[record]!;
    if (pack === NO_PACK || isPackGone(pack)) return;
    into.addCopy(pack, this.#places[record]!, this.#shares[record]!);
  }

  readKey(record: number, key: Key): void {
    for (let word = 0; word < 4; word++) key[word] = this.#ids[record * 4 + word]!;
  }

  isOf(record: number, key: Key): boolean {
    return this.#isOf(record, key);
  }

  clear(): void {
    this.#slots.fill(0);
    this.size = 0;
    this.packLimit = 0;
  }

  /** The record numbers in id order: two radix passes over the first word, then the few ties. */
  sorted(): Uint32Array {
    let from = new Uint32Array(this.size);
    for (let record = 0; record < this.size; record++) from[record] = record;
    let to = new Uint32Array(this.size);
    for (const shift of [0, 16]) {
      this.#radixPass(from, to, shift);
      [from, to] = [to, from];
    }
    this.#sortTies(from);
    return from;
  }

  #radixPass(from: Uint32Array, to: Uint32Array, shift: number): void {
    const starts = new Uint32Array(RADIX + 1);
    for (const record of from) starts[((this.#ids[record * 4]! >>> shift) & 0xffff) + 1]!++;
    for (let digit = 1; digit <= RADIX; digit++) starts[digit]! += starts[digit - 1]!;
    for (const record of from) {
      to[starts[(this.#ids[record * 4]! >>> shift) & 0xffff]!++] = record;
    }
  }

  #sortTies(order: Uint32Array): void {
    for (let start = 0; start < order.length;) {
      const first = this.#ids[order[start]! * 4];
      let end = start + 1;
      while (end < order.length && this.#ids[order[end]! * 4] === first) end++;
      if (end - start > 1) order.subarray(start, end).sort((a, b) => this.#compare(a, b));
      start = end;
    }
  }

  #compare(a: number, b: number): number {
    for (let word = 1; word < 4; word++) {
      const difference = this.#ids[a * 4 + word]! - this.#ids[b * 4 + word]!;
      if (difference !== 0) return difference;
    }
    return a - b;
  }

  #home(key: Key): number {
    const mixed = Math.imul(key[3]! ^ (key[1]! >>> 7), 0x9e37_79b1);
    return (mixed ^ (mixed >>> 15)) & this.#mask;
  }

  #isOf(record: number, key: Key): boolean {
    const at = record * 4;
    const ids = this.#ids;
    return (
      ids[at + 3] === key[3] &&
      ids[at] === key[0] &&
      ids[at + 1] === key[1] &&
      ids[at + 2] === key[2]
    );
  }

  #insert(at: number, key: Key): number {
    assert(this.size < this.capacity, 'the memtable is full: flush when needsFlush says so');
    const record = this.size++;
    this.#slots[at] = record + 1;
    this.#ids.set(key, record * 4);
    this.#places[record] = 0;
    this.#shares[record] = 0;
    this.#deltas[record] = 0;
    return record;
  }
}

function checkRanges({ pack, frame, slot, share }: Copy): void {
  assert(pack >= 0 && pack < NO_PACK);
  assert(frame >= 0 && frame <= 0xffff);
  assert(slot >= 0 && slot <= 0xff);
  assert(share >= 0 && share <= 0xff_ffff);
}
