/**
 * Jobs as they are read.
 *
 * ```
 *   add ──► InProgress ──lease──► (running) ──► Completed | CompletedWithWarnings | Failed
 *               │  ▲                 │  │ cancel
 *        cancel │  └── retry, restart┘  ▼       (a job that waits for its next try shows why, as its failure)
 *               ▼                    Cancelling ──► Cancelled   (or Completed, if it was too late)
 *           Cancelled
 * ```
 */
import { HoldfastError } from '#base';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import type { ServiceSettings } from '../service-settings.ts';
import type { JobOperation } from './job-runner.ts';
import {
  failureFromJson,
  progressFromJson,
  propertiesFromJson,
  tasksFromJson,
  warningsFromJson,
  type JobFailure,
  type JobProgress,
  type JobTask,
  type JobWarning,
} from './job-records.ts';

export const JOB_STATUSES = [
  'InProgress',
  'Cancelling',
  'Completed',
  'CompletedWithWarnings',
  'Failed',
  'Cancelled',
] as const;

type JobStatus = (typeof JOB_STATUSES)[number];

export type Job = {
  readonly id: string;
  readonly vaultId: string;
  readonly itemId: string | undefined;
  readonly entity: string;
  readonly operation: JobOperation;
  readonly status: JobStatus;
  readonly isUserTriggered: boolean;
  readonly tasks: readonly JobTask[];
  readonly progress: JobProgress | undefined;
  readonly properties: Readonly<Record<string, string>>;
  /** Of one that has not ended: why it waits for its next try. */
  readonly failure: JobFailure | undefined;
  /** When it is tried again; undefined: it does not wait for that. */
  readonly nextTryAt: number | undefined;
  readonly warnings: readonly JobWarning[];
  readonly pointId: string | undefined;
  readonly createdAt: number;
  readonly startedAt: number | undefined;
  readonly endedAt: number | undefined;
  readonly attempt: number;
};

export type JobFilter = {
  readonly statuses?: readonly JobStatus[];
  readonly operations?: readonly JobOperation[];
  /** Begun in this time, ends included. */
  readonly from?: number;
  readonly to?: number;
};

/** @throws {HoldfastError} `BMSUserErrorJobNotFound`. */
export async function getJob(reader: CatalogueReader, vaultId: string, id: string): Promise<Job> {
  const query = reader.selectFrom('jobs').selectAll().where('vaultId', '=', vaultId);
  const row = await query.where('id', '=', id.toLowerCase()).executeTakeFirst();
  if (row === undefined) {
    throw new HoldfastError('BMSUserErrorJobNotFound', `The vault has no job '${id}'.`);
  }
  return jobOf(row);
}

/** Newest first. */
export async function listJobs(
  reader: CatalogueReader,
  vaultId: string,
  { statuses, operations, from, to }: JobFilter,
): Promise<readonly Job[]> {
  let query = reader.selectFrom('jobs').selectAll().where('vaultId', '=', vaultId);
  if (statuses !== undefined) query = query.where('status', 'in', statuses);
  if (operations !== undefined) query = query.where('operation', 'in', operations);
  if (from !== undefined) query = query.where('createdAt', '>=', from);
  if (to !== undefined) query = query.where('createdAt', '<=', to);
  return (await query.orderBy('createdAt', 'desc').orderBy('id').execute()).map(jobOf);
}

/** How many jobs of a vault there are of each kind and status. */
export async function countJobs(
  reader: CatalogueReader,
  vaultId: string,
): Promise<
  readonly { readonly operation: string; readonly status: string; readonly count: number }[]
> {
  return await reader
    .selectFrom('jobs')
    .where('vaultId', '=', vaultId)
    .groupBy(['operation', 'status'])
    .select(({ fn }) => ['operation', 'status', fn.countAll<number>().as('count')])
    .execute();
}

/** R40, where the settings say so: a backup past its snapshot. */
export function isPastCancelling(
  { cancelOnlyInSnapshot }: ServiceSettings,
  { operation, tasks }: { readonly operation: string; readonly tasks: readonly JobTask[] },
): boolean {
  if (!cancelOnlyInSnapshot || !['Backup', 'GroupBackup'].includes(operation)) return false;
  return tasks.some(({ name, status }) => name === 'Take Snapshot' && status === 'Completed');
}

function jobOf(row: Row<'jobs'>): Job {
  const { tasks, progress, properties, failure, warnings } = row;
  return {
    id: row.id,
    vaultId: row.vaultId,
    itemId: row.itemId ?? undefined,
    entity: row.entity,
    operation: row.operation as JobOperation,
    status: row.status as JobStatus,
    isUserTriggered: row.isUserTriggered === 1,
    tasks: tasksFromJson(tasks),
    progress: progress === null ? undefined : progressFromJson(progress),
    properties: propertiesFromJson(properties),
    failure: failure === null ? undefined : failureFromJson(failure),
    nextTryAt: failure !== null && row.status === 'InProgress' ? row.notBefore : undefined,
    warnings: warningsFromJson(warnings),
    pointId: row.pointId ?? undefined,
    createdAt: row.createdAt,
    startedAt: row.startedAt ?? undefined,
    endedAt: row.endedAt ?? undefined,
    attempt: row.attempt,
  };
}
