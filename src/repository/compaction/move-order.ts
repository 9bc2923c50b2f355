/**
 * The order in which compaction stores the blocks of scattered items: item by item, of an item by which of
 * a few of its points need them, from oldest to newest, and then in the order of the disks. Then each of
 * these points needs a frame as a whole or not at all, and an old point reads as little for nothing as the
 * newest (promise 7); what lies in between reads little. What none of them needs comes last, as it lay.
 *
 * A frame that is kept as a whole and lies in one group stays together: it needs no decompressing.
 */
import { idOf, type PackFooter } from '../pack/pack-footer.ts';
import type { RepositoryParts } from '../repository-parts.ts';
import { eachBlockOf } from './each-block.ts';

export type MovedPiece = {
  /** Ascends with pack, frame and slot. */
  readonly at: number;
  /** Position of the pack in the move. */
  readonly pack: number;
  readonly frame: number;
  /** Undefined: the whole frame. */
  readonly slot: number | undefined;
};

/** Content in memory at once: 64 MiB. */
const BATCH_BYTES = 64 * 1024 * 1024;
const ID_BYTES = 16;
/** Points of an item that its blocks are grouped by. */
export const MOST_POINTS = 4;
const GROUPS = 2 ** MOST_POINTS;
/** By which points need a block (bit 0: the oldest): what the oldest needs first, what all need between. */
const GROUP_OF_NEED = groupsInOrder();

export class MoveOrder {
  readonly #footers: readonly PackFooter[];
  readonly #packs: Uint32Array;
  readonly #frames: Uint16Array;
  readonly #slots: Uint8Array;
  readonly #ids: Buffer;
  /** 1 + item; 0: of none. */
  readonly #items: Uint32Array;
  /** Bit n: point n of its item needs it. */
  readonly #needs: Uint8Array;
  /** How many blocks its point has before it. */
  readonly #ranks: Float64Array;
  #count = 0;

  constructor(footers: readonly PackFooter[]) {
    const most = footers.reduce((sum, footer) => sum + footer.firstSlots[footer.frameCount]!, 0);
    this.#footers = footers;
    this.#packs = new Uint32Array(most);
    this.#frames = new Uint16Array(most);
    this.#slots = new Uint8Array(most);
    this.#ids = Buffer.allocUnsafeSlow(most * ID_BYTES);
    this.#items = new Uint32Array(most);
    this.#needs = new Uint8Array(most);
    this.#ranks = new Float64Array(most);
  }

  get blockCount(): number {
    return this.#count;
  }

