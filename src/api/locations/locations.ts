/** Microsoft.RecoveryServices/locations: what may be asked about a VM before it is protected. */
import { z } from 'zod';
import { isHoldfastError } from '#base';
import {
  checkProtection,
  getVm,
  listItemsOfVm,
  listPolicies,
  listVaults,
  type Item,
} from '#service';
import { ok, route, SUBSCRIPTION, type Site } from '../frame/route.ts';
import { refuseUnsupported, requireLocation } from '../frame/wire.ts';
import { parseResourceId, vaultId, VAULT_TYPE, VM_TYPE } from '../ids.ts';
import { containerName, itemName, type VmName } from '../items/item-names.ts';
import { recommendationsFor } from '../jobs/error-numbers.ts';

const LOCATION =
  `${SUBSCRIPTION}/providers/Microsoft.RecoveryServices/locations/{location}` as const;

const STATUS = z.strictObject({
  resourceType: z.string(),
  resourceId: z.string(),
  poLogicalName: z.string().nullish(),
});
const PRE_VALIDATE = z.strictObject({
  resourceType: z.string(),
  resourceId: z.string(),
  vaultId: z.string(),
  properties: z.string().nullish(),
});
const FEATURE = z.strictObject({
  featureType: z.enum(['AzureVMResourceBackup', 'AzureBackupGoals']),
  vmSize: z.string().nullish(),
  vmSku: z.string().nullish(),
});

export const locationRoutes = [
  route({
    method: 'POST',
    path: `${LOCATION}/backupStatus`,
    summary: 'Tells which vault protects a VM',
    body: STATUS,
    handle: async (request) => {
      requireLocation(request.params.location);
      return ok(await protectionStatus(request, vmOf(request, request.body)));
    },
  }),
  route({
    method: 'POST',
    path: `${LOCATION}/backupPreValidateProtection`,
    summary: 'Tells whether a vault could protect a VM',
    body: PRE_VALIDATE,
    handle: async (request) => {
      const { params, body, service } = request;
      requireLocation(params.location);
      const vm = vmOf(request, body);
      const of = { id: body.vaultId, type: VAULT_TYPE, field: 'vaultId' };
      const vault = parseResourceId(request, of);
      const names = { containerName: containerName(vm), protectedItemName: itemName(vm) };
      try {
        await checkProtection(service, { vault, vm });
        const nothing = { errorCode: '', errorMessage: '', recommendation: '' };
        return ok({ status: 'Succeeded', ...nothing, ...names });
      } catch (error) {
        if (!isHoldfastError(error)) throw error;
        const { code: errorCode, message: errorMessage } = error;
        const recommendation = recommendationsFor(errorCode).join(' ');
        return ok({ status: 'Failed', errorCode, errorMessage, recommendation, ...names });
      }
    },
  }),
  route({
    method: 'POST',
    path: `${LOCATION}/backupValidateFeatures`,
    summary: 'Tells whether a kind of VM can be protected',
    body: FEATURE,
    handle: async ({ params, body }) => {
      requireLocation(params.location);
      const isForVms = body.featureType === 'AzureVMResourceBackup';
      return ok({ supportStatus: isForVms ? 'Supported' : 'NotSupported' });
    },
  }),
];

function vmOf(
  site: Site,
  { resourceType, resourceId }: { readonly resourceType: string; readonly resourceId: string },
): VmName {
  const isVm = resourceType.toLowerCase() === 'vm';
  refuseUnsupported(!isVm, `The resourceType '${resourceType.slice(0, 60)}' is`);
  return parseResourceId(site, { id: resourceId, type: VM_TYPE, field: 'resourceId' });
}

/** @throws {HoldfastError} `ResourceNotFound` for a VM that is neither there nor in a vault. */
async function protectionStatus(site: Site, vm: VmName) {
  const { read } = site.service.catalogue;
  const items = (await listItemsOfVm(read, vm)).filter(({ state }) => state !== 'SoftDeleted');
  const item = items.toSorted((a, b) => rank(a) - rank(b))[0];
  if (item === undefined) {
    await getVm(read, vm);
    return {
      protectionStatus: 'NotProtected',
      vaultId: '',
      fabricName: 'Invalid',
      containerName: '',
      protectedItemName: '',
      errorCode: 'Success',
      errorMessage: '',
      policyName: '',
      registrationStatus: '',
      protectedItemsCount: 0,
    };
  }
  const vault = (await listVaults(read)).find(({ id }) => id === item.vaultId)!;
  const policies = await listPolicies(read, vault);
  return {
    protectionStatus: 'Protected',
    vaultId: vaultId(site, vault),
    fabricName: 'Azure',
    containerName: containerName(vm),
    protectedItemName: itemName(vm),
    errorCode: 'Success',
    errorMessage: '',
    policyName: policies.find(({ id }) => id === item.policyId)?.name ?? '',
    registrationStatus: 'Registered',
    protectedItemsCount: 1,
  };
}

/** The vault that backs the VM up before those that only keep its points. */
function rank({ state }: Item): number {
  return state === 'Protected' || state === 'IRPending' ? 0 : 1;
}
