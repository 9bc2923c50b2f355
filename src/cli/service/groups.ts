/** `holdfast group`: VMs of a vault that are backed up at one instant. */
import { HoldfastError, shellQuoted } from '#base';
import { dateToCome } from '../arguments/dates.ts';
import { formatTable, left } from '../output/table.ts';
import { formatDuration } from '../output/units.ts';
import { jobOf } from './accepted.ts';
import { failureOfJob, followJob, getJob } from './follow-job.ts';
import { exitCodeOf } from './job-facts.ts';
import { fullName, isSame, namedBy, notFound } from './names.ts';
import { listPoints } from './points.ts';
import { findItem, findVault, listItems, listVaults, type ServiceVault } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';
import { isoTime, shortTime } from './time.ts';

type OfVault = { readonly vault?: string };

export type GroupOptions = OfVault & {
  readonly vm: readonly string[];
  readonly policy?: string;
};

export type GroupBackupOptions = OfVault & { readonly expires?: string; readonly wait: boolean };

type Resource = {
  readonly id: string;
  readonly name: string;
  readonly properties: {
    readonly groupId: string;
    readonly members: readonly {
      readonly virtualMachineId: string;
      readonly protectionState: string;
    }[];
    readonly policyId?: string;
    readonly lastRunTime?: string;
    readonly nextRunTime?: string;
  };
};

/** Makes it, or changes it: its VMs are those that are named. */
export async function createGroup(
  context: ServiceContext,
  name: string,
  { vm: vms, policy, vault: of }: GroupOptions,
): Promise<void> {
  const { service, terminal } = context;
  const vault = await findVault(service, of, '--vault');
  const members: string[] = [];
  for (const text of vms) members.push((await findItem(service, text, fullName(vault))).vmId);
  const properties = {
    virtualMachineIds: members,
    ...(policy === undefined ? {} : { policyId: `${vault.id}/backupPolicies/${policy}` }),
  };
  const body = { properties };
  const made = (await service.http.json('PUT', pathOf(service, vault, name), { body })) as Resource;
  terminal.result(groupFacts(vault, made), () => {
    const how =
      policy === undefined
        ? `${backupCommand(name)} takes points of all of them at one instant`
        : `by the schedule of ${policy}, in place of their own`;
    return `Group ${name}: ${vmsOf(made).join(', ')}; ${how}.`;
  });
}

export async function showGroups(
  { service, terminal }: ServiceContext,
  { vault }: OfVault,
): Promise<void> {
  const groups = await listGroups(service, vault);
  terminal.result({ groups: groups.map((group) => group.facts) }, () => {
    if (groups.length === 0) return 'No consistency groups.';
    return formatTable(
      ['GROUP', 'VAULT', 'VMS', 'POLICY', 'NEXT RUN'].map(left),
      groups.map(({ facts: { name, vault: of, vms, policy, nextRunTime } }) => [
        name,
        of,
        vms.map((vm) => vm.name).join(', '),
        policy ?? '',
        nextRunTime === undefined ? '' : shortTime(nextRunTime),
      ]),
    );
  });
}

export async function showGroup(
  { service, terminal }: ServiceContext,
  name: string,
  options: OfVault,
): Promise<void> {
  const { facts } = await findGroup(service, name, options);
  terminal.result(facts, () => {
    const { vms, policy, lastRunTime, nextRunTime } = facts;
    const lines = [
      `Group     ${facts.name}`,
      `Vault     ${facts.vault}`,
      `Id        ${facts.id}`,
      `Schedule  ${policy === undefined ? 'none: on demand' : `of the policy ${policy}, in place of its VMs' own`}`,
      ...(lastRunTime === undefined ? [] : [`Last run  ${shortTime(lastRunTime)}`]),
      ...(nextRunTime === undefined ? [] : [`Next run  ${shortTime(nextRunTime)}`]),
    ];
    const table = formatTable(
      ['VM', 'STATE'].map(left),
      vms.map((vm) => [vm.name, vm.state]),
    );
    return `${lines.join('\n')}\n\n${table}`;
  });
}

export async function deleteGroup(
  { service, terminal }: ServiceContext,
  name: string,
  options: OfVault,
): Promise<void> {
  const { vault, facts } = await findGroup(service, name, options);
  await service.http.json('DELETE', pathOf(service, vault, facts.name));
  terminal.result({ deleted: facts.name, vault: facts.vault }, () => {
    return `Group ${facts.name} was deleted; its VMs stay protected, each by its own schedule.`;
  });
}

