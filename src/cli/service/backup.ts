/** `holdfast backup`: a recovery point of a VM now, in the vault that protects it. */
import { dateToCome } from '../arguments/dates.ts';
import { formatBytes, formatDuration } from '../output/units.ts';
import { begin } from './accepted.ts';
import { failureOfJob, followJob, getJob } from './follow-job.ts';
import { exitCodeOf, type JobFacts } from './job-facts.ts';
import { fullName } from './names.ts';
import { consistencyText, listPoints, type PointFacts } from './points.ts';
import { FABRIC, findItem } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import { shortTime } from './time.ts';

export type BackupOptions = {
  readonly vault?: string;
  /** A date, or a number of days: `30d`. */
  readonly expires?: string;
  readonly wait: boolean;
};

/** @throws {ServiceRefusal} with the code of the job where it failed. */
export async function backUpVm(
  context: ServiceContext,
  name: string,
  options: BackupOptions,
): Promise<void> {
  const { service, terminal } = context;
  const { expires, vault: of, wait } = options;
  const expiry =
    expires === undefined ? undefined : dateToCome('--expires', expires, service.clock);
  const target = await findItem(service, name, of);
  const { vault, container, item } = target;
  const { backups } = await service.backup();
  const body = {
    properties: {
      objectType: 'IaasVMBackupRequest' as const,
      ...(expiry === undefined ? {} : { recoveryPointExpiryTimeInUTC: new Date(expiry) }),
    },
  };
  const jobId = await begin(service, vault, async (onResponse) => {
    await backups.trigger(vault.name, vault.group, FABRIC, container, item, body, { onResponse });
  });
  if (jobId === undefined) throw new TypeError('a backup was accepted without a job');
  const begun = { vault, id: jobId };
  if (!wait) {
    const job = await getJob(service, begun);
    terminal.result(job, () => `Backup of ${fullName(target.vm)} has begun: job ${job.id}`);
    return;
  }
  const job = await followJob(context, begun);
  if (exitCodeOf(job) !== 0) throw failureOfJob(job);
  const point = (await listPoints(service, target)).find(({ id }) => id === job.pointId);
  terminal.result({ ...job, point }, () => describe(fullName(target.vm), job, point));
}

function describe(vm: string, job: JobFacts, point: PointFacts | undefined): string {
  const took =
    job.durationSeconds === undefined ? '' : ` in ${formatDuration(job.durationSeconds)}`;
  const lines = [`Recovery point ${point?.id ?? job.pointId ?? ''} of ${vm}, taken${took}.`];
  if (point !== undefined) {
    const expires = point.expiryTime === undefined ? 'by the policy' : shortTime(point.expiryTime);
    lines.push(
      `${sentence(consistencyText(point.consistency))}; ${formatBytes(point.stored)} added to the repository; expires ${expires}.`,
    );
  }
  return [...lines, ...(job.warnings ?? []).map((text) => `Warning: ${text}`)].join('\n');
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
