/**
 * Jobs that copy what lies below an image into it. Each has a node of its own among the nodes until the job is
 * gone, and from the copy's end on that node lies on nothing: `query-named-block-nodes` ends QEMU 7.2 then
 * (bdrv_refresh_filename), with all that the guest has in memory. So it is never asked while there is one.
 */
import type { QmpClient } from '../qmp/qmp-client.ts';
import type { QmpJob } from '../qmp/qmp-commands.ts';

/** Of the jobs that move a booted VM's disks to their own images; the disk's name ends it. */
export const MOVE_JOB = 'holdfast-move-';

export function isMoveJob({ id }: Pick<QmpJob, 'id'>): boolean {
  return id.startsWith(MOVE_JOB);
}

/** Anybody's, also one that has ended and was not dismissed. */
export async function hasStreamJob(qmp: QmpClient): Promise<boolean> {
  return (await qmp.execute('query-jobs')).some(({ type }) => type === 'stream');
}
