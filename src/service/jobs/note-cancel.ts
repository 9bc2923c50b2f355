/** That somebody wants a job ended: noted in its row, whoever works at it. */
import { HoldfastError } from '#base';
import { noteActivity } from '../activities/activities.ts';
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import type { RecordParts } from '../record-parts.ts';
import { notCancellable } from './job-failures.ts';
import { tasksFromJson } from './job-records.ts';
import type { JobWorks } from './job-runner.ts';
import { isPastCancelling } from './jobs.ts';

type Runner = { readonly parts: RecordParts; readonly works: JobWorks };

/** @returns the job's id. @throws as `JobRunner.cancel`. */
export async function noteCancel(
  { parts, works }: Runner,
  of: { readonly vaultId: string; readonly id: string; readonly actor: string | undefined },
): Promise<string> {
  const { vaultId, id, actor } = of;
  const jobId = id.toLowerCase();
  await parts.catalogue.change(async (change) => {
    const query = change.selectFrom('jobs').selectAll().where('vaultId', '=', vaultId);
    const row = await query.where('id', '=', jobId).executeTakeFirst();
    if (row === undefined) {
      throw new HoldfastError('BMSUserErrorJobNotFound', `The vault has no job '${jobId}'.`);
    }
    if (row.endedAt !== null) throw notCancellable(`it isn't in progress, but ${row.status}`);
    if (works[row.operation as keyof JobWorks]?.isCancellable !== true) {
      throw notCancellable(`Cancellation isn't supported for this job type`);
    }
    const { operation } = row;
    if (isPastCancelling(parts.settings, { operation, tasks: tasksFromJson(row.tasks) })) {
      throw notCancellable('its Take Snapshot has ended, and cancelOnlyInSnapshot is set');
    }
    const columns = { status: 'Cancelling', cancelRequestedAt: parts.clock.nowMs(), notBefore: 0 };
    await change.updateTable('jobs').set(columns).where('id', '=', jobId).execute();
    const detail = { operation, job: jobId };
    const by = actor === undefined ? {} : { actor };
    const activity = { action: 'cancel job', target: await targetOf(change, row), detail };
    await noteActivity({ clock: parts.clock, ...by }, change, activity);
  });
  return jobId;
}

/** @returns the ids of all that are open, those that were to end before included. */
export async function noteCancelOfAll(
  { parts }: Pick<Runner, 'parts'>,
  vaultId: string,
): Promise<readonly string[]> {
  return await parts.catalogue.change(async (change) => {
    const columns = { status: 'Cancelling', cancelRequestedAt: parts.clock.nowMs(), notBefore: 0 };
    const open = change.updateTable('jobs').set(columns).where('vaultId', '=', vaultId);
    const rows = await open.where('endedAt', 'is', null).returning('id').execute();
    return rows.map(({ id }) => id);
  });
}

/** A VM by GROUP/NAME. */
async function targetOf(
  change: CatalogueChange,
  { itemId, entity }: Pick<Row<'jobs'>, 'itemId' | 'entity'>,
): Promise<string> {
  const query = change.selectFrom('items').select('vmGroup').where('id', '=', itemId);
  const item = itemId === null ? undefined : await query.executeTakeFirst();
  return item === undefined ? entity : `${item.vmGroup}/${entity}`;
}
