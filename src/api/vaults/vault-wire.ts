/** A vault on the wire (Microsoft.RecoveryServices 2022-10-01 to 2024-04-01), and the domain's words for it. */
import { z } from 'zod';
import type { Vault, VaultSettings } from '#service';
import { entityTag } from '../frame/conditions.ts';
import type { Site } from '../frame/route.ts';
import { ANSWERED, ON_OFF, refuseUnsupported, TAGS } from '../frame/wire.ts';
import { VAULT_TYPE, vaultId } from '../ids.ts';

const ANSWERED_PROPERTIES = {
  provisioningState: z.unknown().optional(),
  privateEndpointConnections: z.unknown().optional(),
  privateEndpointStateForBackup: z.unknown().optional(),
  privateEndpointStateForSiteRecovery: z.unknown().optional(),
  backupStorageVersion: z.unknown().optional(),
  bcdrSecurityLevel: z.unknown().optional(),
  secureScore: z.unknown().optional(),
  upgradeDetails: z.unknown().optional(),
  moveDetails: z.unknown().optional(),
  moveState: z.unknown().optional(),
};

const SOFT_DELETE = z.strictObject({
  softDeleteState: z.enum(['Enabled', 'Disabled', 'AlwaysON', 'Invalid']).optional(),
  softDeleteRetentionPeriodInDays: z.int().optional(),
  enhancedSecurityState: z.enum(['Enabled', 'Disabled', 'AlwaysON', 'Invalid']).optional(),
});

const IMMUTABILITY = z.strictObject({
  state: z.enum(['Disabled', 'Unlocked', 'Locked']).optional(),
  /** Of 2026: by the dates of the policies, or for so many days. */
  configuration: z
    .strictObject({
      type: z.enum(['AsPerPolicy', 'TimeBased']).optional(),
      durationInDays: z.int().optional(),
    })
    .nullish(),
});

const PROPERTIES = z.strictObject({
  ...ANSWERED_PROPERTIES,
  publicNetworkAccess: ON_OFF.optional(),
  monitoringSettings: z
    .strictObject({
      azureMonitorAlertSettings: z
        .strictObject({
          alertsForAllJobFailures: ON_OFF.optional(),
          alertsForAllReplicationIssues: ON_OFF.optional(),
          alertsForAllFailoverIssues: ON_OFF.optional(),
        })
        .optional(),
      classicAlertSettings: z
        .strictObject({
          alertsForCriticalOperations: ON_OFF.optional(),
          emailNotificationsForSiteRecovery: ON_OFF.optional(),
        })
        .optional(),
    })
    .optional(),
  securitySettings: z
    .strictObject({
      softDeleteSettings: SOFT_DELETE.optional(),
      immutabilitySettings: IMMUTABILITY.optional(),
      multiUserAuthorization: z.string().optional(),
      sourceScanConfiguration: z.unknown().optional(),
    })
    .optional(),
  encryption: z
    .strictObject({
      keyVaultProperties: z.unknown().optional(),
      kekIdentity: z.unknown().optional(),
      infrastructureEncryption: z.string().optional(),
    })
    .nullish(),
  redundancySettings: z
    .strictObject({
      standardTierStorageRedundancy: z.string().optional(),
      crossRegionRestore: z.string().optional(),
    })
    .optional(),
  restoreSettings: z
    .strictObject({
      crossSubscriptionRestoreSettings: z
        .strictObject({ crossSubscriptionRestoreState: z.string().optional() })
        .optional(),
    })
    .optional(),
  resourceGuardOperationRequests: z.array(z.string()).optional(),
});

const SKU = z.looseObject({ name: z.string() });

const COMMON = {
  ...ANSWERED,
  sku: SKU.optional(),
  tags: TAGS,
  identity: z.looseObject({ type: z.string() }).nullish(),
  properties: PROPERTIES.optional(),
};

export const VAULT_PUT = z.strictObject({ ...COMMON, location: z.string() });
export const VAULT_PATCH = z.strictObject({ ...COMMON, location: z.string().optional() });

type VaultPatch = z.infer<typeof VAULT_PATCH>;

/**
 * What a body asks to be set.
 *
 * @throws {Refusal} `NotSupported` for what Holdfast has not.
 */
export function settingsFromWire({
  properties,
  sku,
  identity,
}: VaultPatch): Partial<VaultSettings> {
  refuseUnsupported(sku !== undefined && !['Standard', 'RS0'].includes(sku.name), 'That SKU is');
  const identityType = identity?.type.toLowerCase() ?? 'none';
  refuseUnsupported(identityType !== 'none', 'Managed identities of vaults are');
  if (properties === undefined) return {};
  refuseMissingFeatures(properties);
  const { softDeleteSettings, immutabilitySettings } = properties.securitySettings ?? {};
  const { softDeleteState, softDeleteRetentionPeriodInDays, enhancedSecurityState } =
    softDeleteSettings ?? {};
  const { azureMonitorAlertSettings, classicAlertSettings } = properties.monitoringSettings ?? {};
  return given({
    softDelete: stateOf(softDeleteState, 'softDeleteState'),
    softDeleteDays: softDeleteRetentionPeriodInDays,
    immutability: immutabilitySettings?.state,
    enhancedSecurity: onOff(enhancedSecurityState, 'enhancedSecurityState'),
    jobFailureAlerts: azureMonitorAlertSettings?.alertsForAllJobFailures,
    classicAlerts: classicAlertSettings?.alertsForCriticalOperations,
  });
}

