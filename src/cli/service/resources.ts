/** What commands look up by name: groups, VMs, vaults, storage accounts, protected items. */
import type { VirtualMachine } from '@azure/arm-compute';
import type { Vault } from '@azure/arm-recoveryservices';
import type {
  AzureIaaSComputeVMProtectedItem,
  ProtectedItemResource,
} from '@azure/arm-recoveryservicesbackup';
import { HoldfastError, isHoldfastError, shellQuoted } from '#base';
import { UsageError } from '../usage-error.ts';
import { listHosts } from './hosts.ts';
import { findNamed, fullName, isSame, namedBy, notFound, type Named } from './names.ts';
import type { Service } from './service.ts';

/** The only fabric there is. */
export const FABRIC = 'Azure';
/** Where everything is. */
export const LOCATION = 'local';

export type ServiceVm = Named & { readonly id: string; readonly resource: VirtualMachine };
export type ServiceVault = Named & { readonly id: string; readonly resource: Vault };

export type ServiceItem = {
  readonly id: string;
  readonly vault: Named;
  readonly vm: Named;
  readonly vmId: string;
  /** As paths of the API name them. */
  readonly container: string;
  readonly item: string;
  readonly properties: AzureIaaSComputeVMProtectedItem;
};

export async function listVms(service: Service): Promise<readonly ServiceVm[]> {
  const { virtualMachines } = await service.compute();
  const found = await service.all(virtualMachines.listAll({ expand: 'instanceView' }));
  return found.map((resource) => ({ ...namedBy(resource.id), id: resource.id ?? '', resource }));
}

/** @throws {HoldfastError} `ResourceNotFound`, with how a VM that was made lately becomes known; `NameAmbiguous`. */
export async function findVm(service: Service, text: string): Promise<ServiceVm> {
  const vms = await listVms(service);
  try {
    return findNamed(vms, text, 'VM');
  } catch (error) {
    if (!isHoldfastError(error, 'ResourceNotFound')) throw error;
    throw await withRefreshHint(service, error);
  }
}

/** Of an error for a VM that is not known: it may have been made since its host was listed. */
async function withRefreshHint(
  service: Service,
  { code, message, cause }: HoldfastError,
): Promise<HoldfastError> {
  const hosts = await listHosts(service);
  const [only] = hosts;
  const name = hosts.length === 1 && only !== undefined ? shellQuoted(only.name) : 'HOST';
  const hint =
    only === undefined
      ? 'there is no host yet: holdfast host add NAME --connect URI'
      : `was it made since its host was listed? holdfast host refresh ${name}`;
  return new HoldfastError(code, `${message}; ${hint}`, { cause });
}

export async function listVaults(service: Service): Promise<readonly ServiceVault[]> {
  const { vaults } = await service.vaults();
  const found = await service.all(vaults.listBySubscriptionId());
  return found.map((resource) => ({ ...namedBy(resource.id), id: resource.id ?? '', resource }));
}

/** @param text undefined: the only one. */
export async function findVault(service: Service, text: string | undefined): Promise<ServiceVault> {
  const vaults = await listVaults(service);
  if (text !== undefined) return findNamed(vaults, text, 'vault');
  const [only] = vaults;
  if (vaults.length === 1 && only !== undefined) return only;
  if (only === undefined) {
    throw notFound('there is no vault yet: holdfast vault create makes one', 'vault', []);
  }
  throw new UsageError(`there are several vaults: name one, ${orOf(vaults.map(fullName))}`);
}

/** The group where something new goes. @param text undefined: the only one. */
export async function findGroup(service: Service, text: string | undefined): Promise<string> {
  const operations = await service.groups();
  const names = (await service.all(operations.list())).map(({ name }) => name ?? '');
  if (text === undefined) {
    const [only] = names;
    if (names.length === 1 && only !== undefined) return only;
    const choice = names.length === 0 ? 'NAME' : orOf(names);
    throw new UsageError(`say in which resource group: --group ${choice}`);
  }
  const known = names.find((name) => isSame(name, text));
  if (known !== undefined) return known;
  await service.ask(
    async () => await operations.createOrUpdate(text, { location: LOCATION, tags: {} }),
  );
  return text;
}

