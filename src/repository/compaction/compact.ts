/**
 * Compaction (DESIGN §3.3): reclaims what is dead, in rounds of mark and reclaim, within a budget.
 * Marks that still wait for a session are left for the next run.
 */
import { HoldfastError, throwIfCancelled, type Progress } from '#base';
import type { ObjectStore } from '#storage';
import { deleteDoomed } from '../opening/duties.ts';
import { parsePackName } from '../pack/pack-id.ts';
import type { RepositoryParts } from '../repository-parts.ts';
import { markPacks } from './mark.ts';
import { findScattered, planCompaction } from './plan.ts';
import { reclaimMark, type Reclaimed } from './reclaim.ts';

export type CompactOptions = {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  /** Most live bytes to move in this run; absent: 16 GiB. */
  readonly budgetBytes?: number;
};

export type CompactResult = {
  readonly packsDeleted: number;
  readonly movedBytes: number;
  /** By how much the stored bytes fell. */
  readonly freedBytes: number;
  /** Sessions that must end before the rest can be reclaimed. */
  readonly waitsFor: readonly string[];
  readonly damagedPacks: readonly string[];
  /** Objects that the log does not know, deleted. */
  readonly orphansDeleted: number;
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
    await reclaimReady(parts, options, { total, inDiskOrder: scattered.points });
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
  const orphansDeleted = await deleteOrphans(parts);
  await deleteOldCheckpoints(parts.store);
  const waitsFor = [...parts.history.state.marks.values()].flatMap((mark) => mark.waitsFor);
  return { ...total.sums, waitsFor: [...new Set(waitsFor)], orphansDeleted };
}

async function reclaimReady(
  parts: RepositoryParts,
  options: CompactOptions,
  run: { readonly total: Totals; readonly inDiskOrder: readonly string[] },
): Promise<void> {
  for (const [mark, { waitsFor }] of Array.from(parts.history.state.marks)) {
    if (waitsFor.length > 0) continue;
    run.total.add(await reclaimMark(parts, mark, { ...options, inDiskOrder: run.inDiskOrder }));
  }
}

/**
 * Deletes packs that a dead session left behind where adoption could not see them, and manifests of
 * points that are gone. The log knows every pack that matters, so what it does not know of a session
 * that has ended is not needed.
 */
async function deleteOrphans(parts: RepositoryParts): Promise<number> {
  const listed: string[] = [];
  for await (const { name } of parts.store.list('packs/')) listed.push(name);
  for await (const { name } of parts.store.list('points/')) listed.push(name);
  // Whatever was listed was announced in the log before: read on, and stop if we own it no more.
  await parts.history.catchUp();
  await parts.append(() => undefined);
  const { state } = parts.history;
  const openPoints = new Set([...state.sessions.values()].map((session) => session.point));
  const orphans = listed.filter((name) => {
    const pack = parsePackName(name)?.toString('hex');
    if (pack !== undefined) {
      const isKnown = state.packs.has(pack) || state.doomed.has(pack);
      return !isKnown && !state.sessions.has(pack.slice(0, 32));
    }
    const point = /^points\/[0-9a-f]{32}\/([0-9]+)$/.exec(name)?.[1];
    return point !== undefined && !state.points.has(point) && !openPoints.has(point);
  });
  for (const name of orphans) await parts.store.delete(name);
  return orphans.length;
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