function refuseMissingFeatures(properties: z.infer<typeof PROPERTIES>): void {
  const { encryption, redundancySettings, restoreSettings, securitySettings } = properties;
  const crossSubscription =
    restoreSettings?.crossSubscriptionRestoreSettings?.crossSubscriptionRestoreState;
  const refusals: readonly Refused[] = [
    [isOther(properties.publicNetworkAccess, 'Enabled'), 'publicNetworkAccess Disabled is'],
    [encryption?.keyVaultProperties != null, 'Customer-managed keys are'],
    [isOther(encryption?.infrastructureEncryption, 'Disabled'), 'Infrastructure encryption is'],
    ...missingSecurity(securitySettings ?? {}),
    [
      isOther(redundancySettings?.standardTierStorageRedundancy, 'LocallyRedundant'),
      'Another redundancy than LocallyRedundant is',
    ],
    [isOther(redundancySettings?.crossRegionRestore, 'Disabled'), 'Cross-region restore is'],
    [isOther(crossSubscription, 'Enabled'), 'Switching cross-subscription restore off is'],
    [(properties.resourceGuardOperationRequests?.length ?? 0) > 0, 'Resource guards are'],
  ];
  for (const [isWanted, what] of refusals) refuseUnsupported(isWanted, what);
}

/** Whether it is wanted, and the beginning of the sentence that refuses it. */
type Refused = readonly [isWanted: boolean, what: string];

function missingSecurity(
  settings: NonNullable<z.infer<typeof PROPERTIES>['securitySettings']>,
): readonly Refused[] {
  const { immutabilitySettings, multiUserAuthorization, sourceScanConfiguration } = settings;
  const { type } = immutabilitySettings?.configuration ?? {};
  return [
    [isOther(type, 'AsPerPolicy'), 'Immutability for a time of its own is'],
    [isOther(multiUserAuthorization, 'Disabled'), 'Multi-user authorization is'],
    [sourceScanConfiguration !== undefined, 'Source scanning is'],
  ];
}

function isOther(value: string | undefined, only: string): boolean {
  return value !== undefined && value.toLowerCase() !== only.toLowerCase();
}

/** @throws {Refusal} `NotSupported` for `Invalid`, which Azure's models have as a value. */
export function stateOf(
  state: 'Enabled' | 'Disabled' | 'AlwaysON' | 'Invalid' | undefined,
  field: string,
): VaultSettings['softDelete'] | undefined {
  if (state !== 'Invalid') return state;
  refuseUnsupported(true, `${field} Invalid is`);
  return undefined;
}

/** As `stateOf`, without always-on. */
export function onOff(
  state: 'Enabled' | 'Disabled' | 'AlwaysON' | 'Invalid' | undefined,
  field: string,
): 'Enabled' | 'Disabled' | undefined {
  const known = stateOf(state, field);
  if (known !== 'AlwaysON') return known;
  refuseUnsupported(true, `${field} AlwaysON is`);
  return undefined;
}

/** Without the fields that are undefined. */
export function given(settings: {
  readonly [Key in keyof VaultSettings]?: VaultSettings[Key] | undefined;
}): Partial<VaultSettings> {
  const entries = Object.entries(settings).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as Partial<VaultSettings>;
}

function immutabilityToWire({ immutability: state }: VaultSettings) {
  return state === 'Disabled' ? { state } : { state, configuration: { type: 'AsPerPolicy' } };
}

export function vaultToWire(site: Pick<Site, 'access'>, vault: Vault) {
  const { settings, revision, name, location, tags } = vault;
  return {
    id: vaultId(site, vault),
    name,
    type: VAULT_TYPE,
    location,
    etag: entityTag(revision),
    tags,
    sku: { name: 'Standard', tier: 'Standard' },
    properties: {
      provisioningState: 'Succeeded',
      privateEndpointStateForBackup: 'None',
      privateEndpointStateForSiteRecovery: 'None',
      publicNetworkAccess: settings.publicNetworkAccess,
      monitoringSettings: {
        azureMonitorAlertSettings: { alertsForAllJobFailures: settings.jobFailureAlerts },
        classicAlertSettings: { alertsForCriticalOperations: settings.classicAlerts },
      },
      securitySettings: {
        softDeleteSettings: {
          softDeleteState: settings.softDelete,
          softDeleteRetentionPeriodInDays: settings.softDeleteDays,
          enhancedSecurityState: settings.enhancedSecurity,
        },
        immutabilitySettings: immutabilityToWire(settings),
        multiUserAuthorization: 'Disabled',
      },
      redundancySettings: {
        standardTierStorageRedundancy: 'LocallyRedundant',
        crossRegionRestore: 'Disabled',
      },
      restoreSettings: {
        crossSubscriptionRestoreSettings: { crossSubscriptionRestoreState: 'Enabled' },
      },
      backupStorageVersion: 'V2',
    },
  };
}