/** `a, b or c` */
export function orOf(names: readonly string[]): string {
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
}

/** Of one vault, or all; by VM. */
export async function listItems(
  service: Service,
  vaultName?: string,
): Promise<readonly ServiceItem[]> {
  const vaults =
    vaultName === undefined ? await listVaults(service) : [await findVault(service, vaultName)];
  const { backupProtectedItems } = await service.backup();
  const lists = await Promise.all(
    vaults.map(async ({ group, name }) => {
      const filter = "backupManagementType eq 'AzureIaasVM' and itemType eq 'VM'";
      return await service.all(backupProtectedItems.list(name, group, { filter }));
    }),
  );
  return lists.flat().flatMap((resource) => itemOf(resource) ?? []);
}

/** A VM's item: also of a VM that is gone, or whose protection was stopped. */
export async function findItem(
  service: Service,
  text: string,
  vaultName: string | undefined,
): Promise<ServiceItem> {
  const items = await listItems(service, vaultName);
  const named = items.map((item) => ({ ...item.vm, item }));
  const different = [...new Map(named.map((one) => [fullName(one).toLowerCase(), one])).values()];
  if (!different.some((one) => isNamedBy(one, text))) {
    const vms = await listVms(service);
    const isThere = vms.some((vm) => isNamedBy(vm, text));
    const inVault = vaultName === undefined ? 'is not protected' : `is not in ${vaultName}`;
    if (!isThere) {
      const names = different.map(fullName);
      const unknown = notFound(`there is no protected VM ${text}`, 'protected VM', names);
      throw await withRefreshHint(service, unknown);
    }
    throw new HoldfastError(
      'BMSUserErrorProtectedItemNotFound',
      `${text} ${inVault}: holdfast protect ${shellQuoted(text)} protects it`,
    );
  }
  const vm = findNamed(different, text, 'protected VM');
  const matching = items.filter((item) => isSame(fullName(item.vm), fullName(vm)));
  // Two vaults may know a VM: the one that backs it up is meant.
  const active = matching.filter(({ properties }) => isBackedUp(properties));
  const [found] = active.length === 1 ? active : matching;
  if (active.length === 1 || matching.length === 1) return found!;
  const vaults = matching.map((item) => fullName(item.vault));
  throw new UsageError(`${text} is in several vaults: give --vault ${orOf(vaults)}`);
}

function isBackedUp({ protectionState }: AzureIaaSComputeVMProtectedItem): boolean {
  return protectionState !== 'ProtectionStopped' && protectionState !== 'BackupsSuspended';
}

function isNamedBy(named: Named, text: string): boolean {
  return isSame(text.includes('/') ? fullName(named) : named.name, text);
}

function itemOf(resource: ProtectedItemResource): ServiceItem | undefined {
  const { id = '', properties } = resource;
  const path = /\/protectionContainers\/([^/]+)\/protectedItems\/([^/]+)/i.exec(id);
  if (properties?.protectedItemType !== 'Microsoft.Compute/virtualMachines') return undefined;
  const facts = properties as AzureIaaSComputeVMProtectedItem;
  const vmId = facts.sourceResourceId ?? '';
  return {
    id,
    vault: namedBy(id),
    vm: namedBy(vmId),
    vmId,
    container: path?.[1] ?? '',
    item: path?.[2] ?? '',
    properties: facts,
  };
}

/** What the API calls the item of a VM. */
export function pathOfItem({ group, name }: Named): {
  readonly container: string;
  readonly item: string;
} {
  const native = `iaasvmcontainerv2;${group.toLowerCase()};${name.toLowerCase()}`;
  return { container: `IaasVMContainer;${native}`, item: `VM;${native}` };
}
