/** `holdfast jobs …`: what the service does and did. */
import { HoldfastError } from '#base';
import { formatFacts } from '../output/facts.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatCount, formatDuration } from '../output/units.ts';
import { followJob, getJob, type JobName } from './follow-job.ts';
import { entityOf, exitCodeOf, hasEnded, jobFacts, type JobFacts } from './job-facts.ts';
import { findById, fullName, isSame, notFound, type Named } from './names.ts';
import { findVault, listItems, listVaults, listVms } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';
import { shortTime } from './time.ts';

export type JobsOptions = {
  readonly vault?: string;
  readonly status?: string;
  readonly operation?: string;
  readonly vm?: string;
  readonly last?: number;
};

type OfVault = { readonly vault?: string };

const DEFAULT_LAST = 50;

export async function showJobs(
  { service, terminal }: ServiceContext,
  options: JobsOptions,
): Promise<void> {
  const { last = DEFAULT_LAST, vm } = options;
  const all = await listJobs(service, options);
  // A VM that is gone, and its item too, may still have jobs.
  if (vm !== undefined && all.length === 0) await requireKnown(service, vm);
  const vaults = await vaultsOf(service, options);
  const jobs = await Promise.all(
    all.slice(0, last).map(async (job) => await toldWhole(service, vaults, job)),
  );
  terminal.result({ jobs }, () => {
    if (jobs.length === 0) return 'There are no such jobs.';
    const table = formatTable(
      [
        left('JOB'),
        left('OPERATION'),
        left('VM'),
        left('STATUS'),
        left('BEGUN'),
        right('TOOK'),
        left('VAULT'),
      ],
      jobs.map((job) => [
        job.id,
        job.operation,
        entityOf(job),
        statusText(job),
        shortTime(job.startTime),
        job.durationSeconds === undefined ? '' : formatDuration(job.durationSeconds),
        job.vault,
      ]),
    );
    const more = all.length - jobs.length;
    return more > 0
      ? `${table}\n\n${formatCount(more, 'older job')}: --last ${all.length} shows all.`
      : table;
  });
}

/** A list does not tell how far those are that live as long as what they serve is wanted. */
async function toldWhole(
  service: Service,
  vaults: readonly Named[],
  job: JobFacts,
): Promise<JobFacts> {
  const isLong = job.operation === 'InstantBoot' || job.operation === 'ExportDisks';
  return isLong && !hasEnded(job) ? await getJob(service, nameIn(vaults, job)) : job;
}

function statusText({ status, operation, properties = {} }: JobFacts): string {
  if (status !== 'InProgress') return status;
  const { State: state, Expires: expires } = properties;
  if (operation === 'ExportDisks' && expires !== undefined) {
    return `${status}: until ${shortTime(expires)}`;
  }
  const again = properties['Next try'];
  const told = again === undefined ? state : `tried again at ${shortTime(again)}`;
  return told === undefined ? status : `${status}: ${told}`;
}

/** Whether only somebody, or its time limit of hours, ends it. */
function isEndless({ operation, properties }: JobFacts): boolean {
  return operation === 'ExportDisks' || properties?.['Job Type'] === 'Instant boot on trial';
}

export async function showJob(
  { service, terminal }: ServiceContext,
  id: string,
  { vault }: OfVault,
): Promise<void> {
  const job = await getJob(service, await findJob(service, id, vault));
  terminal.result(job, () => describeJob(job));
}

/** @param id undefined: all that run now. @returns the exit code: 1 if a job failed. */
export async function waitForJobs(
  context: ServiceContext,
  id: string | undefined,
  options: OfVault,
): Promise<number> {
  const { service, terminal } = context;
  if (id === undefined) return await waitForAll(context, options);
  const job = await followJob(context, await findJob(service, id, options.vault));
  terminal.result(job, () => describeJob(job));
  return exitCodeOf(job);
}

/** One after the other, the oldest first: all go on meanwhile. Exports and trials go on until they are ended. */
async function waitForAll(context: ServiceContext, options: OfVault): Promise<number> {
  const { service, terminal } = context;
  const vaults = await vaultsOf(service, options);
  const open = (await listJobs(service, options)).filter((job) => !hasEnded(job)).toReversed();
  const whole = open.map(async (job) => await toldWhole(service, vaults, job));
  const running = (await Promise.all(whole)).filter((job) => !isEndless(job));
  const ended: JobFacts[] = [];
  for (const job of running) ended.push(await followJob(context, nameIn(vaults, job)));
  terminal.result({ jobs: ended }, () =>
    ended.length === 0 ? 'No job runs.' : ended.map(describeJob).join('\n\n'),
  );
  return ended.some((job) => exitCodeOf(job) !== 0) ? 1 : 0;
}

