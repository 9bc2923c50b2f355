/** What a PUT of a protected item asks for: several things that Azure tells apart by fields of one body. */
import { z } from 'zod';
import type { Protection, VaultName } from '#service';
import { Refusal } from '../frame/refusal.ts';
import type { Site } from '../frame/route.ts';
import { ANSWERED, DISK_LUNS, refuseUnsupported } from '../frame/wire.ts';
import { parseResourceId, VAULT_TYPE, VM_TYPE } from '../ids.ts';
import { plainName, VM_KIND, type VmName } from './item-names.ts';

const ANSWERED_PROPERTIES = z.unknown().optional();

const EXTENDED = z.strictObject({
  diskExclusionProperties: z
    .strictObject({
      diskLunList: DISK_LUNS,
      isInclusionList: z.boolean(),
    })
    .nullish(),
  linuxVmApplicationName: z.string().nullish(),
});

export const ITEM_PUT = z.strictObject({
  ...ANSWERED,
  location: z.string().nullish(),
  tags: z.unknown().optional(),
  properties: z.strictObject({
    protectedItemType: z.string(),
    sourceResourceId: z.string().nullish(),
    policyId: z.string().nullish(),
    protectionState: z
      .enum([
        'Invalid',
        'IRPending',
        'Protected',
        'ProtectionError',
        'ProtectionStopped',
        'ProtectionPaused',
        'BackupsSuspended',
      ])
      .nullish(),
    isRehydrate: z.boolean().nullish(),
    extendedProperties: EXTENDED.nullish(),
    createMode: z.string().nullish(),
    resourceGuardOperationRequests: z.array(z.string()).nullish(),
    // What a GET has answered comes back in a PUT, and changes nothing.
    backupManagementType: ANSWERED_PROPERTIES,
    workloadType: ANSWERED_PROPERTIES,
    friendlyName: ANSWERED_PROPERTIES,
    virtualMachineId: ANSWERED_PROPERTIES,
    containerName: ANSWERED_PROPERTIES,
    policyName: ANSWERED_PROPERTIES,
    vaultId: ANSWERED_PROPERTIES,
    protectedItemDataId: ANSWERED_PROPERTIES,
    protectionStatus: ANSWERED_PROPERTIES,
    healthStatus: ANSWERED_PROPERTIES,
    healthDetails: ANSWERED_PROPERTIES,
    kpisHealths: ANSWERED_PROPERTIES,
    lastBackupStatus: ANSWERED_PROPERTIES,
    lastBackupTime: ANSWERED_PROPERTIES,
    lastRecoveryPoint: ANSWERED_PROPERTIES,
    backupSetName: ANSWERED_PROPERTIES,
    extendedInfo: ANSWERED_PROPERTIES,
    isArchiveEnabled: ANSWERED_PROPERTIES,
    isScheduledForDeferredDelete: ANSWERED_PROPERTIES,
    deferredDeleteTimeInUTC: ANSWERED_PROPERTIES,
    deferredDeleteTimeRemaining: ANSWERED_PROPERTIES,
    isDeferredDeleteScheduleUpcoming: ANSWERED_PROPERTIES,
    softDeleteRetentionPeriod: ANSWERED_PROPERTIES,
    softDeleteRetentionPeriodInDays: ANSWERED_PROPERTIES,
  }),
});

type Properties = z.infer<typeof ITEM_PUT>['properties'];

export type ItemRequest =
  | { readonly action: 'undelete' | 'stopRetaining' | 'stopByPolicy' }
  | { readonly action: 'protect'; readonly protection: Protection };

/**
 * ```
 *   isRehydrate ─► undelete      ProtectionStopped, or an empty policyId ─► stop, data retained
 *   BackupsSuspended ─► stop, data retained by policy      a policyId ─► protect, change or resume
 *   Protected, without a policyId ─► resume by the policy that it had (Holdfast's own)
 * ```
 *
 * @throws {Refusal} `InvalidRequestContent`, `NotSupported`; `SubscriptionNotFound`.
 */
