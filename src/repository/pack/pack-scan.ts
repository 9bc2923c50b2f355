/** Reads a whole pack in order, for verification and for compaction. */
import { HoldfastError } from '#base';
import type { PackSource } from './footer-reader.ts';
import { checkSlots, openFrame, readSealedRun } from './frame-reader.ts';
import { at, type PackFooter } from './pack-footer.ts';

/** Few requests on a far store, little memory: 256 KiB frames compress to about 110 KB. */
const RUN_BYTES = 4 * 2 ** 20;

export type ScannedFrame = {
  readonly frame: number;
  /** Content whose every slot has its id; undefined if the frame is damaged. */
  readonly raw: Buffer | undefined;
  readonly damage: HoldfastError | undefined;
};

/**
 * Every frame of the pack in order, opened and checked slot by slot; damage to one does not hide the
 * next.
 *
 * @throws {HoldfastError} `ObjectNotFound`; the store's errors; `ObjectDamaged` if the object has
 *   become shorter than its footer says.
 */
export async function* scanPack(
  { store, keys }: PackSource,
  footer: PackFooter,
): AsyncGenerator<ScannedFrame> {
  for (let firstFrame = 0; firstFrame < footer.frameCount;) {
    const frameCount = runLength(footer, firstFrame);
    const run = await readSealedRun({ store, footer, firstFrame, frameCount });
    for (const [index, sealed] of run.entries()) {
      yield scanFrame({ keys, footer, frame: firstFrame + index, sealed });
    }
    firstFrame += frameCount;
  }
}

function scanFrame(sealed: Parameters<typeof openFrame>[0] & { footer: PackFooter }): ScannedFrame {
  const { keys, footer, frame } = sealed;
  try {
    const raw = openFrame(sealed);
    checkSlots({ keys, footer, frame, raw });
    return { frame, raw, damage: undefined };
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return { frame, raw: undefined, damage: error };
  }
}

/** Frames from `first` on that fit one request; at least one. */
function runLength(footer: PackFooter, first: number): number {
  let count = 1;
  let bytes = at(footer.sealedLengths, first);
  for (; first + count < footer.frameCount; count++) {
    bytes += at(footer.sealedLengths, first + count);
    if (bytes > RUN_BYTES) break;
  }
  return count;
}