export async function stopJob(
  context: ServiceContext,
  id: string,
  { vault, wait }: OfVault & { readonly wait: boolean },
): Promise<void> {
  const { service, terminal } = context;
  const name = await findJob(service, id, vault);
  const { jobCancellations } = await service.backup();
  await service.ask(
    async () => await jobCancellations.trigger(name.vault.name, name.vault.group, name.id),
  );
  const job = wait ? await followJob(context, name) : await getJob(service, name);
  terminal.result(
    job,
    () => `Job ${job.id} (${job.operation} of ${entityOf(job)}): ${job.status}.`,
  );
}

export function describeJob(job: JobFacts): string {
  const { properties = {}, tasks = [], errors = [], warnings = [], durationSeconds } = job;
  const facts = formatFacts([
    ['Job', job.id],
    ['Operation', `${job.operation} of ${entityOf(job)}`],
    ['Vault', job.vault],
    ['Status', job.status],
    ['Begun', shortTime(job.startTime)],
    ['Took', durationSeconds === undefined ? undefined : formatDuration(durationSeconds)],
    ...Object.entries(properties).filter(([name]) => !/^(VM Name|Bytes .*)$/.test(name)),
  ]);
  const table = formatTable(
    [left('TASK'), left('STATUS'), right('TOOK')],
    tasks.map((task) => [
      task.name,
      task.status,
      task.durationSeconds === undefined ? '' : formatDuration(task.durationSeconds),
    ]),
  );
  const told = [
    ...errors.flatMap(({ code, message, recommendations }) => [
      `${code}: ${message}`,
      ...recommendations.map((one) => `  ${one}`),
    ]),
    // Those with a code are among the errors, too.
    ...warnings
      .filter((text) => !errors.some(({ message }) => message === text))
      .map((text) => `Warning: ${text}`),
  ];
  return [
    facts,
    ...(tasks.length === 0 ? [] : [table]),
    ...(told.length === 0 ? [] : [told.join('\n')]),
  ].join('\n\n');
}

export async function listJobs(
  service: Service,
  { vault: of, status, operation, vm }: JobsOptions,
): Promise<readonly JobFacts[]> {
  const vaults = await vaultsOf(service, { vault: of });
  const { backupJobs } = await service.backup();
  const filter = [
    ['backupManagementType', 'AzureIaasVM'],
    ['status', status],
    ['operation', operation],
  ]
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key} eq '${value!.replaceAll("'", "''")}'`)
    .join(' and ');
  const lists = await Promise.all(
    vaults.map(
      async ({ group, name }) => await service.all(backupJobs.list(name, group, { filter })),
    ),
  );
  return lists
    .flat()
    .map(jobFacts)
    .filter((job) => vm === undefined || isOf(job, vm))
    .toSorted((a, b) => (b.startTime ?? '').localeCompare(a.startTime ?? ''));
}

function isOf(job: JobFacts, vm: string): boolean {
  return isSame(vm.includes('/') ? `${job.group ?? ''}/${job.vm}` : job.vm, vm);
}

/** @throws {HoldfastError} `ResourceNotFound`: neither a VM nor what is protected is called so, and no job was of it. */
async function requireKnown(service: Service, vm: string): Promise<void> {
  const named = [...(await listVms(service)), ...(await listItems(service)).map((item) => item.vm)];
  const isIt = (known: Named): boolean =>
    isSame(vm.includes('/') ? fullName(known) : known.name, vm);
  if (named.some(isIt) || (await listJobs(service, { vm })).length > 0) return;
  const names = [...new Set(named.map(fullName))];
  throw notFound(`there is no VM ${vm}`, 'VM', names);
}

async function vaultsOf(
  service: Service,
  { vault }: { readonly vault?: string | undefined },
): Promise<readonly Named[]> {
  return vault === undefined ? await listVaults(service) : [await findVault(service, vault)];
}

/** @param vaults those that the job was listed of. */
function nameIn(vaults: readonly Named[], { id, vault }: JobFacts): JobName {
  return { vault: vaults.find((one) => isSame(fullName(one), vault))!, id };
}

/** By its id, or by how the id begins where only one does. */
async function findJob(service: Service, id: string, vault: string | undefined): Promise<JobName> {
  const vaults = await vaultsOf(service, { vault });
  const jobs = await listJobs(service, vault === undefined ? {} : { vault });
  const found = findById(jobs, id, 'job');
  if (found !== undefined) return nameIn(vaults, found);
  const which = id === '' ? 'an empty id names no job' : `there is no job ${id}`;
  throw new HoldfastError('ResourceNotFound', `${which}; holdfast jobs list shows them`);
}
