/** Azure's restore request, and the domain's words for it. */
import { z } from 'zod';
import { getHost, getResourceGroup, runsVms, type ItemName, type RestoreRequest } from '#service';
import { Refusal } from '../frame/refusal.ts';
import type { Site } from '../frame/route.ts';
import { ANSWERED, DISK_LUNS, refuseUnsupported, requireLocation } from '../frame/wire.ts';
import { parseResourceId, STORAGE_ACCOUNT_TYPE, VM_TYPE } from '../ids.ts';
import { plainName } from '../items/item-names.ts';
import { NO_NETWORK } from '../network/virtual-networks.ts';

const TEXT = z.string().nullish();

export const RESTORE_PROPERTIES = z.strictObject({
  objectType: z.enum(['IaasVMRestoreRequest', 'IaasVMRestoreWithRehydrationRequest']),
  recoveryPointId: TEXT,
  recoveryType: z.enum([
    'OriginalLocation',
    'AlternateLocation',
    'RestoreDisks',
    'Offline',
    'Invalid',
  ]),
  sourceResourceId: TEXT,
  targetVirtualMachineId: TEXT,
  targetResourceGroupId: TEXT,
  storageAccountId: TEXT,
  virtualNetworkId: TEXT,
  subnetId: TEXT,
  targetDomainNameId: TEXT,
  region: TEXT,
  affinityGroup: TEXT,
  createNewCloudService: z.boolean().nullish(),
  originalStorageAccountOption: z.boolean().nullish(),
  encryptionDetails: z.looseObject({ encryptionEnabled: z.boolean().nullish() }).nullish(),
  restoreDiskLunList: DISK_LUNS.nullish(),
  restoreWithManagedDisks: z.boolean().nullish(),
  diskEncryptionSetId: TEXT,
  zones: z.array(z.string()).nullish(),
  identityInfo: z
    .strictObject({
      isSystemAssignedIdentity: z.boolean().nullish(),
      managedIdentityResourceId: TEXT,
    })
    .nullish(),
  identityBasedRestoreDetails: z
    .looseObject({ objectType: TEXT, targetStorageAccountId: TEXT })
    .nullish(),
  extendedLocation: z.looseObject({ name: TEXT }).nullish(),
  securedVMDetails: z.looseObject({ securedVMOsDiskEncryptionSetId: TEXT }).nullish(),
  targetDiskNetworkAccessSettings: z.looseObject({ targetDiskNetworkAccessOption: TEXT }).nullish(),
  recoveryPointRehydrationInfo: z.unknown().optional(),
  /** Holdfast's own, for a new VM; absent: it is started, as Azure's are. */
  startVirtualMachine: z.boolean().nullish(),
});

export const RESTORE = z.strictObject({
  ...ANSWERED,
  location: TEXT,
  tags: z.unknown().optional(),
  properties: RESTORE_PROPERTIES,
});

type Properties = z.infer<typeof RESTORE_PROPERTIES>;

/**
 * @param point of the path; the body may repeat it.
 * @throws {Refusal} `InvalidRequestContent`, `NotSupported`; {HoldfastError} `ResourceNotFound` for what it names.
 */
export async function restoreRequest(
  site: Site,
  of: { readonly name: ItemName; readonly point: string; readonly properties: Properties },
): Promise<RestoreRequest> {
  const { name, point, properties } = of;
  refuseMissing(properties);
  requireSame(site, of);
  requireLocation(properties.region ?? undefined);
  const { storageAccountId, restoreDiskLunList, recoveryType } = properties;
  const account = parseResourceId(site, {
    id: needed(storageAccountId, 'storageAccountId'),
    type: STORAGE_ACCOUNT_TYPE,
    field: 'storageAccountId',
  });
  const luns = restoreDiskLunList ?? undefined;
  const common = { point, account, ...(luns === undefined ? {} : { luns: [...new Set(luns)] }) };
  if (recoveryType === 'OriginalLocation') {
    requireOriginal(site, name, properties);
    return { kind: 'replace', ...common };
  }
  if (recoveryType === 'RestoreDisks') {
    await requireGroup(site, properties);
    return { kind: 'disks', ...common };
  }
  return { kind: 'new-vm', ...common, ...(await newVm(site, properties)) };
}

async function newVm(
  site: Site,
  properties: Properties,
): Promise<
  Pick<
    Extract<RestoreRequest, { readonly kind: 'new-vm' }>,
    'hostKey' | 'vmName' | 'starts' | 'network'
  >
> {
  const { targetVirtualMachineId, targetResourceGroupId, virtualNetworkId } = properties;
  const { startVirtualMachine } = properties;
  const field = 'targetVirtualMachineId';
  const id = needed(targetVirtualMachineId, field);
  const { group, name } = parseResourceId(site, { id, type: VM_TYPE, field });
  const wanted = given(targetResourceGroupId);
  if (wanted !== undefined && groupOf(site, wanted).toLowerCase() !== group.toLowerCase()) {
    throw invalid("'targetResourceGroupId' is not the group of 'targetVirtualMachineId'");
  }
  const asked = given(virtualNetworkId);
  const host = await getHost(site.service.catalogue.read, group);
  // Azure's new VMs run.
  const starts = startVirtualMachine ?? runsVms(host);
  const vm = { hostKey: group.toLowerCase(), vmName: name, starts };
  const network = asked === undefined ? undefined : networkOf(site, asked, properties);
  return network === undefined ? vm : { ...vm, network };
}

