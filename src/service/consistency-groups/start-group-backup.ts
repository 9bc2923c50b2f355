/** How the jobs of consistency groups come to be: by hand, or by the schedule of the group's policy. */
import { shellQuoted } from '#base';
import { noteActivity } from '../activities/activities.ts';
import { hasNewDisk } from '../backing-up/new-disks.ts';
import { onDemandExpiry, requireNoSnapshot } from '../backing-up/start-backup.ts';
import type { BackupRequest } from '../backing-up/backup-request.ts';
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import { requireAllowed, whyNot } from '../items/item-states.ts';
import type { Item } from '../items/items.ts';
import type { Accepted } from '../items/protect.ts';
import { policyFromJson } from '../policy/policy-json.ts';
import { dueRun } from '../schedule/due-run.ts';
import { nextRun, type ScheduledRun } from '../schedule/runs.ts';
import { startOffsetMs } from '../schedule/start-offset.ts';
import type { ServiceParts } from '../service-parts.ts';
import { requireWritable } from '../vaults/require-writable.ts';
import {
  deletionOf,
  findGroupById,
  getGroup,
  placesOf,
  requireSeveral,
  type ConsistencyGroup,
  type GroupName,
} from './consistency-groups.ts';
import { membersOf, type GroupRow } from './group-records.ts';

/**
 * Backs all VMs of the group up now, at one instant.
 *
 * @param expiresAt when their points shall expire; undefined: 30 days from now.
 * @throws {HoldfastError} `ResourceNotFound`; `VaultUnavailable`, `StoreReadOnly`; of each member as `backUpNow`; `ConsistencyGroupInvalid`.
 */
export async function backUpGroupNow(
  parts: ServiceParts,
  name: GroupName,
  expiresAt: number | undefined,
): Promise<Accepted> {
  const date = onDemandExpiry(parts.clock, expiresAt);
  const { id, vaultId } = await getGroup(parts.catalogue.read, name);
  await requireWritable(parts, vaultId);
  return await parts.catalogue.change(async (change) => {
    const group = await findGroupById(change, id);
    if (group === undefined) return await gone(change, name);
    requireSeveral(group.members, group.name);
    for (const item of group.members) {
      requireAllowed('backUp', item, withoutIt(group, item));
      await requireNoSnapshot(change, item);
    }
    await placesOf({ ...parts, catalogue: { ...parts.catalogue, read: change } }, group.members);
    await noteActivity(parts, change, {
      action: 'GroupBackup',
      target: group.name,
      detail: {
        vault: `${name.vault.group}/${name.vault.name}`,
        vms: group.members.map((one) => `${one.vmGroup}/${one.vmName}`),
      },
    });
    const backup = { group, origin: 'on-demand', expiresAt: date } as const;
    return { jobId: await addGroupBackup(parts, change, backup) };
  });
}

/** The other way to back up the group, while one of its members cannot be. */
function withoutIt({ name, members, policy }: ConsistencyGroup, item: Item): string {
  const called = ({ vmGroup, vmName }: Item): string => shellQuoted(`${vmGroup}/${vmName}`);
  const resuming = item.state === 'SoftDeleted' ? '' : ` (holdfast resume ${called(item)})`;
  const others = members.filter(({ id }) => id !== item.id);
  if (others.length < 2) return `${resuming}, or give up the group '${name}': ${deletionOf(name)}`;
  const vms = others.map((other) => `--vm ${called(other)}`);
  const schedule = policy === undefined ? [] : ['--policy', shellQuoted(policy.name)];
  const command = ['holdfast group create', shellQuoted(name), ...vms, ...schedule].join(' ');
  return `${resuming}, or take it out of the group '${name}': ${command}`;
}

/** @throws {HoldfastError} `ResourceNotFound`: it was deleted a moment ago. */
async function gone(change: CatalogueChange, name: GroupName): Promise<never> {
  const { id } = await getGroup(change, name);
  throw new TypeError(`the consistency group ${id} has no row`);
}

