/** What is fixed in Holdfast and can be set in Azure: redundancy, encryption, resource guards. */
import { z } from 'zod';
import { getVault } from '#service';
import { listAnswer } from '../frame/paging.ts';
import { ok, route, VAULT, vaultOf, type ApiRequest, type Site } from '../frame/route.ts';
import { ANSWERED, refuseUnsupported } from '../frame/wire.ts';
import { vaultId } from '../ids.ts';
import { refuseOtherRedundancy } from './vault-config.ts';

const STORAGE = z.strictObject({
  ...ANSWERED,
  location: z.string().nullish(),
  tags: z.unknown().optional(),
  properties: z.strictObject({
    storageModelType: z.string().nullish(),
    storageType: z.string().nullish(),
    storageTypeState: z.string().nullish(),
    crossRegionRestoreFlag: z.boolean().nullish(),
    dedupState: z.string().nullish(),
    xcoolState: z.string().nullish(),
  }),
});

const STORAGE_PATH = `${VAULT}/backupstorageconfig/vaultstorageconfig` as const;
const ENCRYPTION_PATH = `${VAULT}/backupEncryptionConfigs/backupResourceEncryptionConfig` as const;

type VaultRequest = ApiRequest<{ readonly group: string; readonly vault: string }, unknown>;

export const vaultFactRoutes = [
  route({
    method: 'GET',
    path: STORAGE_PATH,
    summary: 'Shows the redundancy of a vault',
    handle: async (request) => ok(await storageConfig(request)),
  }),
  route({
    method: 'PUT',
    path: STORAGE_PATH,
    summary: 'Confirms the redundancy of a vault',
    body: STORAGE,
    handle: async (request) => {
      checkStorage(request.body.properties);
      return ok(await storageConfig(request));
    },
  }),
  route({
    method: 'PATCH',
    path: STORAGE_PATH,
    summary: 'Confirms the redundancy of a vault',
    body: STORAGE,
    handle: async (request) => {
      checkStorage(request.body.properties);
      await knownVault(request);
      return { status: 204 };
    },
  }),
  route({
    method: 'GET',
    path: ENCRYPTION_PATH,
    summary: 'Shows how a vault is encrypted',
    handle: async (request) => {
      const vault = await knownVault(request);
      return ok({
        id: `${vaultId(request, vault)}/backupEncryptionConfigs/backupResourceEncryptionConfig`,
        name: 'backupResourceEncryptionConfig',
        type: 'Microsoft.RecoveryServices/vaults/backupEncryptionConfigs',
        properties: {
          encryptionAtRestType: 'MicrosoftManaged',
          lastUpdateStatus: 'Succeeded',
          infrastructureEncryptionState: 'Disabled',
        },
      });
    },
  }),
  route({
    method: 'PUT',
    path: ENCRYPTION_PATH,
    summary: 'Refuses customer-managed keys',
    body: z.looseObject({}),
    handle: async (request) => {
      await knownVault(request);
      refuseUnsupported(true, 'Customer-managed keys are');
      return { status: 400 };
    },
  }),
  route({
    method: 'GET',
    path: `${VAULT}/backupResourceGuardProxies`,
    summary: 'Lists resource guards: there are none',
    handle: async (request) => {
      await knownVault(request);
      return listAnswer(request, []);
    },
  }),
  route({
    method: 'PUT',
    path: `${VAULT}/backupResourceGuardProxies/{proxy}`,
    summary: 'Refuses resource guards',
    body: z.looseObject({}),
    handle: async (request) => {
      await knownVault(request);
      refuseUnsupported(true, 'Resource guards are');
      return { status: 400 };
    },
  }),
  route({
    method: 'GET',
    path: `${VAULT}/replicationUsages`,
    summary: 'Tells how much is replicated: nothing',
    handle: async (request) => {
      await knownVault(request);
      return ok({ value: [] });
    },
  }),
];

async function knownVault({ service, params }: VaultRequest) {
  return await getVault(service.catalogue.read, vaultOf(params));
}

function checkStorage(properties: z.infer<typeof STORAGE>['properties']): void {
  const { storageModelType, storageType, crossRegionRestoreFlag, dedupState, xcoolState } =
    properties;
  for (const type of [storageModelType, storageType]) refuseOtherRedundancy(type ?? undefined);
  refuseUnsupported(crossRegionRestoreFlag === true, 'Cross-region restore is');
  for (const state of [dedupState, xcoolState]) {
    refuseUnsupported(state != null && state !== 'Disabled', 'dedupState and xcoolState are');
  }
}

async function storageConfig(request: VaultRequest & Site) {
  const vault = await knownVault(request);
  return {
    id: `${vaultId(request, vault)}/backupstorageconfig/vaultstorageconfig`,
    name: 'vaultstorageconfig',
    type: 'Microsoft.RecoveryServices/vaults/backupstorageconfig',
    properties: {
      storageModelType: 'LocallyRedundant',
      storageType: 'LocallyRedundant',
      storageTypeState: 'Locked',
      crossRegionRestoreFlag: false,
      dedupState: 'Disabled',
      xcoolState: 'Disabled',
    },
  };
}
