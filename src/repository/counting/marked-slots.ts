/** Marks as the log writes them and as lookups test them: one bit a slot, in footer order. */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { RepositoryState } from '../history/state.ts';
import type { PackFooter } from '../pack/pack-footer.ts';
import type { DamagedCopy } from '../reading/block-reader.ts';
import type { MarkedSlots } from '../reading/copy-rules.ts';
import { isLost } from '../reading/lost.ts';

/** 4096 frames of 255 slots, one bit each. */
const MAX_BITS_BYTES = (4096 * 255) / 8;

export function encodeMark(bits: Uint8Array): string {
  return zstdCompressSync(bits).toString('base64');
}

export function decodeMark(dead: string): Uint8Array {
  return zstdDecompressSync(Buffer.from(dead, 'base64'), { maxOutputLength: MAX_BITS_BYTES + 8 });
}

type PackAccess = {
  readonly numberOf: (pack: string) => number | undefined;
  readonly footer: (pack: string) => Promise<PackFooter>;
  readonly onDamage: (damage: DamagedCopy) => void;
};

/** The dead slots that open marks name, of packs that the index has and that can be read. */
export async function readMarks(
  state: RepositoryState,
  access: PackAccess,
): Promise<MarkedSlots[]> {
  const marks: MarkedSlots[] = [];
  for (const mark of state.marks.values()) {
    for (const { pack, dead } of mark.packs) {
      const number = access.numberOf(pack);
      if (number === undefined) continue;
      try {
        const { firstSlots } = await access.footer(pack);
        marks.push({ pack: number, firstSlot: firstSlots, bits: decodeMark(dead) });
      } catch (error) {
        // Reclaiming keeps a pack that it cannot read, so nothing is lost by finding its copies.
        if (!isLost(error)) throw error;
        access.onDamage({ pack, frame: -1, error });
      }
    }
  }
  return marks;
}
