/**
 * Packs that hold the last copy of something that a point needs, in a place that cannot be read. They are
 * kept: somebody may still have the object in a copy of the repository, and put it back.
 */
import { idOf, type PackFooter } from '../pack/pack-footer.ts';
import type { RepositoryParts } from '../repository-parts.ts';

/** Whether some slot of the pack has an id that is needed and of which no copy can be read. */
export function holdsLastCopy(parts: RepositoryParts, footer: PackFooter): boolean {
  for (let frame = 0; frame < footer.frameCount; frame += 1) {
    for (let slot = 0; slot < footer.slotCounts[frame]!; slot += 1) {
      if (isLost(parts, idOf(footer, frame, slot))) return true;
    }
  }
  return false;
}

/** Whether anything at all that a point needs has no copy that can be read. */
export async function isAnythingLost(parts: RepositoryParts): Promise<boolean> {
  return parts.history.exclusively(async () => {
    await parts.keeper.flush();
    for await (const entry of parts.keeper.index.entries()) {
      if (entry.count > 0 && !parts.keeper.rules.hasReadable(entry)) return true;
    }
    return false;
  });
}

function isLost(parts: RepositoryParts, id: Buffer): boolean {
  return parts.keeper.stored(id).count > 0 && !parts.keeper.isReadable(id);
}
