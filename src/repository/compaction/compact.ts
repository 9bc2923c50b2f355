/**
 * Compaction (DESIGN §3.3): reclaims what is dead, in rounds of mark and reclaim, within a budget.
 * Marks that still wait for a session are left for the next run.
 */
import { HoldfastError, throwIfCancelled, type Progress } from '#base';
import type { ObjectStore } from '#storage';
import { deleteDoomed } from '../opening/duties.ts';
import type { RepositoryParts } from '../repository-parts.ts';
import { markPacks } from './mark.ts';
import { deleteOrphans } from './orphans.ts';
import { findScattered, planCompaction, type ScatteredItem } from './plan.ts';
import { reclaimMark, type Reclaimed } from './reclaim.ts';

export type CompactOptions = {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  /** Most live bytes to move in this run; absent: 16 GiB. */
  readonly budgetBytes?: number;
  /** Also deletes objects of sessions that the log has not seen; absent: they are kept. */
  readonly deletesUnknown?: boolean;
};

export type CompactResult = {
  readonly packsDeleted: number;
  readonly movedBytes: number;
  /** By how much the stored bytes fell. */
  readonly freedBytes: number;
  /** Sessions that must end before the rest can be reclaimed. */
  readonly waitsFor: readonly string[];
  readonly damagedPacks: readonly string[];
  /** Objects that the log does not know, of sessions that it knows: deleted. */
  readonly orphansDeleted: number;
  /** Objects of sessions that the log has not seen, kept: it may have been cut off at its end. */
  readonly unknownObjects: number;
};

const KEPT_CHECKPOINTS = 4;
const BUDGET_BYTES = 16 * 1024 ** 3;
/** One round's live bytes: bounds what a crash makes us move again. */
const ROUND_BYTES = 1024 ** 3;

/**
 * Reclaims space. Can be killed at any time; the next run goes on.
 *
 * @throws {HoldfastError} `ObjectDamaged` while a page of a map cannot be read, because then nobody
 *   knows what is dead.
 */
export async function compactRepository(
  parts: RepositoryParts,
  options: CompactOptions = {},
): Promise<CompactResult> {
  if (parts.keeper.isIncomplete) throw cannotCount();
  const total = new Totals();
  await deleteDoomed(parts);
  const scattered = await findScattered(parts);
  let budgetBytes = options.budgetBytes ?? BUDGET_BYTES;
  const passed = new Set<string>();
  for (;;) {
    throwIfCancelled(options.signal);
    await reclaimReady(parts, options, { total, inOrder: scattered.items });
    const plan = planCompaction(parts, {
      budgetBytes: Math.min(budgetBytes, ROUND_BYTES),
      scattered: scattered.packs,
      passed,
    });
    if (plan.length === 0) break;
    for (const pack of plan) passed.add(pack.id);
    budgetBytes -= plan.reduce((sum, pack) => sum + pack.liveBytes, 0);
    const mark = await markPacks(
      parts,
      plan.map((pack) => pack.id),
    );
    if (mark === undefined) break;
  }
  const orphans = await deleteOrphans(parts, { deletesUnknown: options.deletesUnknown === true });
  await deleteOldCheckpoints(parts.store);
  const waitsFor = [...parts.history.state.marks.values()].flatMap((mark) => mark.waitsFor);
  return {
    ...total.sums,
    waitsFor: [...new Set(waitsFor)],
    orphansDeleted: orphans.deleted,
    unknownObjects: orphans.unknown,
  };
}

async function reclaimReady(
  parts: RepositoryParts,
  options: CompactOptions,
  run: { readonly total: Totals; readonly inOrder: readonly ScatteredItem[] },
): Promise<void> {
  for (const [mark, { waitsFor }] of Array.from(parts.history.state.marks)) {
    if (waitsFor.length > 0) continue;
    run.total.add(await reclaimMark(parts, mark, { ...options, inOrder: run.inOrder }));
  }
}

/** Any checkpoint may be lost, so the newest few are enough. */
async function deleteOldCheckpoints(store: ObjectStore): Promise<void> {
  const names: string[] = [];
  for await (const { name } of store.list('checkpoint/')) names.push(name);
  for (const name of names.sort().slice(0, -KEPT_CHECKPOINTS)) await store.delete(name);
}

class Totals {
  readonly sums = {
    packsDeleted: 0,
    movedBytes: 0,
    freedBytes: 0,
    damagedPacks: [] as string[],
  };

  add(reclaimed: Reclaimed): void {
    this.sums.packsDeleted += reclaimed.packsDeleted;
    this.sums.movedBytes += reclaimed.movedBytes;
    this.sums.freedBytes += reclaimed.freedBytes;
    this.sums.damagedPacks.push(...reclaimed.damagedPacks);
  }
}

function cannotCount(): HoldfastError {
  return new HoldfastError(
    'ObjectDamaged',
    'a page of a map cannot be read, so what is dead cannot be known and nothing was reclaimed: run ' +
      'verify, expire the points that it names, then rebuild-index',
  );
}
