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
import { ServiceRefusal } from './refusal.ts';
import type { Service } from './service.ts';
import { isoTime, shortTime } from './time.ts';

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
    throw await withRefreshHint(service, text, error);
  }
}

/** Of an error for a VM that is not known: it may have been made since its host was listed. */
async function withRefreshHint(
  service: Service,
  text: string,
  { code, message, cause }: HoldfastError,
): Promise<HoldfastError> {
  const hosts = await listHosts(service);
  const [only] = hosts;
  const [group, ...rest] = text.split('/');
  const named = rest.length === 0 ? undefined : hosts.find((host) => isSame(host.name, group!));
  const meant = named ?? (hosts.length === 1 ? only : undefined);
  const name = meant === undefined ? 'HOST' : shellQuoted(meant.name);
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

export type DeletedVault = Named & {
  /** The name of the deletion, by which it is told from others of its name. */
  readonly id: string;
  /** ISO 8601. */
  readonly deletedAt: string | undefined;
  /** When it goes for good, ISO 8601. */
  readonly until: string | undefined;
};

/** The newest first. */
export async function listDeletedVaults(service: Service): Promise<readonly DeletedVault[]> {
  const { deletedVaults } = await service.vaults();
  const found = await service.all(deletedVaults.listBySubscriptionId(LOCATION));
  return found.map(({ name, properties }) => ({
    ...namedBy(properties?.vaultId),
    id: name ?? '',
    deletedAt: isoTime(properties?.vaultDeletionTime),
    until: isoTime(properties?.purgeAt),
  }));
}

/**
 * @param text undefined: the only one.
 * @param option by which one is named; absent: by an argument.
 */
export async function findVault(
  service: Service,
  text: string | undefined,
  option?: '--vault',
): Promise<ServiceVault> {
  const vaults = await listVaults(service);
  if (text !== undefined) return await namedVault(service, vaults, text);
  const [only] = vaults;
  if (vaults.length === 1 && only !== undefined) return only;
  if (only === undefined) {
    throw notFound('there is no vault yet: holdfast vault create makes one', 'vault', []);
  }
  const how = option === undefined ? 'name one,' : `give ${option}`;
  throw new UsageError(`there are several vaults: ${how} ${orOf(vaults.map(fullName))}`);
}

async function namedVault(
  service: Service,
  vaults: readonly ServiceVault[],
  text: string,
): Promise<ServiceVault> {
  try {
    return findNamed(vaults, text, 'vault');
  } catch (error) {
    if (!isHoldfastError(error, 'ResourceNotFound')) throw error;
    const deleted = await listDeletedVaults(service);
    const one = deleted.find((vault) => isSame(vault.name, text) || isSame(fullName(vault), text));
    if (one === undefined) throw error;
    const back = `holdfast vault undelete ${shellQuoted(fullName(one))}`;
    throw new HoldfastError(
      'ResourceNotFound',
      `the vault ${fullName(one)} is soft-deleted until ${shortTime(one.until)}: ${back} brings it back`,
      { cause: error },
    );
  }
}

/**
 * Makes something in a resource group; one that is made for it goes again if that fails.
 *
 * @param text undefined: the only group.
 */
export async function inGroup<Result>(
  service: Service,
  text: string | undefined,
  work: (group: string) => Promise<Result>,
): Promise<Result> {
  const { group, isNew } = await findGroup(service, text);
  try {
    return await work(group);
  } catch (error) {
    throw isNew ? await afterRemoval(service, group, error) : error;
  }
}

/** Removes the group; `error` says so where that fails. */
async function afterRemoval(service: Service, group: string, error: unknown): Promise<unknown> {
  try {
    const operations = await service.groups();
    await service.ask(async () => operations.beginDeleteAndWait(group));
  } catch (cause) {
    // Somebody uses it by now.
    const isUsed = cause instanceof ServiceRefusal && cause.code === 'ResourceGroupNotEmpty';
    if (!isUsed && error instanceof Error) {
      const why = cause instanceof Error ? cause.message : String(cause);
      error.message += ` (the resource group '${group}', made for it, is still there: ${why})`;
    }
  }
  return error;
}

async function findGroup(
  service: Service,
  text: string | undefined,
): Promise<{ readonly group: string; readonly isNew: boolean }> {
  const operations = await service.groups();
  const names = (await service.all(operations.list())).map(({ name }) => name ?? '');
  if (text === undefined) {
    const [only] = names;
    if (names.length === 1 && only !== undefined) return { group: only, isNew: false };
    const choice = names.length === 0 ? 'NAME' : orOf(names);
    throw new UsageError(`say in which resource group: --group ${choice}`);
  }
  const known = names.find((name) => isSame(name, text));
  if (known !== undefined) return { group: known, isNew: false };
  await service.ask(
    async () => await operations.createOrUpdate(text, { location: LOCATION, tags: {} }),
  );
  return { group: text, isNew: true };
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

/**
 * A VM's item: also of a VM that is gone, or whose protection was stopped. Where several vaults know the VM, the one
 * that backs it up is meant, else one that keeps its points.
 */
export async function findItem(
  service: Service,
  text: string,
  vaultName: string | undefined,
): Promise<ServiceItem> {
  return meantOf(await itemsOfVm(service, text, vaultName), STANDINGS);
}

/** As `findItem`, but of several vaults the one that has deleted it softly. */
export async function findDeletedItem(
  service: Service,
  text: string,
  vaultName: string | undefined,
): Promise<ServiceItem> {
  return meantOf(await itemsOfVm(service, text, vaultName), STANDINGS.toReversed());
}

/** What becomes of a VM's points in a vault; what matters most to people first. */
const STANDINGS = ['backed up', 'stopped', 'soft-deleted'] as const;
type Standing = (typeof STANDINGS)[number];

function standingOf({ properties }: ServiceItem): Standing {
  const { protectionState: state, isScheduledForDeferredDelete: isDeleted } = properties;
  if (isDeleted === true) return 'soft-deleted';
  return state === 'ProtectionStopped' || state === 'BackupsSuspended' ? 'stopped' : 'backed up';
}

export function isBackedUp(item: ServiceItem): boolean {
  return standingOf(item) === 'backed up';
}

/** Those that back it up first. */
export function byStanding(items: readonly ServiceItem[]): readonly ServiceItem[] {
  const rank = (item: ServiceItem): number => STANDINGS.indexOf(standingOf(item));
  return items.toSorted((a, b) => rank(a) - rank(b));
}

/** @param items of one VM, at least one. @throws {UsageError} where several stand alike. */
function meantOf(items: readonly ServiceItem[], order: readonly Standing[]): ServiceItem {
  const first = order.find((standing) => items.some((item) => standingOf(item) === standing));
  const meant = items.filter((item) => standingOf(item) === first);
  if (meant.length === 1) return meant[0]!;
  const vaults = meant.map((item) => fullName(item.vault));
  throw new UsageError(
    `${fullName(items[0]!.vm)} is ${first} in several vaults: give --vault ${orOf(vaults)}`,
  );
}

/** Of the one VM of that name that is protected, in each vault that knows it. */
async function itemsOfVm(
  service: Service,
  text: string,
  vaultName: string | undefined,
): Promise<readonly ServiceItem[]> {
  const items = await listItems(service, vaultName);
  const named = items.map(({ vm }) => vm);
  const different = [...new Map(named.map((vm) => [fullName(vm).toLowerCase(), vm])).values()];
  if (!different.some((vm) => isNamedBy(vm, text))) {
    throw await notProtected(service, { text, vaultName, protectedVms: different });
  }
  const vm = fullName(findNamed(different, text, 'protected VM'));
  return items.filter((item) => isSame(fullName(item.vm), vm));
}

async function notProtected(
  service: Service,
  of: {
    readonly text: string;
    readonly vaultName: string | undefined;
    readonly protectedVms: readonly Named[];
  },
): Promise<HoldfastError> {
  const { text, vaultName, protectedVms } = of;
  const vms = await listVms(service);
  if (!vms.some((vm) => isNamedBy(vm, text))) {
    const names = protectedVms.map(fullName);
    const unknown = notFound(`there is no protected VM ${text}`, 'protected VM', names);
    return await withRefreshHint(service, text, unknown);
  }
  const vm = fullName(findNamed(vms, text, 'VM'));
  const inVault =
    vaultName === undefined ? 'is not protected' : `is not protected in the vault ${vaultName}`;
  const option = vaultName === undefined ? '' : ` --vault ${shellQuoted(vaultName)}`;
  return new HoldfastError(
    'BMSUserErrorProtectedItemNotFound',
    `${vm} ${inVault}: holdfast protect ${shellQuoted(vm)}${option} protects it`,
  );
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
