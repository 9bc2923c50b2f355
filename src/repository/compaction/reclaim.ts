/**
 * Empties the packs of a mark and dooms them (format.md §1, invariants 4 and 5).
 *
 * ```
 *   mark (sessions of its time ended) ──► session-begun ──► live copies stored anew ──► session-ended
 *     ──► index durable ──► doomed ──► packs deleted ──► deleted
 * ```
 *
 * A copy is kept if it is its id's counting copy and the id has placements now or had them at the mark
 * (a session that began since may have relied on it). Wholly kept frames are sealed anew without
 * decompressing. Blocks of items that are scattered go first, in the order of their points (move-order.ts).
 */
import { freeMemory, throwIfCancelled, type Progress } from '#base';
import { decodeMark } from '../counting/marked-slots.ts';
import { damageEvent, isWhollyDamaged, type DamagedFrame } from '../history/damage-event.ts';
import type { LoggedPack } from '../log/log-entry.ts';
import { checkSlot, readFrame, readSealedFrame, recodeSealed } from '../pack/frame-reader.ts';
import { idOf, type PackFooter } from '../pack/pack-footer.ts';
import { packName } from '../pack/pack-id.ts';
import { isLost } from '../reading/lost.ts';
import type { RepositoryParts } from '../repository-parts.ts';
import { BlockWriter } from '../writing/block-writer.ts';
import { ClaimTable } from '../writing/claims.ts';
import { holdsLastCopy, isAnythingLost } from './last-copies.ts';
import { MoveOrder, type MovedPiece } from './move-order.ts';
import type { ScatteredItem } from './plan.ts';

/** Blocks of an item looked at for each block moved, at most: 0.1 µs each, moving one takes 100. */
const MOST_LOOKS = 250;
/** Above the number of any frame of a pack (u16). */
const MOST_FRAMES = 2 ** 16;

export type ReclaimOptions = {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Items whose blocks are stored by which of their points need them, in disk order. */
  readonly inOrder: readonly ScatteredItem[];
};

export type Reclaimed = {
  readonly packsDeleted: number;
  readonly movedBytes: number;
  readonly freedBytes: number;
  /** Packs that could not be emptied, because a frame of theirs cannot be read. */
  readonly damagedPacks: readonly string[];
};

type MarkedPackState = {
  readonly pack: string;
  readonly number: number;
  readonly footer: PackFooter;
  readonly dead: Uint8Array;
};

/** Reclaims a mark that waits for no session. */
export async function reclaimMark(
  parts: RepositoryParts,
  mark: number,
  options: ReclaimOptions,
): Promise<Reclaimed> {
  const { packs, gone, unreadable } = await packsOf(parts, mark);
  const move = await Move.begin(parts, packs, options);
  try {
    await move.run();
    await move.finish('finished');
  } catch (error) {
    await move.finish('cancelled');
    throw error;
  }
  await parts.flushIndex();
  const damaged = [...move.damaged, ...unreadable.map((pack) => ({ pack, frame: -1 }))];
  await parts.append((state) => damageEvent(state, damaged));
  const damagedPacks = new Set(damaged.map(({ pack }) => pack));
  const emptied = packs.filter(({ footer }) => !holdsLastCopy(parts, footer));
  // Of a pack without footer nobody knows what it held.
  const given = gone.length > 0 && (await isAnythingLost(parts)) ? [] : gone;
  const doomed = [...given, ...emptied.map(({ pack }) => pack)].filter(
    (pack) => !damagedPacks.has(pack) && parts.history.state.packs.has(pack),
  );
  await parts.append(() => ({ type: 'doomed', mark, packs: doomed }));
  const freedBytes = await deletePacks(parts, doomed);
  return {
    packsDeleted: doomed.length,
    movedBytes: move.movedBytes,
    freedBytes: freedBytes - move.storedBytes,
    damagedPacks: [...damagedPacks],
  };
}

type MarkedPacks = {
  readonly packs: readonly MarkedPackState[];
  /** Known to be wholly damaged: nothing of them is left to keep. */
  readonly gone: readonly string[];
  /** Found to be so now: they stay until the next time, after backups could heal what they held. */
  readonly unreadable: readonly string[];
};

async function packsOf(parts: RepositoryParts, mark: number): Promise<MarkedPacks> {
  const packs: MarkedPackState[] = [];
  const gone: string[] = [];
  const unreadable: string[] = [];
  for (const { pack, dead } of parts.history.state.marks.get(mark)!.packs) {
    const number = parts.keeper.packs.numberOf(pack);
    if (number === undefined) continue;
    try {
      const footer = await parts.keeper.footer(pack);
      packs.push({ pack, number, footer, dead: decodeMark(dead) });
    } catch (error) {
      if (!isLost(error)) throw error;
      (isWhollyDamaged(parts.history.state, pack) ? gone : unreadable).push(pack);
    }
  }
  return { packs, gone, unreadable };
}

async function deletePacks(parts: RepositoryParts, packs: readonly string[]): Promise<number> {
  let sizeBytes = 0;
  for (const pack of packs) {
    sizeBytes += parts.history.state.doomed.get(pack)?.sizeBytes ?? 0;
    await parts.store.delete(packName(Buffer.from(pack, 'hex')));
  }
  if (packs.length > 0) await parts.append(() => ({ type: 'deleted', packs, sizeBytes }));
  return sizeBytes;
}

/** The copying of what lives in some packs into new ones: one session of kind `compaction`. */
class Move {
  readonly #parts: RepositoryParts;
  readonly #packs: readonly MarkedPackState[];
  readonly #options: ReclaimOptions;
  readonly #session: string;
  readonly #writer: BlockWriter;
  readonly #moved: ClaimTable;
  readonly #sealed: LoggedPack[] = [];
  /** Frames that were to be kept and cannot be read. */
  readonly damaged: DamagedFrame[] = [];
  movedBytes = 0;
  storedBytes = 0;
  #counter = 0;

  private constructor(
    parts: RepositoryParts,
    packs: readonly MarkedPackState[],
    from: { readonly options: ReclaimOptions; readonly session: string },
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
        const { counter, kind, sizeBytes } = pack;
        this.#sealed.push({ counter, kind, sizeBytes });
        this.storedBytes += sizeBytes;
        parts.keeper.remember(pack.footer);
      },
    });
  }

  static async begin(
    parts: RepositoryParts,
    packs: readonly MarkedPackState[],
    options: ReclaimOptions,
  ): Promise<Move> {
    const session = parts.random(16).toString('hex');
    const begun = { session, kind: 'compaction', bases: [], writers: 2 } as const;
    await parts.append(() => ({ type: 'session-begun', ...begun }));
    return new Move(parts, packs, { options, session });
  }

  async run(): Promise<void> {
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
    else await this.#writer.finish({ sealAll: true });
    const [session, packs] = [this.#session, this.#sealed];
    await this.#parts.append((state) =>
      state.sessions.has(session) ? { type: 'session-ended', session, outcome, packs } : undefined,
    );
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

  #keptSlots({ number, footer, dead }: MarkedPackState, frame: number): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < footer.slotCounts[frame]!; slot += 1) {
      const bit = footer.firstSlots[frame]! + slot;
      const wasDead = (dead[bit >>> 3]! & (1 << (bit & 7))) !== 0;
      const id = idOf(footer, frame, slot);
      const place = { number, frame, slot };
      const isKept = wasDead
        ? this.#parts.keeper.isAlive(id, place)
        : this.#parts.keeper.isCounting(id, place);
      if (isKept && !this.#moved.has(id)) slots.push(slot);
    }
    return slots;
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
