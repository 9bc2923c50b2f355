/**
 * The work of a job that deletes an item's data for good (M33): its points expire in the repository, then the
 * item is no more. Run again after a kill, it goes on where it was. Space is given back by compaction, in its time.
 */
import { expirePoints } from '#backup';
import type { JobWork } from '../jobs/job-runner.ts';
import type { ServiceParts } from '../service-parts.ts';
import { removeItem } from './change-item.ts';
import { findItemById } from './items.ts';

const TASK = 'Delete backup data';

export function deleteDataWork(parts: ServiceParts): JobWork {
  return {
    tasks: [TASK],
    isCancellable: false,
    run: async (run) => {
      const item = await findItemById(parts.catalogue.read, run.job.itemId!);
      if (item === undefined) return;
      await run.task({ name: TASK, status: 'InProgress', startedAt: parts.clock.nowMs() });
      await parts.repositories.use(item.vaultId, async (repository) => {
        const { keyring } = repository.parts;
        const itemId = keyring.itemId(item.repositoryItem);
        const points = [...repository.state.points.values()]
          .filter((point) => point.visible && point.item === itemId)
          .map(({ point }) => point);
        const { freedBytes } = await expirePoints(repository.parts, points);
        run.property('Recovery points deleted', String(points.length));
        run.property('Freed', `${Math.ceil(freedBytes / 1024 ** 2)} MB`);
      });
      await removeItem(parts, item);
      await run.task({ name: TASK, status: 'Completed', endedAt: parts.clock.nowMs() });
    },
  };
}
