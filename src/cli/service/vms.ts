/** `holdfast vm list` and `vm show` of the service: the VMs of all its hosts, and what protects them. */
import type { VirtualMachine } from '@azure/arm-compute';
import { formatFacts } from '../output/facts.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatCount } from '../output/units.ts';
import { fullName, isSame } from './names.ts';
import { itemFacts, stateWords } from './items.ts';
import { findVm, listItems, listVms, type ServiceItem, type ServiceVm } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import { shortTime } from './time.ts';

export async function showVms({ service, terminal }: ServiceContext): Promise<void> {
  const [vms, items] = await Promise.all([listVms(service), listItems(service)]);
  const shown = vms.map((vm) => factsOf(vm, itemsOf(vm, items)));
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
        first === undefined ? '' : shortTime(first.lastBackupTime),
      ]),
    ).concat(`\n\n${formatCount(shown.length, 'VM')}.`);
  });
}

export async function showVm({ service, terminal }: ServiceContext, name: string): Promise<void> {
  const [vm, items] = await Promise.all([findVm(service, name), listItems(service)]);
  const facts = factsOf(vm, itemsOf(vm, items));
  terminal.result(facts, () => {
    const table = formatTable(
      [left('DISK'), left('LUN'), right('SIZE')],
      facts.disks.map((disk) => [
        disk.name,
        disk.lun === undefined ? 'system' : String(disk.lun),
        `${disk.sizeGiB} GiB`,
      ]),
    );
    const protection = facts.protection.map((one) =>
      formatFacts([
        ['Protection', stateWords(one)],
        ['Vault', one.vault],
        ['Policy', one.policy],
        ['Last backup', one.lastBackupStatus],
        ['Newest point', shortTime(one.lastRecoveryPoint)],
      ]),
    );
    const head = formatFacts([
      ['VM', facts.name],
      ['Group', facts.group],
      ['State', facts.state],
      ['Id', facts.id],
    ]);
    return [head, table, ...(protection.length === 0 ? ['Not protected.'] : protection)].join(
      '\n\n',
    );
  });
}

function itemsOf(vm: ServiceVm, items: readonly ServiceItem[]): readonly ServiceItem[] {
  return items.filter((item) => isSame(fullName(item.vm), fullName(vm)));
}

function factsOf({ id, name, group, resource }: ServiceVm, items: readonly ServiceItem[]) {
  const { osDisk, dataDisks = [] } = resource.storageProfile ?? {};
  const all = [...(osDisk === undefined ? [] : [osDisk]), ...dataDisks];
  const disks = all.map((disk) => ({
    name: disk.name ?? '',
    ...('lun' in disk ? { lun: disk.lun } : {}),
    sizeGiB: disk.diskSizeGB ?? 0,
  }));
  return { id, name, group, state: stateOf(resource), disks, protection: items.map(itemFacts) };
}

function stateOf({ instanceView }: VirtualMachine): string {
  const code = instanceView?.statuses?.map((status) => status.code ?? '');
  const power = code?.find((one) => one.startsWith('PowerState/'))?.slice('PowerState/'.length);
  return power === 'deallocated' ? 'off' : (power ?? 'unknown');
}
