/** Azure's ids of resources, from names and back. */
import { Refusal } from './frame/refusal.ts';
import type { Site } from './frame/route.ts';

type InGroup = {
  readonly group: string;
  /** `Microsoft.RecoveryServices/vaults` */
  readonly type: string;
  readonly name: string;
};

export function subscriptionId({ access }: Pick<Site, 'access'>): string {
  return `/subscriptions/${access.subscriptionId}`;
}

export function groupId(site: Pick<Site, 'access'>, group: string): string {
  return `${subscriptionId(site)}/resourceGroups/${group}`;
}

export function resourceId(site: Pick<Site, 'access'>, { group, type, name }: InGroup): string {
  return `${groupId(site, group)}/providers/${type}/${name}`;
}

export const VAULT_TYPE = 'Microsoft.RecoveryServices/vaults';
export const VM_TYPE = 'Microsoft.Compute/virtualMachines';
export const STORAGE_ACCOUNT_TYPE = 'Microsoft.Storage/storageAccounts';

export function vaultId(
  site: Pick<Site, 'access'>,
  { group, name }: { readonly group: string; readonly name: string },
): string {
  return resourceId(site, { group, type: VAULT_TYPE, name });
}

export function vmId(
  site: Pick<Site, 'access'>,
  { group, name }: { readonly group: string; readonly name: string },
): string {
  return resourceId(site, { group, type: VM_TYPE, name });
}

/**
 * The group that a body names by its id.
 *
 * @throws {Refusal} `InvalidRequestContent` if it is no id of a group; `SubscriptionNotFound`.
 */
export function parseGroupId(
  { access }: Pick<Site, 'access'>,
  { id, field }: { readonly id: string; readonly field: string },
): string {
  const [, subscription = '', group] =
    /^\/?subscriptions\/([^/]+)\/resourceGroups\/([^/]+)\/?$/i.exec(id) ?? [];
  if (group === undefined) throw noIdOf({ id, type: 'resource group', field });
  requireOwn(access, subscription);
  return group;
}

/**
 * The group and the name of a resource that a body names by its id, whatever the case of its words.
 *
 * @throws {Refusal} `InvalidRequestContent` if it is no id of that type; `SubscriptionNotFound`.
 */
export function parseResourceId(
  { access }: Pick<Site, 'access'>,
  of: { readonly id: string; readonly type: string; readonly field: string },
): { readonly group: string; readonly name: string } {
  const { id, type, field } = of;
  const found =
    /^\/?subscriptions\/([^/]+)\/resourceGroups\/([^/]+)\/providers\/([^/]+\/[^/]+)\/([^/]+)\/?$/i.exec(
      id,
    );
  const [, subscription = '', group = '', foundType = '', name = ''] = found ?? [];
  if (foundType.toLowerCase() !== type.toLowerCase()) throw noIdOf({ id, type, field });
  requireOwn(access, subscription);
  return { group, name };
}

function noIdOf(of: { readonly id: string; readonly type: string; readonly field: string }) {
  return new Refusal(
    'InvalidRequestContent',
    `The request content was invalid: '${of.field}' is not the id of a ${of.type}: ${of.id.slice(0, 200)}`,
  );
}

function requireOwn(access: Site['access'], subscription: string): void {
  if (subscription.toLowerCase() === access.subscriptionId) return;
  throw new Refusal(
    'SubscriptionNotFound',
    `The subscription '${subscription.slice(0, 60)}' could not be found.`,
  );
}
