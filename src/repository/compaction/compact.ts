/**
 * Compaction (DESIGN §3.3): reclaims what is dead, in rounds of mark and reclaim, within a budget.
 * Marks that still wait for a session are left for the next run.
 *
 * Rounds are as large as the store has room for (round-limit.ts): on a full one what is wholly dead goes
 * first, then what frees most, in marks so small that their copies fit; each makes room for the next.
 */
import { HoldfastError, throwIfCancelled, type Progress } from '#base';
import type { ObjectStore } from '#storage';
import { deleteDoomed } from '../opening/duties.ts';
import type { RepositoryParts } from '../repository-parts.ts';
import { markPacks } from './mark.ts';
import type { MoveOptions } from './move.ts';
import { deleteOrphans } from './orphans.ts';
import { findScattered, isWasteful, planCompaction, type PackToRewrite } from './plan.ts';
import { reclaimMark, type Reclaimed } from './reclaim.ts';
import { RoundLimit } from './round-limit.ts';

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

/**
 * Reclaims space. Can be killed at any time; the next run goes on.
 *
 * @throws {HoldfastError} `ObjectDamaged` while a page of a map cannot be read, because then nobody
 *   knows what is dead; `StoreFull` if there is no room to move what is left, after all else was freed.
 */
export async function compactRepository(
  parts: RepositoryParts,
  options: CompactOptions = {},
): Promise<CompactResult> {
  if (parts.keeper.isIncomplete) throw cannotCount();
  await deleteDoomed(parts);
  const total = new Totals();
  await new Rounds(parts, options, total).run();
  const orphans = await deleteOrphans(parts, { deletesUnknown: options.deletesUnknown === true });
  await deleteOldCheckpoints(parts.store);
  if (total.noRoom !== undefined) throw total.noRoom;
  const waitsFor = [...parts.history.state.marks.values()].flatMap((mark) => mark.waitsFor);
  return {
    ...total.sums,
    waitsFor: [...new Set(waitsFor)],
    orphansDeleted: orphans.deleted,
    unknownObjects: orphans.unknown,
  };
}

/** The marks of one run, each reclaimed before the next unless a session is to be waited for. */
class Rounds {
  readonly #parts: RepositoryParts;
  readonly #options: CompactOptions;
  readonly #total: Totals;
  readonly #limit = new RoundLimit();
  readonly #passed = new Set<string>();
  /** Live bytes of this run's marks that are open. */
  readonly #planned = new Map<number, number>();
  #budgetBytes: number;

  constructor(parts: RepositoryParts, options: CompactOptions, total: Totals) {
    this.#parts = parts;
    this.#options = options;
    this.#total = total;
    this.#budgetBytes = options.budgetBytes ?? BUDGET_BYTES;
  }

  async run(): Promise<void> {
    const scattered = await findScattered(this.#parts);
    for (;;) {
      throwIfCancelled(this.#options.signal);
      await this.#reclaimReady({ ...this.#options, inOrder: scattered.items });
      const plan = this.#plan(scattered.packs, this.#limit.bytes);
      if (plan.length > 0) {
        if (!(await this.#mark(plan))) break;
      } else if (!this.#limit.raise()) {
        break;
      }
    }
    // What is not worth an error, as merging small packs, waits until there is room.
    const isDone = !this.#plan(scattered.packs, Infinity).some(isWasteful);
    if (isDone) this.#total.noRoom = undefined;
  }

  #plan(scattered: ReadonlySet<number>, limitBytes: number): PackToRewrite[] {
    return planCompaction(this.#parts, {
      budgetBytes: Math.min(this.#budgetBytes, limitBytes),
      scattered,
      passed: this.#passed,
      isShortOfRoom: this.#limit.isShort,
    });
  }

  async #mark(plan: readonly PackToRewrite[]): Promise<boolean> {
    for (const { id } of plan) this.#passed.add(id);
    const packs = plan.map(({ id }) => id);
    const mark = await markPacks(this.#parts, packs);
    if (mark === undefined) return false;
    const liveBytes = plan.reduce((sum, pack) => sum + pack.liveBytes, 0);
    this.#budgetBytes -= liveBytes;
    this.#planned.set(mark, liveBytes);
    return true;
  }

  async #reclaimReady(options: MoveOptions): Promise<void> {
    for (const [number, mark] of Array.from(this.#parts.history.state.marks)) {
      if (mark.waitsFor.length > 0) continue;
      const liveBytes = this.#liveBytesOf(mark.packs);
      const reclaimed = await reclaimMark(this.#parts, number, options);
      this.#total.add(reclaimed);
      const { noRoom, freedBytes } = reclaimed;
      if (noRoom === undefined) {
        this.#limit.fitted(liveBytes, freedBytes);
        continue;
      }
      this.#limit.failed(Math.min(liveBytes / 2, noRoom.triedBytes), freedBytes);
      this.#budgetBytes += this.#planned.get(number) ?? 0;
      for (const { pack } of mark.packs) this.#passed.delete(pack);
    }
  }

  #liveBytesOf(packs: readonly { readonly pack: string }[]): number {
    const marked = new Set(packs.map(({ pack }) => pack));
    const rows = [...this.#parts.keeper.packs.rows()].filter(({ id }) => marked.has(id));
    return rows.reduce((sum, { liveBytes }) => sum + liveBytes, 0);
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

  /** The last `StoreFull`. */
  noRoom: HoldfastError | undefined;

  add(reclaimed: Reclaimed): void {
    this.noRoom = reclaimed.noRoom?.error ?? this.noRoom;
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
