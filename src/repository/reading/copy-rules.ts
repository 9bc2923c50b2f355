/**
 * Which copies of a block may be used, and for what (DESIGN §3.3). Plain data, so that worker threads
 * get it by message. One rule each:
 *
 * - *readable*: the pack is not gone and the frame not damaged;
 * - *counting*: of the readable copies, the one in the pack highest in the log;
 * - *findable* (deduplicated against): the counting copy, if no open mark names it.
 */
import type { Found } from '../block-index/index.ts';

/** The dead slots of one marked pack: bit `firstSlot[frame] + slot`. */
export type MarkedSlots = {
  readonly pack: number;
  readonly firstSlot: Uint32Array;
  readonly bits: Uint8Array;
};

export type CopyRulesData = {
  readonly packs: readonly (readonly [number, string])[];
  readonly damage: readonly (readonly [number, readonly number[]])[];
  readonly marks: readonly MarkedSlots[];
};

/** Kept by the applier in the main thread, renewed with the view elsewhere. */
export class CopyRules {
  readonly #packIds = new Map<number, Buffer>();
  readonly #damage = new Map<number, Set<number>>();
  readonly #marks = new Map<number, MarkedSlots>();

  static from(data: CopyRulesData): CopyRules {
    const rules = new CopyRules();
    for (const [number, id] of data.packs) rules.addPack(number, id, []);
    for (const [number, frames] of data.damage) {
      for (const frame of frames) rules.damageFrame(number, frame);
    }
    rules.setMarks(data.marks);
    return rules;
  }

  toData(): CopyRulesData {
    return {
      packs: Array.from(this.#packIds, ([number, id]) => [number, id.toString('hex')]),
      damage: Array.from(this.#damage, ([number, frames]) => [number, [...frames]]),
      marks: [...this.#marks.values()],
    };
  }

  /** Makes the pack's copies readable, but for its damaged frames. */
  addPack(number: number, id: string, damagedFrames: Iterable<number>): void {
    this.#packIds.set(number, Buffer.from(id, 'hex'));
    for (const frame of damagedFrames) this.damageFrame(number, frame);
  }

  removePack(number: number): void {
    this.#packIds.delete(number);
    this.#damage.delete(number);
    this.#marks.delete(number);
  }

  /** `frame` −1 is the whole pack. */
  damageFrame(number: number, frame: number): void {
    const frames = this.#damage.get(number) ?? new Set();
    frames.add(frame);
    this.#damage.set(number, frames);
  }

  /** As `damageFrame`, of a pack by its id; nothing if the pack is not known. */
  damageCopy(pack: string, frame: number): void {
    for (const [number, id] of this.#packIds) {
      if (id.toString('hex') === pack) this.damageFrame(number, frame);
    }
  }

  /** Takes `damageFrame` back. */
  repairFrame(number: number, frame: number): void {
    const frames = this.#damage.get(number);
    frames?.delete(frame);
    if (frames?.size === 0) this.#damage.delete(number);
  }

  /** Replaces the marks by those that are open now. */
  setMarks(marks: readonly MarkedSlots[]): void {
    this.#marks.clear();
    for (const mark of marks) this.#marks.set(mark.pack, mark);
  }

  packId(pack: number): Buffer | undefined {
    return this.#packIds.get(pack);
  }

  isReadable(pack: number, frame: number): boolean {
    if (!this.#packIds.has(pack)) return false;
    if (this.#damage.size === 0) return true;
    const frames = this.#damage.get(pack);
    return frames === undefined || !(frames.has(-1) || frames.has(frame));
  }

  isMarked(pack: number, frame: number, slot: number): boolean {
    if (this.#marks.size === 0) return false;
    const mark = this.#marks.get(pack);
    if (mark === undefined) return false;
    const bit = mark.firstSlot[frame]! + slot;
    return (mark.bits[bit >>> 3]! & (1 << (bit & 7))) !== 0;
  }

  /** Position in `found` of the counting copy, or −1. */
  countingCopy(found: Found): number {
    let best = -1;
    for (let at = 0; at < found.copyCount; at += 1) {
      if (!this.isReadable(found.packs[at]!, found.frames[at]!)) continue;
      if (best < 0 || found.packs[at]! > found.packs[best]!) best = at;
    }
    return best;
  }

  /** Whether a reader may use some copy. */
  hasReadable(found: Found): boolean {
    return this.countingCopy(found) >= 0;
  }

  /**
   * Whether a writer may rely on what is stored instead of storing it again: the counting copy must be
   * unmarked. Another copy is not enough: reclaiming keeps only counting ones, so a session that
   * relied on it would lose it together with a counting copy that is marked.
   */
  isFindable(found: Found): boolean {
    const at = this.countingCopy(found);
    return at >= 0 && !this.isMarked(found.packs[at]!, found.frames[at]!, found.slots[at]!);
  }

  get hasDamage(): boolean {
    return this.#damage.size > 0;
  }
}
