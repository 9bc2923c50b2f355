/** The copying of what lives in the packs of a mark into new ones (reclaim.ts). */
import { randomBytes } from 'node:crypto';
import {
  freeMemory,
  isHoldfastError,
  throwIfCancelled,
  type HoldfastError,
  type Progress,
} from '#base';
import type { ObjectWriter } from '#storage';
import type { DamagedFrame } from '../history/damage-event.ts';
import type { LoggedPack } from '../log/log-entry.ts';
import { checkSlot, readFrame, readSealedFrame, recodeSealed } from '../pack/frame-reader.ts';
import { idOf, type PackFooter } from '../pack/pack-footer.ts';
import { packIdOf, packName } from '../pack/pack-id.ts';
import type { SealedPack } from '../pack/pack-writer.ts';
import { isLost } from '../reading/lost.ts';
import type { RepositoryParts } from '../repository-parts.ts';
import { BlockWriter } from '../writing/block-writer.ts';
import { ClaimTable } from '../writing/claims.ts';
import { MoveOrder, type MovedPiece } from './move-order.ts';
import type { ScatteredItem } from './plan.ts';

/** Blocks of an item looked at for each block moved, at most: 0.1 µs each, moving one takes 100. */
const MOST_LOOKS = 250;
/** What the log and the index take when a move ends: so much is kept free, and for each slot so much more. */
const RESERVED_BYTES = 64 * 1024;
const RESERVED_SLOT_BYTES = 48;
/** Of a pack that is never made. */
const RESERVING_COUNTER = 2 ** 32 - 1;
/** Above the number of any frame of a pack (u16). */
const MOST_FRAMES = 2 ** 16;

export type MoveOptions = {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Items whose blocks are stored by which of their points need them, in disk order. */
  readonly inOrder: readonly ScatteredItem[];
};

export type MarkedPackState = {
  readonly pack: string;
  readonly number: number;
  readonly footer: PackFooter;
  readonly dead: Uint8Array;
};

export type NoRoom = {
  /** The store's `StoreFull`. */
  readonly error: HoldfastError;
  /** So many bytes were moved when it came: not fewer than there was room for. */
  readonly triedBytes: number;
};

/** The slots of a frame whose copies are kept. */
function* keptSlots(
  { keeper }: RepositoryParts,
  { number, footer, dead }: MarkedPackState,
  frame: number,
): Generator<number> {
  for (let slot = 0; slot < footer.slotCounts[frame]!; slot += 1) {
    const bit = footer.firstSlots[frame]! + slot;
    const wasDead = (dead[bit >>> 3]! & (1 << (bit & 7))) !== 0;
    const id = idOf(footer, frame, slot);
    const place = { number, frame, slot };
    if (wasDead ? keeper.isAlive(id, place) : keeper.isCounting(id, place)) yield slot;
  }
}

/** Whether the pack may not be doomed yet. */
export function holdsKeptSlot(parts: RepositoryParts, pack: MarkedPackState): boolean {
  for (let frame = 0; frame < pack.footer.frameCount; frame += 1) {
    if (keptSlots(parts, pack, frame).next().done !== true) return true;
  }
  return false;
}

/** The copying of what lives in some packs into new ones: one session of kind `compaction`. */
export class Move {
  readonly #parts: RepositoryParts;
  readonly #packs: readonly MarkedPackState[];
  readonly #options: MoveOptions;
  readonly #session: string;
  readonly #writer: BlockWriter;
  readonly #moved: ClaimTable;
  readonly #sealed: SealedPack[] = [];
  /** Frames that were to be kept and cannot be read. */
  readonly damaged: DamagedFrame[] = [];
  movedBytes = 0;
  storedBytes = 0;
  #counter = 0;
  /** An unfinished object that takes room: what is moved must leave some for the end. */
  #reserve: ObjectWriter | undefined;

