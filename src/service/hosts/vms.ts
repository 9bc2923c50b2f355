/** The VMs of all hosts, as they were last seen. */
import { HoldfastError } from '#base';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import { nameKey } from '../names.ts';
import { factsFromJson, type VmFacts } from './vm-facts.ts';

export type HostVm = {
  readonly group: string;
  readonly name: string;
  /** A UUID. */
  readonly vmId: string;
  readonly hostKey: string;
  readonly facts: VmFacts;
  readonly seenAt: number;
};

/** @throws {HoldfastError} `ResourceNotFound`; gone ones are not there. */
export async function getVm(
  reader: CatalogueReader,
  vm: { readonly group: string; readonly name: string },
): Promise<HostVm> {
  const found = await findVm(reader, vm);
  if (found !== undefined) return found;
  throw new HoldfastError(
    'ResourceNotFound',
    `The VM '${vm.name}' in the resource group '${vm.group}' was not found.`,
    { details: { type: 'Microsoft.Compute/virtualMachines', name: vm.name, group: vm.group } },
  );
}

/** As `getVm`; undefined: it is not there. */
export async function findVm(
  reader: CatalogueReader,
  vm: { readonly group: string; readonly name: string },
): Promise<HostVm | undefined> {
  const row = await vmRows(reader)
    .where('vms.groupKey', '=', nameKey(vm.group))
    .where('vms.key', '=', nameKey(vm.name))
    .executeTakeFirst();
  return row === undefined ? undefined : vmOf(row);
}

/** Of one group, or all; by name. */
export async function listVms(reader: CatalogueReader, group?: string): Promise<readonly HostVm[]> {
  const all = vmRows(reader).orderBy('vms.key').orderBy('vms.groupKey');
  const query = group === undefined ? all : all.where('vms.groupKey', '=', nameKey(group));
  return (await query.execute()).map(vmOf);
}

function vmRows(reader: CatalogueReader) {
  return reader
    .selectFrom('vms')
    .innerJoin('resourceGroups', 'resourceGroups.key', 'vms.groupKey')
    .selectAll('vms')
    .select('resourceGroups.name as group')
    .where('vms.goneAt', 'is', null);
}

type VmRow = Awaited<ReturnType<ReturnType<typeof vmRows>['execute']>>[number];

function vmOf({ group, name, vmId, hostKey, facts, seenAt }: VmRow): HostVm {
  return { group, name, vmId, hostKey, facts: factsFromJson(facts), seenAt };
}