/** @throws {ServiceRefusal} with the code of the job where it failed. */
export async function backUpGroup(
  context: ServiceContext,
  name: string,
  { expires, wait, ...of }: GroupBackupOptions,
): Promise<void> {
  const { service, terminal } = context;
  const { vault, facts } = await findGroup(service, name, of);
  const expiry =
    expires === undefined ? undefined : dateToCome('--expires', expires, service.clock);
  const properties = expiry === undefined ? {} : { recoveryPointExpiryTimeInUTC: expiry };
  const path = `${pathOf(service, vault, facts.name)}/backup`;
  const at = await service.http.accepted('POST', path, { body: { properties } });
  const id = await jobOf(service, vault, at);
  if (id === undefined) throw new TypeError('a backup was accepted without a job');
  const begun = { vault, id };
  if (!wait) {
    const job = await getJob(service, begun);
    terminal.result(job, () => `Backup of the group ${facts.name} has begun: job ${job.id}`);
    return;
  }
  const job = await followJob(context, begun);
  if (exitCodeOf(job) !== 0) throw failureOfJob(job);
  const points = await pointsOf(service, { vault, facts, first: job.pointId });
  terminal.result({ ...job, points }, () => {
    const took =
      job.durationSeconds === undefined ? '' : ` in ${formatDuration(job.durationSeconds)}`;
    const lines = points.map(({ vm, id: point }) => `  ${vm}  ${point}`);
    const warnings = (job.warnings ?? []).map((text) => `Warning: ${text}`);
    return [`Recovery points at one instant, taken${took}:`, ...lines, ...warnings].join('\n');
  });
}

type Found = { readonly vault: ServiceVault; readonly facts: ReturnType<typeof groupFacts> };

/** The points of the job, by VM. */
async function pointsOf(
  service: Service,
  { vault, facts, first }: Found & { readonly first: string | undefined },
): Promise<readonly { readonly vm: string; readonly id: string }[]> {
  const items = await listItems(service, fullName(vault));
  const found: { readonly vm: string; readonly id: string }[] = [];
  for (const { name } of facts.vms) {
    const item = items.find(({ vm }) => isSame(fullName(vm), name));
    if (item === undefined) continue;
    const points = await listPoints(service, item);
    const point = points.find(({ group }) => group?.points.some(({ id }) => id === first));
    if (point !== undefined) found.push({ vm: name, id: point.id });
  }
  return found;
}

async function listGroups(service: Service, vault: string | undefined): Promise<readonly Found[]> {
  const vaults =
    vault === undefined ? await listVaults(service) : [await findVault(service, vault)];
  const lists = await Promise.all(
    vaults.map(async (of) => {
      const all = await service.allOf<Resource>(pathOf(service, of));
      return all.map((group) => ({ vault: of, facts: groupFacts(of, group) }));
    }),
  );
  return lists.flat();
}

async function findGroup(service: Service, name: string, { vault }: OfVault): Promise<Found> {
  const groups = await listGroups(service, vault);
  const found = groups.filter(({ facts }) => isSame(facts.name, name));
  if (found.length === 1) return found[0]!;
  if (found.length === 0) {
    throw notFound(
      `there is no consistency group ${name}`,
      'consistency group',
      groups.map(({ facts }) => facts.name),
    );
  }
  const vaults = found.map(({ facts }) => facts.vault).join(' or ');
  throw new HoldfastError(
    'NameAmbiguous',
    `there are several consistency groups ${name}: say which with --vault ${vaults}`,
  );
}

function groupFacts(vault: ServiceVault, { id: resourceId, name, properties }: Resource) {
  const { groupId, members, policyId, lastRunTime, nextRunTime } = properties;
  const policy = policyId?.split('/').at(-1);
  return {
    id: groupId,
    resourceId,
    name,
    vault: fullName(vault),
    vms: members.map(({ virtualMachineId, protectionState }) => ({
      name: fullName(namedBy(virtualMachineId)),
      state: protectionState,
    })),
    ...(policy === undefined ? {} : { policy }),
    ...(lastRunTime === undefined ? {} : { lastRunTime: isoTime(new Date(lastRunTime)) }),
    ...(nextRunTime === undefined ? {} : { nextRunTime: isoTime(new Date(nextRunTime)) }),
  };
}

function vmsOf({ properties }: Resource): readonly string[] {
  return properties.members.map(({ virtualMachineId }) => fullName(namedBy(virtualMachineId)));
}

function backupCommand(name: string): string {
  return `holdfast group backup ${shellQuoted(name)}`;
}

function pathOf({ root }: Service, { group, name }: ServiceVault, of?: string): string {
  const vault = `${root}/resourceGroups/${encodeURIComponent(group)}/providers/Holdfast.Backup/vaults/${encodeURIComponent(name)}`;
  return `${vault}/consistencyGroups${of === undefined ? '' : `/${encodeURIComponent(of)}`}`;
}
