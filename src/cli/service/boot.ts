/**
 * `holdfast boot`: a VM that runs from a recovery point within seconds, and is moved to its own disks while it runs.
 * On trial it runs until Ctrl-C, which discards it.
 */
import { HoldfastError } from '#base';
import { formatDuration } from '../output/units.ts';
import { jobOf } from './accepted.ts';
import { accountFor } from './advise-account.ts';
import { cancelJob, failureOfJob, followJob, getJob, type JobName } from './follow-job.ts';
import { exitCodeOf, type JobFacts } from './job-facts.ts';
import { fullName, ownPath, requirePlain } from './names.ts';
import { findPoint, type PointFacts } from './points.ts';
import { findItem } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import { shortTime } from './time.ts';

export type BootOptions = {
  readonly vault?: string;
  readonly as: string;
  readonly host?: string;
  readonly network?: string;
  readonly storageAccount?: string;
  /** LUNs; the system disk is always with them. */
  readonly disks?: readonly number[];
  readonly trial?: boolean;
  readonly wait: boolean;
};

/** @throws {ServiceRefusal} with the code of the job where it failed. */
export async function bootVm(
  context: ServiceContext,
  names: { readonly vm: string; readonly point: string },
  options: BootOptions,
): Promise<void> {
  const { service, terminal } = context;
  requirePlain({ as: options.as, host: options.host, network: options.network });
  const item = await findItem(service, names.vm, options.vault);
  const point = await findPoint(service, item, names.point);
  const account = await accountFor(context, { item, point }, options);
  const { as, host = item.vm.group, network, disks, trial: isTrial = false } = options;
  const group = `${service.root}/resourceGroups/${host}`;
  const networkId = `${group}/providers/Microsoft.Network/virtualNetworks/${network}`;
  const properties = {
    targetVirtualMachineId: `${group}/providers/Microsoft.Compute/virtualMachines/${as}`,
    storageAccountId: account.id,
    ...(network === undefined ? {} : { virtualNetworkId: networkId }),
    ...(disks === undefined ? {} : { restoreDiskLunList: disks }),
    isTrial,
  };
  const at = ownPath(`${item.id}/recoveryPoints/${point.id}/boot`);
  const accepted = await service.http.accepted('POST', at, { body: { properties } });
  const id = await jobOf(service, item.vault, accepted);
  if (id === undefined) throw new TypeError('a boot was accepted without a job');
  const name = { vault: item.vault, id };
  const vm = fullName({ group: host, name: as });
  if (!options.wait) {
    const begun = await getJob(service, name);
    terminal.result(begun, () => `Boot of ${vm} has begun: job ${begun.id}`);
    return;
  }
  if (isTrial) await runTrial(context, { name, vm });
  else await runToEnd(context, { name, vm, point });
}

async function runToEnd(
  context: ServiceContext,
  boot: { readonly name: JobName; readonly vm: string; readonly point: PointFacts },
): Promise<void> {
  const { name, vm, point } = boot;
  const tell = teller(context, vm, 'Its disks are copied while it runs.');
  const job = await followJob(context, name, tell);
  if (exitCodeOf(job) !== 0) throw failureOfJob(job);
  context.terminal.result({ ...job, point }, () => describe(vm, job, point));
}

async function runTrial(
  context: ServiceContext,
  { name, vm }: { readonly name: JobName; readonly vm: string },
): Promise<void> {
  const { terminal, signal } = context;
  const tell = teller(
    context,
    vm,
    'Ctrl-C ends the trial and discards it; the point stays as it is.',
  );
  try {
    throw failureOfJob(await followJob(context, name, tell));
  } catch (error) {
    if (!signal.aborted) throw error;
    const job = await cancelJob(context, name);
    const { Remains: remains } = job.properties ?? {};
    if (remains !== undefined) throw new HoldfastError('BootUnfinished', remains, { cause: error });
    terminal.result(job, () => `${vm} was powered off and discarded, with what it wrote.`);
  }
}

/** Says once that it runs, and whatever keeps it from its disks. */
function teller({ terminal }: ServiceContext, vm: string, then: string): (job: JobFacts) => void {
  let isTold = false;
  const warned = new Set<string>();
  return ({ properties = {}, warnings = [] }) => {
    const { 'Seconds until it was started': seconds, 'Last error': trouble } = properties;
    if (!isTold && seconds !== undefined) {
      terminal.note(`${vm} runs, after ${formatDuration(Number(seconds))}. ${then}`);
      isTold = true;
    }
    for (const text of [...warnings, ...(trouble === undefined ? [] : [trouble])]) {
      if (!warned.has(text)) terminal.warn(text);
      warned.add(text);
    }
  };
}

function describe(vm: string, job: JobFacts, point: PointFacts): string {
  const took =
    job.durationSeconds === undefined ? '' : ` after ${formatDuration(job.durationSeconds)}`;
  const { 'Target Folder': folder } = job.properties ?? {};
  return `${vm}, booted from the point of ${shortTime(point.takenTime)}, runs on its own disks${took}: ${folder}`;
}
