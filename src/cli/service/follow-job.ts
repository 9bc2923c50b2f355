/**
 * Waits for a job, showing its phase, bytes, speed and time left. The service is asked twice a second; between two
 * answers nothing is made up.
 */
import { HoldfastError } from '#base';
import { hasEnded, jobFacts, type JobFacts } from './job-facts.ts';
import type { Named } from './names.ts';
import { ServiceRefusal } from './refusal.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';

const POLL_MS = 500;

export type JobName = { readonly vault: Named; readonly id: string };

/**
 * @returns the job when it has ended.
 * @throws {HoldfastError} `Cancelled` after Ctrl-C: the job goes on.
 */
export async function followJob(context: ServiceContext, name: JobName): Promise<JobFacts> {
  const { service, terminal, signal, surroundings } = context;
  for (;;) {
    const job = await getJob(service, name);
    if (hasEnded(job)) {
      terminal.clearProgress();
      return job;
    }
    report(context, job);
    try {
      await surroundings.clock.sleep(POLL_MS, signal);
    } catch (error) {
      const goesOn = `job ${name.id} goes on: holdfast jobs wait ${name.id}, or jobs stop ${name.id}`;
      throw new HoldfastError('Cancelled', `no longer waiting; the ${goesOn}`, { cause: error });
    }
  }
}

export async function getJob(service: Service, { vault, id }: JobName): Promise<JobFacts> {
  const { jobDetails } = await service.backup();
  return jobFacts(await service.ask(async () => await jobDetails.get(vault.name, vault.group, id)));
}

function report({ terminal }: ServiceContext, job: JobFacts): void {
  const { properties = {}, tasks = [], status, operation, vm } = job;
  const task = tasks.find((one) => one.status === 'InProgress')?.name;
  const doneBytes = bytesOf(properties['Bytes done']);
  if (status === 'Cancelling') return terminal.announce(`${operation} of ${vm}: cancelling`);
  if (doneBytes === undefined) {
    return terminal.announce(`${operation} of ${vm}: ${task ?? 'waiting for its turn'}`);
  }
  const totalBytes = bytesOf(properties['Bytes in all']);
  const phase = properties['Phase'] ?? task ?? operation;
  terminal.onProgress?.({ phase, doneBytes, ...(totalBytes === undefined ? {} : { totalBytes }) });
}

function bytesOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

/** A job that did not do what it should, as the error that its command ends with. */
export function failureOfJob({ errors = [], operation, vm, status, id }: JobFacts): ServiceRefusal {
  const [first] = errors;
  const what = `the job ${operation} of ${vm} ${status === 'Cancelled' ? 'was cancelled' : 'failed'}`;
  const why = first === undefined ? '' : `: ${first.message}`;
  const code = first?.code ?? (status === 'Cancelled' ? 'Cancelled' : 'JobFailed');
  return new ServiceRefusal(200, { code, message: `${what}${why} (job ${id})` });
}
