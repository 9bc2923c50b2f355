/**
 * Looks at what the log calls damaged once more: a pack that was out of reach, or was put back from a
 * copy, is whole again. Every frame that is taken back has been opened and its slots checked.
 */
import type { DamagedFrame } from '../log/log-entry.ts';
import { checkPackEnds, readFooter } from '../pack/footer-reader.ts';
import { scanPack } from '../pack/pack-scan.ts';
import type { DamagedCopy } from '../reading/block-reader.ts';
import { isLost } from '../reading/lost.ts';
import type { RepositoryParts } from '../repository-parts.ts';

export type Repaired = {
  readonly repaired: readonly DamagedFrame[];
  /** Frames that are damaged in packs that are not damaged as a whole any more. */
  readonly damaged: readonly DamagedCopy[];
};

export async function findRepaired(parts: RepositoryParts): Promise<Repaired> {
  const repaired: DamagedFrame[] = [];
  const damaged: DamagedCopy[] = [];
  for (const [pack, frames] of Array.from(parts.history.state.damage)) {
    const bad = await damagedFramesOf(parts, pack);
    if (bad === undefined) continue;
    const badFrames = new Set(bad.map((copy) => copy.frame));
    for (const frame of frames) if (!badFrames.has(frame)) repaired.push({ pack, frame });
    damaged.push(...bad.filter((copy) => !frames.has(copy.frame)));
  }
  return { repaired, damaged };
}

/** The frames of the pack that cannot be read; undefined: none of it can. */
async function damagedFramesOf(
  parts: RepositoryParts,
  pack: string,
): Promise<DamagedCopy[] | undefined> {
  const source = { store: parts.store, keys: parts.keyring };
  const known = parts.history.state.packs.get(pack);
  try {
    const footer = await readFooter({
      ...source,
      packId: Buffer.from(pack, 'hex'),
      kind: known?.kind,
      sizeBytes: known?.sizeBytes,
    });
    await checkPackEnds(parts.store, footer);
    const damaged: DamagedCopy[] = [];
    for await (const { frame, damage } of scanPack(source, footer)) {
      if (damage !== undefined) damaged.push({ pack, frame, error: damage });
    }
    return damaged;
  } catch (error) {
    if (!isLost(error)) throw error;
    return undefined;
  }
}
