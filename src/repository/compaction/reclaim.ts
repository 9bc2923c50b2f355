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
 *
 * Where the store has no room for the copies, none of them stays: the session ends without them, what has
 * nothing to keep is doomed, and so the mark is closed. The rest is for smaller marks (compact.ts).
 */
import { decodeMark } from '../counting/marked-slots.ts';
import { damageEvent, isWhollyDamaged } from '../history/damage-event.ts';
import { packName } from '../pack/pack-id.ts';
import { isLost } from '../reading/lost.ts';
import type { RepositoryParts } from '../repository-parts.ts';
import { holdsLastCopy, isAnythingLost } from './last-copies.ts';
import {
  holdsKeptSlot,
  Move,
  type MarkedPackState,
  type MoveOptions,
  type NoRoom,
} from './move.ts';

export type Reclaimed = {
  readonly packsDeleted: number;
  readonly movedBytes: number;
  readonly freedBytes: number;
  /** Packs that could not be emptied, because a frame of theirs cannot be read. */
  readonly damagedPacks: readonly string[];
  /** Nothing was moved, and only packs without anything to keep were deleted. */
  readonly noRoom: NoRoom | undefined;
};

/** Reclaims a mark that waits for no session. */
export async function reclaimMark(
  parts: RepositoryParts,
  mark: number,
  options: MoveOptions,
): Promise<Reclaimed> {
  const { packs, gone, unreadable } = await packsOf(parts, mark);
  const move = await Move.begin(parts, packs, options);
  let noRoom: NoRoom | undefined;
  try {
    noRoom = await move.run();
    await (noRoom === undefined ? move.finish('finished') : move.discard());
  } catch (error) {
    await move.finish('cancelled');
    throw error;
  }
  await parts.flushIndex();
  const damaged = [...move.damaged, ...unreadable.map((pack) => ({ pack, frame: -1 }))];
  await parts.append((state) => damageEvent(state, damaged));
  const damagedPacks = new Set(damaged.map(({ pack }) => pack));
  const emptied = packs.filter(
    (pack) =>
      (noRoom === undefined || !holdsKeptSlot(parts, pack)) && !holdsLastCopy(parts, pack.footer),
  );
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
    noRoom,
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
