/**
 * `holdfast vm list` and `vm show` of the service: the VMs of all its hosts, and what protects them; `list` with those
 * that are protected and gone.
 */
import type { VirtualMachine } from '@azure/arm-compute';
import { orderNote } from '../output/disk-order.ts';
import { formatFacts } from '../output/facts.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes, formatCount } from '../output/units.ts';
import { fullName, isSame } from './names.ts';
import { itemFacts, stateWords, type ItemFacts } from './items.ts';
import {
  byStanding,
  findVm,
  listItems,
  listVms,
  type ServiceItem,
  type ServiceVm,
} from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';
import { shortTime } from './time.ts';

export async function showVms({ service, terminal }: ServiceContext): Promise<void> {
  const [vms, items] = await Promise.all([listVms(service), listItems(service)]);
  const shown = [
    ...vms.map((vm) => factsOf(vm, itemsOf(vm, items))),
    ...goneVms(vms, items).map((of) => goneFacts(of)),
  ];
  terminal.result({ vms: shown }, () => {
    if (shown.length === 0)
      return 'There are no VMs: holdfast host add NAME --connect URI adds a host.';
    return formatTable(
      [
        left('VM'),
        left('GROUP'),
        left('STATE'),
        right('DISKS'),
        left('PROTECTION'),
        left('VAULT'),
        left('LAST BACKUP'),
      ],
      shown.map(({ name, group, state, disks, protection: [first] }) => [
        name,
        group,
        state,
        String(disks.length),
        first === undefined ? 'none' : stateWords(first),
        first?.vault ?? '',
        first === undefined ? '' : newestWords(first),
      ]),
    ).concat(`\n\n${formatCount(shown.length, 'VM')}.`);
  });
}

export async function showVm({ service, terminal }: ServiceContext, name: string): Promise<void> {
  const vm = await findVm(service, name);
  const [own, items] = await Promise.all([ownFacts(service, vm), listItems(service)]);
  const facts = { ...factsOf(vm, itemsOf(vm, items)), ...own };
  terminal.result(facts, () => {
    const table = formatTable(
      [left('DISK'), left('LUN'), left('FORMAT'), right('SIZE'), left('IMAGE')],
      facts.disks.map((disk) => [
        disk.name,
        disk.lun === undefined ? 'system' : String(disk.lun),
        disk.format,
        formatBytes(disk.size),
        disk.image,
      ]),
    );
    const protection = facts.protection.map((one) =>
      formatFacts([
        ['Protection', stateWords(one)],
        ['Vault', one.vault],
        ['Policy', one.policy],
        ['Last backup', one.lastBackupStatus],
        ...(one.lastBackupStatus === 'Failed'
          ? ([['Failed at', shortTime(one.lastBackupTime)]] as const)
          : []),
        ['Newest point', shortTime(one.lastRecoveryPoint)],
      ]),
    );
    const head = formatFacts([
      ['VM', facts.name],
      ['Group', facts.group],
      ['State', facts.state],
      ['Id', facts.id],
    ]);
    const notes = notesOn(facts);
    return [
      head,
      table,
      ...(notes.length === 0 ? [] : [notes.join('\n')]),
      ...(protection.length === 0 ? ['Not protected.'] : protection),
    ].join('\n\n');
  });
}

type OwnVm = {
  readonly properties: {
    readonly connect: string;
    readonly firmware: string;
    readonly disks: readonly {
      readonly name: string;
      readonly lun: number | null;
      readonly sizeBytes: number;
      readonly format: string;
      readonly image: string;
      readonly refusal: string | null;
    }[];
  };
};

/** What only Holdfast's own API tells of a VM; sizes in bytes. */
async function ownFacts(service: Service, { group, name }: ServiceVm) {
  const at = `${service.root}/resourceGroups/${encodeURIComponent(group)}`;
  const path = `${at}/providers/Holdfast.Backup/virtualMachines/${encodeURIComponent(name)}`;
  const { properties } = (await service.http.json('GET', path)) as OwnVm;
  const { connect, firmware, disks } = properties;
  return {
    connect,
    firmware,
    disks: disks.map(({ lun, sizeBytes: size, refusal, ...disk }) => ({
      ...disk,
      ...(lun === null ? {} : { lun }),
      size,
      ...(refusal === null ? {} : { refusal }),
    })),
  };
}

function notesOn({
  name,
  connect,
  disks,
}: Awaited<ReturnType<typeof ownFacts>> & { readonly name: string }): readonly string[] {
  const names = disks.map((disk) => disk.name);
  const order = connect.startsWith('images:') ? orderNote(name, names) : undefined;
  return [
    ...disks.flatMap((disk) =>
      disk.refusal === undefined ? [] : [`${disk.name} cannot be backed up: ${disk.refusal}`],
    ),
    ...(order === undefined ? [] : [order]),
  ];
}

/** When the newest point was taken; and that no newer one is, where the last backup failed. */
function newestWords({ lastBackupStatus, lastBackupTime, lastRecoveryPoint }: ItemFacts): string {
  const newest = shortTime(lastRecoveryPoint);
  if (lastBackupStatus !== 'Failed') return newest;
  const [date, time] = shortTime(lastBackupTime).split(' ');
  const failed = newest.startsWith(`${date} `) ? time : `${date} ${time}`;
  return `${newest} (last try failed ${failed})`;
}

/** What vaults know and no host has (any more), by VM. */
function goneVms(
  vms: readonly ServiceVm[],
  items: readonly ServiceItem[],
): readonly (readonly [ServiceItem, ...ServiceItem[]])[] {
  const there = new Set(vms.map((vm) => fullName(vm).toLowerCase()));
  const gone = items.filter(({ vm }) => !there.has(fullName(vm).toLowerCase()));
  const byVm = Map.groupBy(byStanding(gone), ({ vm }) => fullName(vm).toLowerCase());
  return [...byVm.values()].map(([first, ...others]) => [first!, ...others] as const);
}

function goneFacts(items: readonly [ServiceItem, ...ServiceItem[]]): VmFacts {
  const [{ vm, vmId }] = items;
  const { name, group } = vm;
  return { id: vmId, name, group, state: 'gone', disks: [], protection: items.map(itemFacts) };
}

type VmFacts = ReturnType<typeof factsOf>;

function itemsOf(vm: ServiceVm, items: readonly ServiceItem[]): readonly ServiceItem[] {
  return byStanding(items).filter((item) => isSame(fullName(item.vm), fullName(vm)));
}

function factsOf({ id, name, group, resource }: ServiceVm, items: readonly ServiceItem[]) {
  const { osDisk, dataDisks = [] } = resource.storageProfile ?? {};
  const all = [...(osDisk === undefined ? [] : [osDisk]), ...dataDisks];
  const disks = all.map((disk) => ({
    name: disk.name ?? '',
    ...('lun' in disk ? { lun: disk.lun } : {}),
  }));
  return { id, name, group, state: stateOf(resource), disks, protection: items.map(itemFacts) };
}

function stateOf({ instanceView }: VirtualMachine): string {
  const code = instanceView?.statuses?.map((status) => status.code ?? '');
  const power = code?.find((one) => one.startsWith('PowerState/'))?.slice('PowerState/'.length);
  return power === 'deallocated' ? 'off' : (power ?? 'unknown');
}
