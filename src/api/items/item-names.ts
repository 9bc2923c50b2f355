/**
 * Azure's names of a protected VM:
 *
 * ```
 *   container   IaasVMContainer;iaasvmcontainerv2;<group>;<vm>      item   VM;iaasvmcontainerv2;<group>;<vm>
 * ```
 * Both are written in lower case, and read in any, with and without their first part.
 */
import { HoldfastError } from '#base';
import type { VaultName } from '#service';
import { Refusal } from '../frame/refusal.ts';
import { VAULT, vaultOf, type Site } from '../frame/route.ts';
import { vaultId } from '../ids.ts';

export type VmName = { readonly group: string; readonly name: string };

export const CONTAINER =
  `${VAULT}/backupFabrics/{fabric}/protectionContainers/{container}` as const;
export const ITEM = `${CONTAINER}/protectedItems/{item}` as const;
export const CONTAINER_TYPE =
  'Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers';
export const ITEM_TYPE = `${CONTAINER_TYPE}/protectedItems`;

/** `backupManagementType` of all that is protected here. */
export const MANAGEMENT_TYPE = 'AzureIaasVM';
/** What Azure calls a VM of its resource manager, in containers, items and protectable items. */
export const VM_KIND = 'Microsoft.Compute/virtualMachines';

const NAME = /^(?:(?<kind>[a-z]+);)?iaasvmcontainerv2;(?<group>[^;/]+);(?<name>[^;/]+)$/i;

/** `iaasvmcontainerv2;<group>;<vm>`, as `containerName` says it. */
export function plainName({ group, name }: VmName): string {
  return `iaasvmcontainerv2;${group};${name}`.toLowerCase();
}

export function containerName(vm: VmName): string {
  return `IaasVMContainer;${plainName(vm)}`;
}

export function itemName(vm: VmName): string {
  return `VM;${plainName(vm)}`;
}

export function containerId(site: Pick<Site, 'access'>, vault: VaultName, vm: VmName): string {
  return `${vaultId(site, vault)}/backupFabrics/Azure/protectionContainers/${containerName(vm)}`;
}

export function itemId(site: Pick<Site, 'access'>, vault: VaultName, vm: VmName): string {
  return `${containerId(site, vault, vm)}/protectedItems/${itemName(vm)}`;
}

type ContainerParams = {
  readonly group: string;
  readonly vault: string;
  readonly fabric: string;
  readonly container: string;
};

/** The VM that a container's path names. @throws as `itemAt`. */
export function containerAt(params: ContainerParams): {
  readonly vault: VaultName;
  readonly vm: VmName;
} {
  requireFabric(params.fabric);
  const vm = parse(params.container, 'iaasvmcontainer');
  if (vm !== undefined) return { vault: vaultOf(params), vm };
  throw unknownItem(params.container);
}

/**
 * The VM that an item's path names, in its vault; whether it is there is not looked up.
 *
 * @throws {Refusal} `PathNotFound` for another fabric than Azure; {HoldfastError}
 *   `BMSUserErrorProtectedItemNotFound` where container and item name no VM, or not the same.
 */
export function itemAt(params: ContainerParams & { readonly item: string }): {
  readonly vault: VaultName;
  readonly vm: VmName;
} {
  const { vault, vm: contained } = containerAt(params);
  const vm = parse(params.item, 'vm');
  if (vm !== undefined && plainName(vm) === plainName(contained)) return { vault, vm };
  throw unknownItem(params.item);
}

export function requireFabric(fabric: string): void {
  if (fabric.toLowerCase() === 'azure') return;
  throw new Refusal(
    'PathNotFound',
    `There is no backup fabric '${fabric}': the one here is Azure.`,
  );
}

function parse(text: string, kind: string): VmName | undefined {
  const { kind: found, group, name } = NAME.exec(text)?.groups ?? {};
  if (group === undefined || name === undefined) return undefined;
  return (found ?? kind).toLowerCase() === kind ? { group, name } : undefined;
}

export function unknownItem(name: string): HoldfastError {
  return new HoldfastError(
    'BMSUserErrorProtectedItemNotFound',
    `There is no VM that is called '${name}' in backup: items are VM;iaasvmcontainerv2;<group>;<vm>, in the ` +
      'container IaasVMContainer;iaasvmcontainerv2;<group>;<vm>.',
  );
}
