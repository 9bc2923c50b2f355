/**
 * The work of a job that deletes an item's data for good (M33): its points expire in the repository, then the
 * item is no more. Run again after a kill, it goes on where it was. Space is given back by compaction, in its time.
 * An item that was undeleted meanwhile, or whose time is not over by a clock that was put right, is left as it is.
 */
import { pause, throwIfCancelled } from '#base';
import { expirePoints } from '#backup';
import { bootedPoints } from '../booting/booted-points.ts';
import { readChargesBefore } from '../charges/read-charges.ts';
import type { JobRun, JobWork } from '../jobs/job-runner.ts';
import { changeVault } from '../repositories/change-vault.ts';
import { freeingSpace } from '../repositories/freeing-space.ts';
import type { OpenRepository } from '../repositories/repositories.ts';
import type { ServiceParts } from '../service-parts.ts';
import { removalOf, removeItem } from './change-item.ts';
import { isOver } from './item-states.ts';
import { findItemById, type Item } from './items.ts';

const TASK = 'Delete backup data';
const WAIT_MS = 1000;

export function deleteDataWork(parts: ServiceParts): JobWork {
  return {
    tasks: [TASK],
    isCancellable: false,
    run: async (run) => {
      const item = await findItemById(parts.catalogue.read, run.job.itemId!);
      if (item === undefined) return;
      await run.task({ name: TASK, status: 'InProgress', startedAt: parts.clock.nowMs() });
      await untilNoneBooted(parts, run, item.id);
      await readChargesBefore(parts, item.vaultId);
      if (!(await deleteAll(parts, run, item.id)))
        run.property('Not deleted', 'The VM was undeleted, or its soft delete has not ended.');
      await run.task({ name: TASK, status: 'Completed', endedAt: parts.clock.nowMs() });
    },
    // Points expire all at once: from then on the item must go, however often the rest of it was broken off.
    isDone: async ({ job }) => {
      const item = await findItemById(parts.catalogue.read, job.itemId!);
      if (item === undefined || !isOver(item, parts.clock.nowMs())) return true;
      const isExpired = await freeingSpace(
        parts,
        item.vaultId,
        async (repository) => pointsOf(repository, item).length === 0,
      );
      if (isExpired) await removeItem(parts, item);
      return isExpired;
    },
  };
}

/** Points and item within one turn of the vault, so that no undeletion comes between. @returns false: the item is to stay. */
async function deleteAll(parts: ServiceParts, run: JobRun, itemId: string): Promise<boolean> {
  const { vaultId } = run.job;
  return await changeVault(parts, vaultId, async () => {
    const item = await findItemById(parts.catalogue.read, itemId);
    if (item === undefined || !isOver(item, parts.clock.nowMs())) {
      return { documents: [], apply: async () => false };
    }
    await freeingSpace(parts, vaultId, async (repository) => {
      const points = pointsOf(repository, item);
      const { freedBytes } = await expirePoints(repository.parts, points);
      run.property('Recovery points deleted', String(points.length));
      run.property('Freed', `${Math.ceil(freedBytes / 1024 ** 2)} MB`);
    });
    const { documents, apply } = await removalOf(parts, item);
    return {
      documents,
      apply: async (change) => {
        await apply(change);
        return true;
      },
    };
  });
}

function pointsOf({ parts, state }: OpenRepository, item: Item): readonly string[] {
  const itemId = parts.keyring.itemId(item.repositoryItem);
  return [...state.points.values()]
    .filter((point) => point.visible && point.item === itemId)
    .map(({ point }) => point);
}

/** A VM that runs from a point would lose its disks (decision 0010). An item that is to stay is not waited for. */
async function untilNoneBooted(parts: ServiceParts, run: JobRun, itemId: string): Promise<void> {
  const { catalogue, clock } = parts;
  for (;;) {
    const item = await findItemById(catalogue.read, itemId);
    if (item === undefined || !isOver(item, parts.clock.nowMs())) break;
    const points = await bootedPoints(catalogue.read, itemId);
    if (points.size === 0) break;
    run.property('Waits for VMs that run from', [...points].join(', '));
    await pause(clock, WAIT_MS, run.signal);
    throwIfCancelled(run.signal);
  }
  run.property('Waits for VMs that run from', '');
}
