/** Everything that runs know, id by id. */
import type { Found } from './found.ts';
import { ID_BYTES, storeKey } from './record.ts';
import { RunMerge } from './run-merge.ts';
import type { Run } from './run.ts';

/** What the index knows of one id. */
export type IndexEntry = Found & { readonly id: Buffer };

/**
 * Every id of `runs` in id order with all that is known of it. The entry is reused: copy what is kept. The
 * runs stay open until the generator ends.
 *
 * @throws {HoldfastError} `IndexDamaged`
 */
export async function* entriesOf(
  runs: readonly Run[],
  isPackGone: (packNumber: number) => boolean,
): AsyncGenerator<IndexEntry> {
  const held = runs.map((run) => run.retain());
  try {
    const merge = new RunMerge(held, isPackGone);
    const entry: IndexEntry = Object.assign(merge.found, { id: Buffer.alloc(ID_BYTES) });
    for (let step = merge.step(); step !== 'end'; step = merge.step()) {
      if (step === 'dry') {
        await merge.refill();
      } else if (entry.count !== 0 || entry.copyCount > 0) {
        storeKey(merge.key, entry.id);
        yield entry;
      }
    }
  } finally {
    for (const run of held) await run.release();
  }
}
