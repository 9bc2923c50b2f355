/**
 * Applies the log's effects to the index: copies, placement counts, live bytes (invariant 9).
 *
 * Every step is one copy or one delta, in a fixed order; `cursor` counts the steps of the entry that
 * is being applied. When the table in memory is full it is flushed together with the position and
 * the cursor, so that a long entry survives a crash in the middle: opening applies it again and skips
 * as many steps. A walk waits for that through its page source (`cached` answers undefined).
 *
 * A page that cannot be read counts as zeros and sets `isIncomplete`: from then on nothing may be
 * reclaimed until a rebuild has met no such page. In a replay it throws `IndexDamaged` instead.
 */
import { HoldfastError, isHoldfastError } from '#base';
import type { BlockIndex } from '../block-index/block-index.ts';
import { newFound } from '../block-index/index.ts';
import type { Effect } from '../history/fold.ts';
import type { DamagedFrame } from '../log/log-entry.ts';
import type { PageSource } from '../map/placement.ts';
import { pointAdded, pointRemoved } from '../map/placement-walk.ts';
import { shareOf, type PackFooter } from '../pack/pack-footer.ts';
import type { CopyRules } from '../reading/copy-rules.ts';
import type { PackTable, PackTableJson } from './pack-table.ts';

const ZERO_PAGE = Buffer.alloc(1024);

export type AppliedPosition = {
  readonly number: number;
  readonly hash: string;
  /** Steps of entry `number + 1` that are applied as well. */
  readonly cursor: number;
};

export type ApplierOptions = {
  readonly index: BlockIndex;
  readonly packs: PackTable;
  readonly rules: CopyRules;
  readonly pages: PageSource;
  readonly footer: (pack: string) => Promise<PackFooter>;
  /** Damaged frames of a pack, as of the entry that is applied. */
  readonly damageOf: (pack: string) => Iterable<number>;
};

/** What the applier keeps with the index, saved at each flush. */
export type AppliedState = {
  readonly packs: PackTableJson;
  readonly owned: readonly (readonly [string, number])[];
  readonly ownedEffects: number;
  readonly isIncomplete: boolean;
};

/** How the placements of an expired point were shared out, in blocks. */
export type MergeCounts = {
  merged: number;
  deleted: number;
  /** By how much the live bytes fell. */
  freedBytes: number;
};

export class Applier {
  readonly #options: ApplierOptions;
  readonly #found = newFound();
  readonly #pages: PageSource;
  /** Blocks owned, by `chain/point`. */
  readonly #owned: Map<string, number>;
  /** Packs whose footer could not be read: their copies are not in the index. */
  readonly unreadablePacks = new Set<string>();
  #position: AppliedPosition;
  #step = 0;
  #skip = 0;
  /** The flush before a page: pages of several maps are asked for at once, one flush serves them all. */
  #flushing: Promise<void> | undefined;
  #ownedEffects: number;
  #isStrict = false;
  #isIncomplete: boolean;

