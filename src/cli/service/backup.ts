/** `holdfast backup`: a recovery point of a VM now, in the vault that protects it. */
import { formatBytes, formatDuration } from '../output/units.ts';
import { UsageError } from '../usage-error.ts';
import { begin } from './accepted.ts';
import { failureOfJob, followJob, getJob } from './follow-job.ts';
import { exitCodeOf, type JobFacts } from './job-facts.ts';
import { fullName } from './names.ts';
import { consistencyText, listPoints, type PointFacts } from './points.ts';
import { instant } from './policies.ts';
import { FABRIC, findItem } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import { shortTime } from './time.ts';

export type BackupOptions = {
  readonly vault?: string;
  /** A date, or a number of days: `30d`. */
  readonly expires?: string;
  readonly wait: boolean;
};

const DAY_MS = 86_400_000;

/** @throws {ServiceRefusal} with the code of the job where it failed. */
export async function backUpVm(
  context: ServiceContext,
  name: string,
  options: BackupOptions,
): Promise<void> {
  const { service, terminal } = context;
  const { expires, vault: of, wait } = options;
  const expiry = expires === undefined ? undefined : expiryOf(context, expires);
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

/** @param text a date, or a number of days: `30d`. @returns as ISO 8601. */
export function expiryOf({ surroundings }: ServiceContext, text: string): string {
  const [, days] = /^(\d{1,6})d(?:ays)?$/i.exec(text) ?? [];
  if (days === undefined) return instant('--expires', text);
  const expiry = new Date(surroundings.clock.nowMs() + Number(days) * DAY_MS);
  if (!Number.isNaN(expiry.getTime())) return expiry.toISOString();
  throw new UsageError(`--expires "${text}" is too far away`);
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
