/**
 * Waits for a job, showing its phase, bytes, speed and time left, as the service tells of each change (server-sent
 * events of Holdfast's own, with the job as Azure's API shows it).
 */
import type { JobResource } from '@azure/arm-recoveryservicesbackup';
import { HoldfastError, isHoldfastError } from '#base';
import { entityOf, hasEnded, jobFacts, type JobFacts } from './job-facts.ts';
import type { Named } from './names.ts';
import { ServiceRefusal } from './refusal.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';
import { shortTime } from './time.ts';

/** After a connection that ended before the job. */
const AGAIN_MS = 1_000;
const CANCEL_POLL_MS = 300;

/** A property of jobs that wait for it. */
const NEXT_TRY = 'Next try';

export type JobName = { readonly vault: Named; readonly id: string };

/**
 * @param onChange told of the job as it is, and whenever it changes, until it has ended.
 * @returns the job when it has ended.
 * @throws {HoldfastError} `Cancelled` after Ctrl-C: the job goes on.
 */
export async function followJob(
  context: ServiceContext,
  name: JobName,
  onChange?: (job: JobFacts) => void,
): Promise<JobFacts> {
  const { service, terminal, signal } = context;
  try {
    let toldTry: string | undefined;
    for (;;) {
      for await (const job of changesOf(service, name, signal)) {
        if (!hasEnded(job)) {
          onChange?.(job);
          report(context, job);
          const nextTry = job.properties?.[NEXT_TRY];
          // Once a try, also where there is no terminal: it may take hours.
          if (nextTry !== undefined && nextTry !== toldTry) {
            terminal.warn(`${job.operation} of ${entityOf(job)}: ${waitOf(job.properties ?? {})}`);
          }
          toldTry = nextTry;
          continue;
        }
        terminal.clearProgress();
        return job;
      }
      await service.clock.sleep(AGAIN_MS, signal);
    }
  } catch (error) {
    if (!signal.aborted) throw isTold(error) ? error : serviceGone(name, error);
    const goesOn = `job ${name.id} goes on: holdfast jobs wait ${name.id}, or jobs stop ${name.id}`;
    throw new HoldfastError('Cancelled', `no longer waiting; the ${goesOn}`, { cause: error });
  }
}

const isTold = (error: unknown): boolean =>
  isHoldfastError(error) || error instanceof ServiceRefusal;

/** The connection broke: the service was stopped, most likely. */
function serviceGone({ id }: JobName, cause: unknown): HoldfastError {
  return new HoldfastError(
    'ServiceUnavailable',
    `the service went away; job ${id} goes on when it runs again: holdfast jobs wait ${id}`,
    { cause },
  );
}

/** As it is, then whenever it changes, until it has ended or the connection has. */
async function* changesOf(
  { http, root }: Service,
  { vault, id }: JobName,
  signal: AbortSignal,
): AsyncGenerator<JobFacts, undefined> {
  const group = `${root}/resourceGroups/${encodeURIComponent(vault.group)}`;
  const at = `${group}/providers/Holdfast.Backup/vaults/${encodeURIComponent(vault.name)}`;
  for await (const data of http.events(`${at}/backupJobs/${id}/events`, { signal })) {
    const told = JSON.parse(data) as JobResource;
    if (told.properties !== undefined) yield jobFacts(told);
  }
}

/** Cancels the job, also after Ctrl-C. @returns it when it has ended. */
export async function cancelJob(
  { service, terminal }: Pick<ServiceContext, 'service' | 'terminal'>,
  name: JobName,
): Promise<JobFacts> {
  const { jobCancellations } = await service.backup();
  const { vault, id } = name;
  await service.ask(async () => await jobCancellations.trigger(vault.name, vault.group, id));
  for (;;) {
    const job = await getJob(service, name);
    if (hasEnded(job)) return job;
    terminal.announce(`${job.operation} of ${entityOf(job)}: ending`);
    await service.clock.sleep(CANCEL_POLL_MS);
  }
}

export async function getJob(service: Service, { vault, id }: JobName): Promise<JobFacts> {
  const { jobDetails } = await service.backup();
  return jobFacts(await service.ask(async () => await jobDetails.get(vault.name, vault.group, id)));
}

function report({ terminal }: ServiceContext, job: JobFacts): void {
  const { properties = {}, tasks = [], status, operation } = job;
  const vm = entityOf(job);
  const doneBytes = bytesOf(properties['Bytes done']);
  if (status === 'Cancelling') return terminal.announce(`${operation} of ${vm}: cancelling`);
  if (properties[NEXT_TRY] !== undefined) {
    return terminal.announce(`${operation} of ${vm}: ${waitOf(properties)}`);
  }
  const task = tasks.find((one) => one.status === 'InProgress')?.name;
  if (doneBytes === undefined) {
    return terminal.announce(`${operation} of ${vm}: ${task ?? waitOf(properties)}`);
  }
  const totalBytes = bytesOf(properties['Bytes in all']);
  const phase = properties['Phase'] ?? task ?? operation;
  terminal.onProgress?.({ phase, doneBytes, ...(totalBytes === undefined ? {} : { totalBytes }) });
}

function waitOf({
  [NEXT_TRY]: next,
  'Last error': last,
}: NonNullable<JobFacts['properties']>): string {
  if (next === undefined) return 'waiting for its turn';
  return `tried again at ${shortTime(next)}, after: ${last ?? 'a failure'}`;
}

function bytesOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

/** A job that did not do what it should, as the error that its command ends with. */
export function failureOfJob(job: JobFacts): ServiceRefusal {
  const { errors = [], operation, status, id } = job;
  const [first] = errors;
  const what = `the job ${operation} of ${entityOf(job)} ${status === 'Cancelled' ? 'was cancelled' : 'failed'}`;
  const why = first === undefined ? '' : `: ${first.message}`;
  const code = first?.code ?? (status === 'Cancelled' ? 'Cancelled' : 'JobFailed');
  return new ServiceRefusal(200, { code, message: `${what}${why} (job ${id})` });
}
