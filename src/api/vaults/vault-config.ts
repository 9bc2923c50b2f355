/** Settings of a vault's backups: backupconfig/vaultconfig. */
import { z } from 'zod';
import { getVault, updateVault, type Vault } from '#service';
import { entityTag, wantedRevision } from '../frame/conditions.ts';
import { ok, route, VAULT, vaultOf, type ApiRequest, type Site } from '../frame/route.ts';
import { ANSWERED, refuseUnsupported } from '../frame/wire.ts';
import { vaultId } from '../ids.ts';
import { given, onOff, stateOf } from './vault-wire.ts';

const STATE = z.enum(['Enabled', 'Disabled', 'AlwaysON', 'Invalid']).nullish();

const BODY = z.strictObject({
  ...ANSWERED,
  location: z.string().nullish(),
  tags: z.unknown().optional(),
  properties: z.strictObject({
    enhancedSecurityState: STATE,
    softDeleteFeatureState: STATE,
    softDeleteRetentionPeriodInDays: z.int().nullish(),
    /** The name that older versions have for it. */
    softDeleteRetentionPeriod: z.int().nullish(),
    storageModelType: z.string().nullish(),
    storageType: z.string().nullish(),
    storageTypeState: z.string().nullish(),
    isSoftDeleteFeatureStateEditable: z.boolean().nullish(),
    resourceGuardOperationRequests: z.array(z.string()).nullish(),
  }),
});

const PATH = `${VAULT}/backupconfig/vaultconfig` as const;

export const vaultConfigRoutes = [
  route({
    method: 'GET',
    path: PATH,
    summary: 'Shows the settings of backups of a vault',
    handle: async (request) => {
      const vault = await getVault(request.service.catalogue.read, vaultOf(request.params));
      return ok(toWire(request, vault));
    },
  }),
  route({
    method: 'PATCH',
    path: PATH,
    summary: 'Changes settings of backups of a vault',
    body: BODY,
    handle: async (request) => ok(await change(request)),
  }),
  route({
    method: 'PUT',
    path: PATH,
    summary: 'Changes the settings of backups of a vault',
    body: BODY,
    handle: async (request) => ok(await change(request)),
  }),
];

async function change(
  request: ApiRequest<{ readonly group: string; readonly vault: string }, z.infer<typeof BODY>>,
) {
  const { service, params, body, headers } = request;
  const { properties } = body;
  const { storageModelType, storageType, resourceGuardOperationRequests } = properties;
  refuseUnsupported((resourceGuardOperationRequests?.length ?? 0) > 0, 'Resource guards are');
  for (const type of [storageModelType, storageType]) refuseOtherRedundancy(type ?? undefined);
  const days = properties.softDeleteRetentionPeriodInDays ?? properties.softDeleteRetentionPeriod;
  const vault = await updateVault(service, vaultOf(params), {
    settings: given({
      softDelete: stateOf(properties.softDeleteFeatureState ?? undefined, 'softDeleteFeatureState'),
      softDeleteDays: days ?? undefined,
      enhancedSecurity: onOff(
        properties.enhancedSecurityState ?? undefined,
        'enhancedSecurityState',
      ),
    }),
    revision: wantedRevision(headers),
  });
  return toWire(request, vault);
}

/** A repository is one folder: nothing else is true, and nothing else is accepted. */
export function refuseOtherRedundancy(type: string | undefined): void {
  const isOther = type !== undefined && type.toLowerCase() !== 'locallyredundant';
  refuseUnsupported(isOther, `The redundancy ${String(type).slice(0, 40)} is`);
}

function toWire(site: Site, vault: Vault) {
  const { softDelete, softDeleteDays, enhancedSecurity } = vault.settings;
  return {
    id: `${vaultId(site, vault)}/backupconfig/vaultconfig`,
    name: 'vaultconfig',
    type: 'Microsoft.RecoveryServices/vaults/backupconfig',
    eTag: entityTag(vault.revision),
    properties: {
      enhancedSecurityState: enhancedSecurity,
      softDeleteFeatureState: softDelete,
      softDeleteRetentionPeriodInDays: softDeleteDays,
      softDeleteRetentionPeriod: softDeleteDays,
      isSoftDeleteFeatureStateEditable: softDelete !== 'AlwaysON',
      storageModelType: 'LocallyRedundant',
      storageType: 'LocallyRedundant',
      storageTypeState: 'Locked',
    },
  };
}
