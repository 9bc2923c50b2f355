/**
 * The work of a Verify job: reads the vault's repository beside whoever works in it. Damage fails the job, which
 * names the objects and the points that they touch.
 */
import { z } from 'zod';
import { HoldfastError } from '#base';
import { verify, type VerifyResult } from '#backup';
import type { JobRun, JobWork } from '../jobs/job-runner.ts';
import type { ServiceParts } from '../service-parts.ts';

const TASK = 'Verify vault';
const MOST_NAMED = 5;

const REQUEST = z.strictObject({ readDataPercent: z.number().optional() });

export type VerifyRequest = Readonly<z.infer<typeof REQUEST>>;

export function verifyWork(parts: ServiceParts): JobWork {
  return {
    tasks: [TASK],
    isCancellable: true,
    run: async (run) => {
      const { readDataPercent } = REQUEST.parse(JSON.parse(run.job.request));
      await run.task({ name: TASK, status: 'InProgress', startedAt: parts.clock.nowMs() });
      const found = await parts.repositories.read(run.job.vaultId, async (repository) =>
        verify(repository, {
          signal: run.signal,
          onProgress: run.progress,
          ...(readDataPercent === undefined ? {} : { readDataPercent }),
        }),
      );
      told(run, found);
      await run.task({ name: TASK, status: 'Completed', endedAt: parts.clock.nowMs() });
    },
  };
}

/** @throws {HoldfastError} `ObjectDamaged` */
function told(run: JobRun, { ok, checked, damage, points }: VerifyResult): void {
  run.property('Recovery points checked', String(checked.points));
  run.property('Blocks checked', String(checked.blocks));
  run.property('Data read', `${Math.ceil(checked.readBytes / 1024 ** 2)} MB`);
  if (ok) return;
  const objects = named(damage.map(({ object }) => object));
  const touched = named(points.map(({ point, item }) => `${point} of ${item}`));
  run.property('Damaged objects', objects);
  if (points.length > 0) run.property('Recovery points that cannot be restored whole', touched);
  throw new HoldfastError(
    'ObjectDamaged',
    `The vault is damaged: ${objects}. ${points.length === 0 ? 'Every recovery point restores.' : `Not restorable whole: ${touched}. Back these items up again, which stores anew what their disks still have.`}`,
  );
}

function named(all: readonly string[]): string {
  const different = [...new Set(all)];
  const more = different.length - MOST_NAMED;
  return different.slice(0, MOST_NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