  /** Adds a block to move, in ascending order of pack, frame and slot. */
  add({ pack, frame, slot }: { pack: number; frame: number; slot: number }): void {
    const at = this.#count;
    this.#packs[at] = pack;
    this.#frames[at] = frame;
    this.#slots[at] = slot;
    idOf(this.#footers[pack]!, frame, slot).copy(this.#ids, at * ID_BYTES);
    this.#count += 1;
  }

  /** Finds which of the items' points need what. An item is some of its points, oldest first. */
  async rank(parts: RepositoryParts, items: readonly (readonly string[])[]): Promise<void> {
    const table = new IdTable(this.#ids, this.#count);
    for (const [item, points] of items.entries()) {
      for (const [bit, id] of points.slice(0, MOST_POINTS).entries()) {
        const point = parts.history.state.points.get(id);
        if (point === undefined) continue;
        let rank = 0;
        await eachBlockOf(parts, point, (block) => {
          rank += 1;
          const at = table.find(block);
          if (at < 0 || (this.#items[at] !== 0 && this.#items[at] !== item + 1)) return;
          this.#items[at] = item + 1;
          this.#needs[at]! |= 1 << bit;
          this.#ranks[at] = rank;
        });
      }
    }
  }

  /** What some point of the items needs, in order, in batches of bounded content. */
  *batches(): Generator<MovedPiece[]> {
    const { pieces, isWhole } = this.#pieces();
    const most = Math.max(1, Math.floor(BATCH_BYTES / (this.#footers[0]?.unitBytes ?? 1)));
    let batch: MovedPiece[] = [];
    let inMemory = 0;
    for (const at of this.#sorted(pieces)) {
      const whole = isWhole[at] === 1;
      const [pack, frame] = [this.#packs[at]!, this.#frames[at]!];
      batch.push({ at, pack, frame, slot: whole ? undefined : this.#slots[at]! });
      if (!whole) inMemory += 1;
      if (inMemory < most && batch.length < 4 * most) continue;
      yield batch;
      batch = [];
      inMemory = 0;
    }
    if (batch.length > 0) yield batch;
  }

  /** Blocks, and the first of each frame that stays together. */
  #pieces(): { readonly pieces: Uint32Array; readonly isWhole: Uint8Array } {
    const pieces = new Uint32Array(this.#count);
    const isWhole = new Uint8Array(this.#count);
    let count = 0;
    for (let at = 0; at < this.#count;) {
      const end = this.#frameEnd(at);
      const group = this.#group(at);
      const slots = this.#footers[this.#packs[at]!]!.slotCounts[this.#frames[at]!]!;
      let whole = end - at === slots;
      for (let next = at + 1; whole && next < end; next += 1) whole = this.#group(next) === group;
      if (whole) isWhole[at] = 1;
      for (let next = at; next < (whole ? at + 1 : end); next += 1) {
        if (this.#items[next] !== 0) pieces[count++] = next;
      }
      at = end;
    }
    return { pieces: pieces.subarray(0, count), isWhole };
  }

  #frameEnd(at: number): number {
    let end = at + 1;
    while (
      end < this.#count &&
      this.#packs[end] === this.#packs[at] &&
      this.#frames[end] === this.#frames[at]
    ) {
      end += 1;
    }
    return end;
  }

  #group(at: number): number {
    return this.#items[at]! * GROUPS + GROUP_OF_NEED[this.#needs[at]!]!;
  }

  #sorted(pieces: Uint32Array): Uint32Array {
    return pieces.sort(
      (a, b) => this.#group(a) - this.#group(b) || this.#ranks[a]! - this.#ranks[b]! || a - b,
    );
  }
}

/** Positions of ids, open addressing; ids are evenly distributed. */
class IdTable {
  readonly #ids: Buffer;
  /** 1 + position; 0: free. */
  readonly #entries: Uint32Array;
  readonly #mask: number;

  constructor(ids: Buffer, count: number) {
    this.#ids = ids;
    const capacity = 2 ** Math.ceil(Math.log2(2 * count + 16));
    this.#entries = new Uint32Array(capacity);
    this.#mask = capacity - 1;
    for (let at = 0; at < count; at += 1) {
      const id = ids.subarray(at * ID_BYTES, (at + 1) * ID_BYTES);
      if (this.find(id) < 0) this.#entries[this.#slotOf(id)] = at + 1;
    }
  }

  /** −1: it is not there. */
  find(id: Buffer): number {
    return this.#entries[this.#slotOf(id)]! - 1;
  }

  /** Where the id is or would be. */
  #slotOf(id: Buffer): number {
    for (let slot = id.readUInt32LE(0) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const entry = this.#entries[slot]!;
      if (entry === 0) return slot;
      const start = (entry - 1) * ID_BYTES;
      if (id.compare(this.#ids, start, start + ID_BYTES) === 0) return slot;
    }
  }
}

function groupsInOrder(): readonly number[] {
  const middle = (need: number): number =>
    Math.log2(need & -need) + Math.floor(Math.log2(need)) + need / GROUPS;
  const needs = Array.from({ length: GROUPS - 1 }, (_, at) => at + 1);
  const inOrder = [0, ...needs.sort((a, b) => middle(a) - middle(b))];
  return Array.from({ length: GROUPS }, (_, need) => inOrder.indexOf(need));
}