export function itemRequest(
  site: Site,
  of: { readonly vault: VaultName; readonly vm: VmName; readonly properties: Properties },
): ItemRequest {
  const { vault, vm, properties } = of;
  requireSource(site, vm, properties);
  refuseMissing(properties);
  const { policyId, protectionState, isRehydrate } = properties;
  if (isRehydrate === true) return { action: 'undelete' };
  if (protectionState === 'BackupsSuspended') return { action: 'stopByPolicy' };
  const stops = protectionState === 'ProtectionStopped' || policyId === '';
  if (stops) {
    const isBoth = policyId !== undefined && policyId !== null && policyId !== '';
    if (isBoth)
      throw invalid("'policyId' and 'protectionState' ProtectionStopped exclude each other");
    return { action: 'stopRetaining' };
  }
  const diskSelection = selectionOf(properties);
  if (policyId === undefined || policyId === null) {
    if (protectionState !== 'Protected') throw invalid("'policyId' is missing");
    return { action: 'protect', protection: { diskSelection } };
  }
  const policy = policyNameOf(site, vault, policyId);
  return { action: 'protect', protection: { policy, diskSelection } };
}

function requireSource(site: Site, vm: VmName, properties: Properties): void {
  const { protectedItemType, sourceResourceId } = properties;
  const isVm = protectedItemType.toLowerCase() === VM_KIND.toLowerCase();
  refuseUnsupported(!isVm, `The protectedItemType '${protectedItemType.slice(0, 60)}' is`);
  if (sourceResourceId === undefined || sourceResourceId === null || sourceResourceId === '')
    return;
  const of = { id: sourceResourceId, type: VM_TYPE, field: 'sourceResourceId' };
  const source = parseResourceId(site, of);
  if (plainName(source) === plainName(vm)) return;
  throw invalid(
    `'sourceResourceId' is another VM than the one of the path, ${vm.group}/${vm.name}`,
  );
}

function refuseMissing(properties: Properties): void {
  const { createMode, resourceGuardOperationRequests, extendedProperties } = properties;
  const { protectionState } = properties;
  const isRecover = createMode !== undefined && createMode !== null && createMode !== 'Default';
  refuseUnsupported(isRecover && createMode !== 'Invalid', `The createMode '${createMode}' is`);
  refuseUnsupported((resourceGuardOperationRequests?.length ?? 0) > 0, 'Resource guards are');
  const application = extendedProperties?.linuxVmApplicationName ?? '';
  refuseUnsupported(application !== '', 'linuxVmApplicationName is');
  const isOdd = protectionState === 'ProtectionPaused' || protectionState === 'ProtectionError';
  refuseUnsupported(isOdd, `Setting protectionState to ${protectionState} is`);
}

/** @throws {Refusal} `InvalidRequestContent` where it is no policy of that vault. */
export function policyNameOf(site: Site, vault: VaultName, id: string): string {
  const [, ofVault = '', policy = ''] = /^(.*)\/backupPolicies\/([^/]+)\/?$/i.exec(id) ?? [];
  const found = parseResourceId(site, { id: ofVault || id, type: VAULT_TYPE, field: 'policyId' });
  const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();
  if (policy === '')
    throw invalid(`'policyId' is not the id of a backup policy: ${id.slice(0, 200)}`);
  if (same(found.group, vault.group) && same(found.name, vault.name)) return policy;
  throw invalid(`'policyId' is a policy of another vault, ${found.group}/${found.name}`);
}

/** Absent: as it was. Empty: all disks. */
function selectionOf({ extendedProperties }: Properties): Protection['diskSelection'] {
  if (extendedProperties === undefined || extendedProperties === null) return undefined;
  const { diskExclusionProperties: chosen } = extendedProperties;
  if (chosen === undefined || chosen === null) return 'all';
  const luns = [...new Set(chosen.diskLunList)].toSorted((a, b) => a - b);
  if (luns.length === 0 && !chosen.isInclusionList) return 'all';
  return { luns, isInclusion: chosen.isInclusionList };
}

function invalid(why: string): Refusal {
  return new Refusal('InvalidRequestContent', `The request content was invalid: ${why}.`);
}
