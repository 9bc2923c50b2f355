/** Protected VMs that get no points: those that no host has, and those whose newest backup failed. */
import { shellQuoted } from '#base';
import { lastBackupFromJson } from '../items/last-backup.ts';
import type { ServiceParts } from '../service-parts.ts';
import type { Finding } from './finding.ts';

export async function itemFindings({ catalogue }: ServiceParts): Promise<readonly Finding[]> {
  const items = await catalogue.read
    .selectFrom('items')
    .leftJoin('vms', (join) =>
      join
        .onRef('vms.groupKey', '=', 'items.vmGroupKey')
        .onRef('vms.key', '=', 'items.vmKey')
        .on('vms.goneAt', 'is', null),
    )
    .leftJoin('points', 'points.itemId', 'items.id')
    .select(['items.vmGroup', 'items.vmName', 'items.lastBackup', 'vms.key as vmKey'])
    .select(({ fn }) => fn.max('points.takenAt').as('newestAt'))
    .where('items.state', 'in', ['IRPending', 'Protected'])
    .groupBy('items.id')
    .execute();
  return items.flatMap((item) =>
    item.vmKey === null ? [withoutVm(item)] : failedBackup(item, item.lastBackup),
  );
}

type Told = {
  readonly vmGroup: string;
  readonly vmName: string;
  readonly newestAt: number | null;
};

/** After a rescue, say. */
function withoutVm(item: Told): Finding {
  const host = shellQuoted(item.vmGroup);
  return {
    severity: 'warning',
    where: `${item.vmGroup}/${item.vmName}`,
    what: `it is protected, and not among the VMs of the hosts: it is not backed up; ${newestOf(item)}`,
    advice: `add its host under that name again (holdfast host add ${host} --connect …), restore it, or stop its protection`,
  };
}

function failedBackup(item: Told, json: string | null): readonly Finding[] {
  const last = json === null ? undefined : lastBackupFromJson(json);
  if (last?.status !== 'Failed') return [];
  const { message, code } = last.failure ?? { message: 'no reason is known', code: undefined };
  const why = code === undefined ? message : `${message.replace(/\.$/, '')} [${code}]`;
  const called = `${item.vmGroup}/${item.vmName}`;
  return [
    {
      severity: 'warning',
      where: called,
      what: `its newest backup failed at ${iso(last.endedAt)}: ${why}; ${newestOf(item)}`,
      advice: `mend what the message names, then run holdfast backup ${shellQuoted(called)}`,
    },
  ];
}

function newestOf({ newestAt }: Told): string {
  return newestAt === null
    ? 'it has no recovery point'
    : `its newest recovery point is of ${iso(newestAt)}`;
}

function iso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