  constructor(options: ApplierOptions, position: AppliedPosition, saved?: AppliedState) {
    this.#options = options;
    this.#position = position;
    this.#owned = new Map(saved?.owned);
    this.#ownedEffects = saved?.ownedEffects ?? 0;
    this.#isIncomplete = saved?.isIncomplete ?? false;
    this.#pages = {
      cached: (id) => (options.index.needsFlush ? undefined : options.pages.cached(id)),
      page: (id) => this.#page(id),
    };
  }

  get position(): AppliedPosition {
    return this.#position;
  }

  get isIncomplete(): boolean {
    return this.#isIncomplete;
  }

  /** Blocks owned by the point in the chain (DESIGN §3.3). */
  ownedBlocks(chain: string, point: string): number {
    return this.#owned.get(`${chain}/${point}`) ?? 0;
  }

  /**
   * Applies one entry's effects; the position is then that entry's.
   *
   * @param options.isStrict in a replay: an unreadable page or pack throws `IndexDamaged`.
   */
  async apply(
    entry: { readonly number: number; readonly hash: string },
    effects: readonly Effect[],
    options: { readonly isStrict: boolean },
  ): Promise<MergeCounts> {
    const counts: MergeCounts = { merged: 0, deleted: 0, freedBytes: 0 };
    const liveBefore = this.#options.packs.liveBytes;
    this.#step = 0;
    this.#skip = this.#position.cursor;
    this.#isStrict = options.isStrict;
    if (this.#skip === 0) this.#ownedEffects = 0;
    for (const [at, effect] of effects.entries()) {
      const isOwnedDone = at < this.#ownedEffects;
      await this.#applyEffect(effect, { counts, isOwnedDone });
      this.#ownedEffects = Math.max(this.#ownedEffects, at + 1);
    }
    this.#position = { number: entry.number, hash: entry.hash, cursor: 0 };
    this.#step = 0;
    this.#ownedEffects = 0;
    counts.freedBytes = liveBefore - this.#options.packs.liveBytes;
    if (this.#options.index.needsFlush) await this.flush();
    return counts;
  }

  async #applyEffect(
    effect: Effect,
    run: { readonly counts: MergeCounts; readonly isOwnedDone: boolean },
  ): Promise<void> {
    switch (effect.type) {
      case 'packs-added':
        for (const pack of effect.packs) await this.#addPack(pack);
        return;
      case 'packs-doomed':
        for (const pack of effect.packs) this.#doomPack(pack);
        return;
      case 'frames-damaged':
        await this.#damageFrames(effect.frames);
        return;
      case 'frames-repaired':
        await this.#repairFrames(effect.frames);
        return;
      case 'point-added': {
        const owned = await pointAdded(this.#pages, rootsOf(effect), this.#sink);
        if (!run.isOwnedDone) this.#owned.set(`${effect.chain}/${effect.point}`, owned);
        return;
      }
      case 'point-removed':
        await this.#removePoint(effect, run);
    }
  }

  async #removePoint(
    effect: Extract<Effect, { type: 'point-removed' }>,
    run: { readonly counts: MergeCounts; readonly isOwnedDone: boolean },
  ): Promise<void> {
    const walked = await pointRemoved(this.#pages, rootsOf(effect), this.#sink);
    run.counts.deleted += walked.deleted;
    if (run.isOwnedDone) return;
    const merged = this.ownedBlocks(effect.chain, effect.point) - walked.deleted;
    this.#owned.delete(`${effect.chain}/${effect.point}`);
    if (effect.nextPoint === undefined) return;
    run.counts.merged += merged;
    const key = `${effect.chain}/${effect.nextPoint}`;
    this.#owned.set(key, (this.#owned.get(key) ?? 0) + merged - walked.joined);
  }

  readonly #sink = (_kind: 'block' | 'page', id: Buffer, delta: 1 | -1): void => {
    this.#step += 1;
    if (this.#step <= this.#skip) return;
    const { index, packs, rules } = this.#options;
    const found = this.#found;
    index.find(id, found);
    const after = found.count + delta;
    if (after < 0) throw new HoldfastError('IndexDamaged', 'the index counts less than nothing');
    if (found.count === 0 || after === 0) {
      const at = rules.countingCopy(found);
      if (at >= 0) packs.addLive(found.packs[at]!, delta * found.shares[at]!);
    }
    index.addCount(id, delta);
  };

  async #page(id: Buffer): Promise<Buffer> {
    if (this.#options.index.needsFlush) {
      this.#flushing ??= this.flush().finally(() => (this.#flushing = undefined));
      await this.#flushing;
    }
    try {
      return this.#options.pages.cached(id) ?? (await this.#options.pages.page(id));
    } catch (error) {
      this.#assertLost(error);
      this.#isIncomplete = true;
      return ZERO_PAGE;
    }
  }

  /** Throws where what could not be read must not be passed over. */
  #assertLost(error: unknown): void {
    const isLost =
      isHoldfastError(error) && (error.kind === 'corrupt' || error.kind === 'notFound');
    if (!isLost) throw error;
    if (this.#isStrict) {
      throw new HoldfastError('IndexDamaged', 'the index is too old to be caught up', {
        cause: error,
      });
    }
  }

  async #addPack(pack: string): Promise<void> {
    const { index, packs, rules } = this.#options;
    let footer: PackFooter;
    try {
      footer = await this.#options.footer(pack);
    } catch (error) {
      this.#assertLost(error);
      this.unreadablePacks.add(pack);
      packs.add(pack, { frameBytes: 0, slotCount: 0 });
      return;
    }
    const last = footer.frameCount - 1;
    const number = packs.add(pack, {
      frameBytes: footer.offsets[last]! + footer.sealedLengths[last]! - footer.offsets[0]!,
      slotCount: footer.firstSlots[footer.frameCount]!,
    });
    rules.addPack(number, pack, this.#options.damageOf(pack));
    for (let frame = 0; frame < footer.frameCount; frame += 1) {
      if (index.needsFlush) await this.flush();
      this.#addFrame(footer, { number, frame });
    }
  }

  #addFrame(footer: PackFooter, at: { readonly number: number; readonly frame: number }): void {
    const slots = footer.slotCounts[at.frame]!;
    for (let slot = 0; slot < slots; slot += 1) {
      this.#step += 1;
      if (this.#step <= this.#skip) continue;
      const first = (footer.firstSlots[at.frame]! + slot) * 16;
      const id = footer.ids.subarray(first, first + 16);
      const share = shareOf(footer, at.frame, slot);
      this.#moveLive(id, { pack: at.number, frame: at.frame, share });
      this.#options.index.addCopy(id, { pack: at.number, frame: at.frame, slot, share });
    }
  }

  /** A live block's bytes count in its newest readable copy: before a copy is added, move them. */
  #moveLive(
    id: Buffer,
    copy: { readonly pack: number; readonly frame: number; readonly share: number },
  ): void {
    const { index, packs, rules } = this.#options;
    const found = this.#found;
    index.find(id, found);
    if (found.count === 0 || !rules.isReadable(copy.pack, copy.frame)) return;
    const at = rules.countingCopy(found);
    if (at >= 0 && found.packs[at]! > copy.pack) return;
    if (at >= 0) packs.addLive(found.packs[at]!, -found.shares[at]!);
    packs.addLive(copy.pack, copy.share);
  }

  #doomPack(pack: string): void {
    const number = this.#options.packs.numberOf(pack);
    if (number === undefined) return;
    this.#options.rules.removePack(number);
    this.#options.packs.remove(pack);
  }

  /** Takes the copies of damaged frames out of use; live blocks count in their next copy, if any. */
  async #damageFrames(frames: readonly DamagedFrame[]): Promise<void> {
    const { packs, rules } = this.#options;
    for (const { pack, frame } of frames) {
      const number = packs.numberOf(pack);
      if (number !== undefined) rules.damageFrame(number, frame);
    }
    await this.#recountLive();
  }

  /** Takes the copies back into use; of a pack whose footer could not be read, adds them. */
  async #repairFrames(frames: readonly DamagedFrame[]): Promise<void> {
    const { packs, rules } = this.#options;
    for (const { pack, frame } of frames) {
      const number = packs.numberOf(pack);
      if (number !== undefined) rules.repairFrame(number, frame);
      if (this.unreadablePacks.delete(pack) || packs.isEmpty(pack)) await this.#addPack(pack);
    }
    await this.#recountLive();
  }

  /** Counts every pack's live bytes from the start: damage may touch any part of the index. */
  async #recountLive(): Promise<void> {
    const { index, packs, rules } = this.#options;
    await this.flush();
    packs.resetLive();
    for await (const entry of index.entries()) {
      const at = entry.count > 0 ? rules.countingCopy(entry) : -1;
      if (at >= 0) packs.addLive(entry.packs[at]!, entry.shares[at]!);
    }
  }

  /** Makes all that is applied durable, with its position. */
  async flush(): Promise<void> {
    const position = { ...this.#position, cursor: Math.max(this.#step, this.#skip) };
    await this.#options.index.flush(position, this.saved());
    this.#position = this.#step === 0 ? this.#position : position;
  }

  saved(): AppliedState {
    return {
      packs: this.#options.packs.toJson(),
      owned: [...this.#owned],
      ownedEffects: this.#ownedEffects,
      isIncomplete: this.#isIncomplete,
    };
  }
}

type Roots = {
  readonly previous: string | undefined;
  readonly root: string;
  readonly next?: string | undefined;
};

type RootIds = {
  readonly previous: Buffer | undefined;
  readonly root: Buffer;
  readonly next: Buffer | undefined;
};

function rootsOf(effect: Roots): RootIds {
  const bytes = (hex: string | undefined): Buffer | undefined =>
    hex === undefined ? undefined : Buffer.from(hex, 'hex');
  return {
    previous: bytes(effect.previous),
    root: Buffer.from(effect.root, 'hex'),
    next: bytes(effect.next),
  };
}
