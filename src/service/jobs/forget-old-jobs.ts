/** The history of jobs is kept for six months (R43); of operations, which are only asked about soon after, a week. */
import type { RecordParts } from '../record-parts.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const JOB_DAYS = 183;
const OPERATION_DAYS = 7;

/** What has not ended stays, however old. */
export async function forgetOldJobs({
  catalogue,
  clock,
}: Pick<RecordParts, 'catalogue' | 'clock'>): Promise<void> {
  const now = clock.nowMs();
  await catalogue.change(async (change) => {
    const jobsBefore = now - JOB_DAYS * DAY_MS;
    await change.deleteFrom('jobs').where('endedAt', '<', jobsBefore).execute();
    const operationsBefore = now - OPERATION_DAYS * DAY_MS;
    await change.deleteFrom('operations').where('endedAt', '<', operationsBefore).execute();
  });
}