async function addGroupBackup(
  { jobs, clock, settings }: ServiceParts,
  change: CatalogueChange,
  backup: BackupRequest & { readonly group: ConsistencyGroup },
): Promise<string> {
  const { group, ...request } = backup;
  const { members } = group;
  const areNew = await Promise.all(members.map(async (item) => hasNewDisk(change, item)));
  const deadline = areNew.includes(true)
    ? {}
    : { deadlineAt: clock.nowMs() + settings.backupTimeoutMs };
  return await jobs.add(change, {
    vaultId: group.vaultId,
    entity: group.name,
    operation: 'GroupBackup',
    isUserTriggered: request.origin === 'on-demand',
    request: { backup: request, group: group.id, members: members.map(({ id }) => id) },
    claims: members.map(({ id }) => `item:${id}`),
    ...deadline,
  });
}

/** Starts what is due of groups with a policy. @returns when the next may be due. */
export async function startDueGroups(parts: ServiceParts): Promise<number> {
  const { catalogue, clock, settings } = parts;
  const now = clock.nowMs();
  const options = { dstFollowsAzure: settings.dstFollowsAzure };
  let next = Infinity;
  const rows = await catalogue.read
    .selectFrom('consistencyGroups')
    .innerJoin('policies', 'policies.id', 'consistencyGroups.policyId')
    .selectAll('consistencyGroups')
    .select(['policies.body', 'policies.changedAt as policyChangedAt'])
    .execute();
  for (const { body, policyChangedAt, ...group } of rows) {
    const policy = policyFromJson(body);
    const offsetMs = startOffsetMs(group.id, policy, settings.spreadMs);
    const question = {
      nowMs: now,
      ...(group.lastRunAt === null ? {} : { lastRunMs: group.lastRunAt }),
      sinceMs: Math.max(group.changedAt, policyChangedAt),
      startOffsetMs: offsetMs,
    };
    const run = dueRun(policy, question, options);
    const nextRunAt = nextRun(policy, now - offsetMs, options).atMs + offsetMs;
    if (run !== undefined) await startRun(parts, { group, run, nextRunAt });
    else await noteNextRun(parts, group, nextRunAt);
    next = Math.min(next, nextRunAt);
  }
  return next;
}

type Start = {
  readonly group: GroupRow;
  readonly run: ScheduledRun;
  readonly nextRunAt: number;
};

/** A group one of whose members is being backed up is left alone until that has ended. */
async function startRun(parts: ServiceParts, { group, run, nextRunAt }: Start): Promise<void> {
  await parts.catalogue.change(async (change) => {
    const open = await change
      .selectFrom('jobs')
      .select(['itemId', 'request', 'operation'])
      .where('vaultId', '=', group.vaultId)
      .where('operation', 'in', ['Backup', 'GroupBackup'])
      .where('endedAt', 'is', null)
      .execute();
    const members = membersOf(group);
    const isBusy = open.some(({ itemId, request, operation }) =>
      operation === 'Backup'
        ? itemId !== null && members.includes(itemId)
        : (JSON.parse(request) as { readonly group: string }).group === group.id,
    );
    const now = await findGroupById(change, group.id);
    if (isBusy || now === undefined) return;
    await change
      .updateTable('consistencyGroups')
      .set({ lastRunAt: run.atMs, nextRunAt })
      .where('id', '=', group.id)
      .execute();
    // A member that leaves the group has not missed this run.
    await change
      .updateTable('items')
      .set({ lastRunAt: run.atMs, nextRunAt })
      .where('id', 'in', members)
      .execute();
    // Of a group that nobody wants backed up any more no job fails again and again.
    if (now.members.every((item) => whyNot('backUp', item) !== undefined)) return;
    await addGroupBackup(parts, change, { group: now, origin: 'scheduled', run });
  });
}

async function noteNextRun(
  { catalogue }: ServiceParts,
  group: GroupRow,
  nextRunAt: number,
): Promise<void> {
  if (group.nextRunAt === nextRunAt) return;
  await catalogue.change(async (change) => {
    await change
      .updateTable('consistencyGroups')
      .set({ nextRunAt })
      .where('id', '=', group.id)
      .execute();
    await change
      .updateTable('items')
      .set({ nextRunAt })
      .where('id', 'in', membersOf(group))
      .execute();
  });
}