/** Undefined: none at all. */
function networkOf(site: Site, id: string, { subnetId }: Properties): string | undefined {
  const type = 'Microsoft.Network/virtualNetworks';
  const { name } = parseResourceId(site, { id, type, field: 'virtualNetworkId' });
  const subnet = given(subnetId);
  if (subnet === undefined || subnet.toLowerCase().startsWith(`${id.toLowerCase()}/subnets/`)) {
    return name.toLowerCase() === NO_NETWORK ? undefined : name;
  }
  throw invalid("'subnetId' is no subnet of 'virtualNetworkId'");
}

function requireOriginal(site: Site, { vm }: ItemName, properties: Properties): void {
  const field = 'targetVirtualMachineId';
  const id = given(properties.targetVirtualMachineId);
  if (id === undefined) return;
  if (plainName(parseResourceId(site, { id, type: VM_TYPE, field })) === plainName(vm)) return;
  throw invalid(`'${field}' is another VM than the one that is restored: use AlternateLocation`);
}

/** Where Azure would make managed disks; ours are in the storage account, whatever group is named. */
async function requireGroup(site: Site, { targetResourceGroupId }: Properties): Promise<void> {
  const id = given(targetResourceGroupId);
  if (id === undefined) return;
  await getResourceGroup(site.service.catalogue.read, groupOf(site, id));
}

function groupOf({ access }: Site, id: string): string {
  const [, subscription = '', group = ''] =
    /^\/?subscriptions\/([^/]+)\/resourceGroups\/([^/]+)\/?$/i.exec(id) ?? [];
  if (group === '') throw invalid(`'targetResourceGroupId' is not the id of a resource group`);
  if (subscription.toLowerCase() === access.subscriptionId) return group;
  throw new Refusal(
    'SubscriptionNotFound',
    `The subscription '${subscription.slice(0, 60)}' could not be found.`,
  );
}

function requireSame(
  site: Site,
  of: { readonly name: ItemName; readonly point: string; readonly properties: Properties },
): void {
  const { name, point, properties } = of;
  const id = given(properties.recoveryPointId);
  // Some clients write the whole id of the point.
  if (id !== undefined && id.split('/').at(-1) !== point) {
    throw invalid("'recoveryPointId' is another recovery point than the one of the path");
  }
  const source = given(properties.sourceResourceId);
  if (source === undefined) return;
  const vm = parseResourceId(site, { id: source, type: VM_TYPE, field: 'sourceResourceId' });
  if (plainName(vm) !== plainName(name.vm)) {
    throw invalid("'sourceResourceId' is another VM than the one of the path");
  }
}

/** Fields that ask for what Holdfast has not, wherever they are not empty. */
const MISSING: readonly (readonly [(properties: Properties) => unknown, string])[] = [
  [({ objectType }) => objectType !== 'IaasVMRestoreRequest', 'Rehydration from an archive is'],
  [({ recoveryType: type }) => type === 'Offline' || type === 'Invalid', 'That recoveryType is'],
  [(asked) => asked.originalStorageAccountOption, 'originalStorageAccountOption is'],
  [(asked) => asked.createNewCloudService, 'createNewCloudService is'],
  [(asked) => asked.affinityGroup, 'affinityGroup is'],
  [(asked) => asked.targetDomainNameId, 'targetDomainNameId is'],
  [(asked) => asked.encryptionDetails?.encryptionEnabled, 'Restoring encryption keys is'],
  [(asked) => asked.diskEncryptionSetId, 'diskEncryptionSetId is'],
  [(asked) => asked.securedVMDetails?.securedVMOsDiskEncryptionSetId, 'securedVMDetails is'],
  [({ zones }) => zones?.length, 'Restoring into zones is'],
  [(asked) => asked.extendedLocation?.name, 'extendedLocation is'],
  [hasIdentity, 'Restoring by a managed identity is'],
  [(asked) => asked.restoreWithManagedDisks, 'restoreWithManagedDisks is'],
  [hasDiskAccess, 'targetDiskNetworkAccessSettings is'],
];

function hasIdentity({ identityInfo, identityBasedRestoreDetails }: Properties): unknown {
  const { isSystemAssignedIdentity, managedIdentityResourceId } = identityInfo ?? {};
  const account = identityBasedRestoreDetails?.targetStorageAccountId;
  return [isSystemAssignedIdentity, managedIdentityResourceId, account].some(Boolean);
}

function hasDiskAccess({ targetDiskNetworkAccessSettings: access }: Properties): boolean {
  const option = access?.targetDiskNetworkAccessOption ?? 'SameAsOnSourceDisks';
  return option !== 'SameAsOnSourceDisks';
}

function refuseMissing(properties: Properties): void {
  for (const [isWanted, what] of MISSING) refuseUnsupported(Boolean(isWanted(properties)), what);
}

function given(text: string | null | undefined): string | undefined {
  return text === null || text === '' ? undefined : text;
}

function needed(text: string | null | undefined, field: string): string {
  const value = given(text);
  if (value === undefined) throw invalid(`'${field}' is missing`);
  return value;
}

function invalid(why: string): Refusal {
  return new Refusal('InvalidRequestContent', `The request content was invalid: ${why}.`);
}