  private constructor(
    parts: RepositoryParts,
    packs: readonly MarkedPackState[],
    from: { readonly options: MoveOptions; readonly session: string },
  ) {
    this.#parts = parts;
    this.#packs = packs;
    this.#options = from.options;
    this.#session = from.session;
    const slots = packs.reduce((sum, { footer }) => sum + footer.firstSlots[footer.frameCount]!, 1);
    this.#moved = new ClaimTable(ClaimTable.allocate(2 ** Math.ceil(Math.log2(2 * slots + 16))));
    this.#writer = new BlockWriter({
      keyring: parts.keyring,
      store: parts.store,
      session: Buffer.from(from.session, 'hex'),
      nextCounter: () => this.#counter++,
      claims: this.#moved,
      isStored: () => false,
      onSealed: (pack) => {
        this.#sealed.push(pack);
        this.storedBytes += pack.sizeBytes;
      },
    });
  }

  static async begin(
    parts: RepositoryParts,
    packs: readonly MarkedPackState[],
    options: MoveOptions,
  ): Promise<Move> {
    const session = parts.random(16).toString('hex');
    const begun = { session, kind: 'compaction', bases: [], writers: 2 } as const;
    await parts.append(() => ({ type: 'session-begun', ...begun }));
    return new Move(parts, packs, { options, session });
  }

  /** Moves all that is kept; where there is no room for it, `discard` is to follow. */
  async run(): Promise<NoRoom | undefined> {
    try {
      await this.#reserveRoom();
      await this.#moveAll();
      await this.#writer.finish({ sealAll: true });
      return undefined;
    } catch (error) {
      if (!isHoldfastError(error, 'StoreFull')) throw error;
      return { error, triedBytes: this.movedBytes };
    }
  }

  async #reserveRoom(): Promise<void> {
    if (!this.#packs.some((pack) => holdsKeptSlot(this.#parts, pack))) return;
    const session = Buffer.from(this.#session, 'hex');
    const name = packName(packIdOf({ session, counter: RESERVING_COUNTER }));
    this.#reserve = await this.#parts.store.openWriter(name);
    const slots = this.#packs.reduce((sum, { footer }) => sum + footer.firstSlots.at(-1)!, 0);
    // A file system may store anything simpler in less.
    const bytes = randomBytes(RESERVED_BYTES);
    for (let left = RESERVED_BYTES + slots * RESERVED_SLOT_BYTES; left > 0; left -= bytes.length) {
      await this.#reserve.write(bytes.subarray(0, left));
    }
  }

  async #moveAll(): Promise<void> {
    await this.#moveInOrder();
    const totalBytes = this.#packs.reduce((sum, { footer }) => sum + footer.sizeBytes, 0);
    let doneBytes = 0;
    for (const pack of this.#packs) {
      throwIfCancelled(this.#options.signal);
      await this.#movePack(pack);
      doneBytes += pack.footer.sizeBytes;
      this.#options.onProgress?.({ phase: 'compacting', doneBytes, totalBytes });
    }
  }

  /** Ends the session; what was sealed is known from then on, whether the move was whole or not. */
  async finish(outcome: 'finished' | 'cancelled'): Promise<void> {
    if (outcome === 'cancelled') await this.#writer.abandon();
    await this.#reserve?.abort();
    for (const { footer } of this.#sealed) this.#parts.keeper.remember(footer);
    const packs = this.#sealed.map(({ counter, kind, sizeBytes }) => ({
      counter,
      kind,
      sizeBytes,
    }));
    await this.#end(outcome, packs);
  }

  /** Ends the session without what was sealed, and deletes that: half a move takes room and frees none. */
  async discard(): Promise<void> {
    await this.#writer.abandon();
    await this.#reserve?.abort();
    // Before its end another owner may adopt them; after it nobody knows them.
    if (!(await this.#end('cancelled', []))) return;
    for (const { packId } of this.#sealed) await this.#parts.store.delete(packName(packId));
    this.movedBytes = 0;
    this.storedBytes = 0;
  }

  /** @returns whether it was this call that ended the session. */
  async #end(outcome: 'finished' | 'cancelled', packs: readonly LoggedPack[]): Promise<boolean> {
    const session = this.#session;
    const number = await this.#parts.append((state) =>
      state.sessions.has(session) ? { type: 'session-ended', session, outcome, packs } : undefined,
    );
    return number !== undefined;
  }

  /** Moves what the items have in these packs; what cannot be read is left for `#movePack` to report. */
  async #moveInOrder(): Promise<void> {
    if (this.#options.inOrder.length === 0) return;
    const order = new MoveOrder(this.#packs.map(({ footer }) => footer));
    for (const [at, pack] of this.#packs.entries()) {
      if (pack.footer.kind !== 'data') continue;
      for (let frame = 0; frame < pack.footer.frameCount; frame += 1) {
        for (const slot of this.#keptSlots(pack, frame)) order.add({ pack: at, frame, slot });
      }
    }
    const moved = new Set(this.#packs.map(({ number }) => number));
    const items = this.#options.inOrder.filter(
      ({ packs, blockCount, isAboveLimit }) =>
        !packs.isDisjointFrom(moved) &&
        (isAboveLimit || blockCount <= MOST_LOOKS * order.blockCount),
    );
    await order.rank(
      this.#parts,
      items.map(({ points }) => points),
    );
    for (const batch of order.batches()) await this.#moveBatch(batch);
  }

  /** Reads each frame of the batch once, and stores its pieces in order. */
  async #moveBatch(batch: readonly MovedPiece[]): Promise<void> {
    const contents = new Map<number, Buffer>();
    const alone = batch.filter(({ slot }) => slot !== undefined).sort((a, b) => a.at - b.at);
    const { unitBytes } = this.#packs[batch[0]!.pack]!.footer;
    const memory = Buffer.allocUnsafeSlow(alone.length * unitBytes);
    const frames = Map.groupBy(alone, ({ pack, frame }) => pack * MOST_FRAMES + frame);
    for (const pieces of frames.values()) {
      throwIfCancelled(this.#options.signal);
      await this.#unlessLost(async () => {
        await this.#readPieces(pieces, (at, content) => {
          const start = contents.size * unitBytes;
          content.copy(memory, start);
          contents.set(at, memory.subarray(start, start + unitBytes));
        });
      });
    }
    for (const { at, pack, frame, slot } of batch) {
      const { footer } = this.#packs[pack]!;
      if (slot === undefined) {
        throwIfCancelled(this.#options.signal);
        await this.#unlessLost(async () => await this.#moveWholeFrame(footer, frame));
        continue;
      }
      const [id, content] = [idOf(footer, frame, slot), contents.get(at)];
      if (content !== undefined && this.#moved.claim(id)) await this.#store('data', content, id);
    }
    freeMemory(memory);
  }

  /** Gives the content of pieces of one frame; it is valid during the call only. */
  async #readPieces(
    pieces: readonly MovedPiece[],
    take: (at: number, content: Buffer) => void,
  ): Promise<void> {
    const { pack, frame } = pieces[0]!;
    const { keyring: keys, store } = this.#parts;
    const { footer } = this.#packs[pack]!;
    const raw = await readFrame({ store, keys, footer, frame });
    for (const { at, slot } of pieces) {
      const id = idOf(footer, frame, slot!);
      take(at, checkSlot({ keys, footer, frame, slot: slot!, raw, id }));
    }
    freeMemory(raw);
  }

  async #unlessLost(act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (!isLost(error)) throw error;
    }
  }

  async #movePack(pack: MarkedPackState): Promise<void> {
    for (let frame = 0; frame < pack.footer.frameCount; frame += 1) {
      const slots = this.#keptSlots(pack, frame);
      if (slots.length === 0) continue;
      try {
        await this.#moveFrame(pack, { frame, slots });
      } catch (error) {
        if (!isLost(error)) throw error;
        this.damaged.push({ pack: pack.pack, frame: error.code === 'ObjectNotFound' ? -1 : frame });
      }
    }
  }

  /** Those that were not moved yet. */
  #keptSlots(pack: MarkedPackState, frame: number): number[] {
    const kept = keptSlots(this.#parts, pack, frame);
    return [...kept].filter((slot) => !this.#moved.has(idOf(pack.footer, frame, slot)));
  }

  async #moveFrame(
    { footer }: MarkedPackState,
    what: { readonly frame: number; readonly slots: readonly number[] },
  ): Promise<void> {
    const { keyring: keys, store } = this.#parts;
    const { frame, slots } = what;
    if (slots.length === footer.slotCounts[frame]!) return this.#moveWholeFrame(footer, frame);
    const raw = await readFrame({ store, keys, footer, frame });
    for (const slot of slots) {
      const id = idOf(footer, frame, slot);
      const content = checkSlot({ keys, footer, frame, slot, raw, id });
      if (this.#moved.claim(id)) await this.#store(footer.kind, content, id);
    }
  }

  /** Seals the frame anew as it is. */
  async #moveWholeFrame(footer: PackFooter, frame: number): Promise<void> {
    const { keyring: keys, store } = this.#parts;
    const sealed = await readSealedFrame({ store, footer, frame });
    const pending = recodeSealed({ keys, footer, frame, sealed });
    for (let slot = 0; slot < footer.slotCounts[frame]!; slot += 1) {
      this.#moved.claim(idOf(footer, frame, slot));
    }
    this.movedBytes += sealed.length;
    await this.#writer.push(footer.kind, pending);
  }

  async #store(kind: 'data' | 'page', content: Buffer, id: Buffer): Promise<void> {
    this.movedBytes += content.length;
    await this.#writer.store(kind, content, id);
  }
}
