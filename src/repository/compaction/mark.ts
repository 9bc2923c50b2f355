/**
 * Names the dead copies of packs in the log (format.md §5 `mark`): from then on lookups miss them. A copy
 * is alive if it is the counting copy of an id that has placements.
 */
import { idOf } from '../pack/pack-footer.ts';
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
  for (const pack of packs) await parts.keeper.footer(pack);
  const footers = new Map(
    await Promise.all(packs.map(async (pack) => [pack, await parts.keeper.footer(pack)] as const)),
  );
  return parts.append((state) => {
    const marked: MarkedPack[] = [];
    let characters = 0;
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
