/**
 * The work of a job that deletes an item's data for good (M33): its points expire in the repository, then the
 * item is no more. Run again after a kill, it goes on where it was. Space is given back by compaction, in its time.
 */
import { pause, throwIfCancelled } from '#base';
import { expirePoints } from '#backup';
import { bootedPoints } from '../booting/booted-points.ts';
import type { JobRun, JobWork } from '../jobs/job-runner.ts';
import type { OpenRepository } from '../repositories/repositories.ts';
import type { ServiceParts } from '../service-parts.ts';
import { removeItem } from './change-item.ts';
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
      await parts.repositories.use(item.vaultId, async (repository) => {
        const points = pointsOf(repository, item);
        const { freedBytes } = await expirePoints(repository.parts, points);
        run.property('Recovery points deleted', String(points.length));
        run.property('Freed', `${Math.ceil(freedBytes / 1024 ** 2)} MB`);
      });
      await removeItem(parts, item);
      await run.task({ name: TASK, status: 'Completed', endedAt: parts.clock.nowMs() });
    },
    // Points expire all at once: from then on the item must go, however often the rest of it was broken off.
    isDone: async ({ job }) => {
      const item = await findItemById(parts.catalogue.read, job.itemId!);
      if (item === undefined) return true;
      const isExpired = await parts.repositories.use(
        item.vaultId,
        async (repository) => pointsOf(repository, item).length === 0,
      );
      if (isExpired) await removeItem(parts, item);
      return isExpired;
    },
  };
}

function pointsOf({ parts, state }: OpenRepository, item: Item): readonly string[] {
  const itemId = parts.keyring.itemId(item.repositoryItem);
  return [...state.points.values()]
    .filter((point) => point.visible && point.item === itemId)
    .map(({ point }) => point);
}

/** A VM that runs from a point would lose its disks (decision 0010). */
async function untilNoneBooted(
  { catalogue, clock }: ServiceParts,
  run: JobRun,
  itemId: string,
): Promise<void> {
  for (;;) {
    const points = await bootedPoints(catalogue.read, itemId);
    if (points.size === 0) break;
    run.property('Waits for VMs that run from', [...points].join(', '));
    await pause(clock, WAIT_MS, run.signal);
    throwIfCancelled(run.signal);
  }
  run.property('Waits for VMs that run from', '');
}
