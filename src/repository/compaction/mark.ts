/**
 * Names the dead copies of packs in the log (format.md §5 `mark`): from then on lookups miss them. A copy
 * is alive if it is the counting copy of an id that has placements.
 */
import { damageEvent, isWhollyDamaged } from '../history/damage-event.ts';
import { idOf, type PackFooter } from '../pack/pack-footer.ts';
import { isLost } from '../reading/lost.ts';
import { encodeMark } from '../counting/marked-slots.ts';
import type { MarkedPack } from '../log/log-entry.ts';
import type { RepositoryParts } from '../repository-parts.ts';

/** A mark's entry stays far below the limit of a log entry. */
const MAX_MARK_CHARACTERS = 4 * 1024 * 1024;

/**
 * Writes one mark for as many of the packs as fit an entry. What is dead is decided in the history's
 * turn, so no commit comes between the decision and the entry.
 *
 * @returns the mark's number; undefined if none of the packs is there any more.
 */
export async function markPacks(
  parts: RepositoryParts,
  packs: readonly string[],
): Promise<number | undefined> {
  const { footers, gone } = await footersOf(parts, packs);
  return parts.append((state) => {
    const marked: MarkedPack[] = [];
    let characters = 0;
    for (const pack of gone) {
      if (state.packs.has(pack)) marked.push({ pack, dead: encodeMark(Buffer.alloc(0)) });
    }
    for (const [pack, footer] of footers) {
      const number = parts.keeper.packs.numberOf(pack);
      if (!state.packs.has(pack) || number === undefined) continue;
      const bits = Buffer.alloc(Math.ceil(footer.firstSlots[footer.frameCount]! / 8));
      for (let frame = 0; frame < footer.frameCount; frame += 1) {
        for (let slot = 0; slot < footer.slotCounts[frame]!; slot += 1) {
          if (parts.keeper.isAlive(idOf(footer, frame, slot), { number, frame, slot })) continue;
          const bit = footer.firstSlots[frame]! + slot;
          bits[bit >>> 3]! |= 1 << (bit & 7);
        }
      }
      const dead = encodeMark(bits);
      characters += dead.length + 100;
      if (characters > MAX_MARK_CHARACTERS) break;
      marked.push({ pack, dead });
    }
    return marked.length === 0 ? undefined : { type: 'mark', packs: marked };
  });
}

/**
 * The packs' footers. A footer that cannot be read is logged as damage of the whole pack, and the pack is
 * left for the next time, after backups could heal it; where that was known before, the pack is `gone`.
 */
async function footersOf(
  parts: RepositoryParts,
  packs: readonly string[],
): Promise<{
  readonly footers: ReadonlyMap<string, PackFooter>;
  readonly gone: readonly string[];
}> {
  const footers = new Map<string, PackFooter>();
  const gone: string[] = [];
  for (const pack of packs) {
    try {
      footers.set(pack, await parts.keeper.footer(pack));
    } catch (error) {
      if (!isLost(error)) throw error;
      if (isWhollyDamaged(parts.history.state, pack)) gone.push(pack);
      else await parts.append((state) => damageEvent(state, [{ pack, frame: -1 }]));
    }
  }
  return { footers, gone };
}
