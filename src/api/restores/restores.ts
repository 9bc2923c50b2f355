/** Microsoft.RecoveryServices: restores, and whether one would be accepted. */
import { z } from 'zod';
import { isHoldfastError } from '#base';
import {
  addOperation,
  checkRestore,
  getItem,
  getPoint,
  getVault,
  startRestore,
  type ItemName,
  type Operation,
  type VaultName,
} from '#service';
import { acceptedAnswer, operationOf, resultAnswer, statusJson } from '../frame/async-answer.ts';
import { Refusal } from '../frame/refusal.ts';
import { ok, route, VAULT, vaultOf, type Site } from '../frame/route.ts';
import { parseResourceId, vaultId, VM_TYPE } from '../ids.ts';
import { accepted } from '../items/accepted.ts';
import { ITEM, itemAt } from '../items/item-names.ts';
import { recommendationsFor } from '../jobs/error-numbers.ts';
import { RESTORE, RESTORE_PROPERTIES, restoreRequest } from './restore-request.ts';

const VALIDATION = z.strictObject({
  objectType: z.enum(['ValidateIaasVMRestoreOperationRequest', 'ValidateRestoreOperationRequest']),
  restoreRequest: RESTORE_PROPERTIES,
});
/** Newer clients wrap it as a resource. */
const VALIDATE = z.union([VALIDATION, z.looseObject({ properties: VALIDATION })]);

const VALIDATE_KIND = 'ValidateRestore';
const FAULTS = z.array(
  z.strictObject({ code: z.string(), message: z.string(), recommendations: z.array(z.string()) }),
);
type Fault = z.infer<typeof FAULTS>[number];

export const restoreRoutes = [
  route({
    method: 'POST',
    path: `${ITEM}/recoveryPoints/{point}/restore`,
    summary: 'Restores a recovery point: its disks, a new VM, or the VM that is there',
    body: RESTORE,
    handle: async (request) => {
      const { service, params, body } = request;
      const name = itemAt(params);
      // What is not there is told before what is wrong with the request for it.
      const item = await getItem(service.catalogue.read, name);
      await getPoint(service.catalogue.read, item.id, params.point);
      const { properties } = body;
      const wanted = await restoreRequest(request, { name, point: params.point, properties });
      const { jobId } = await startRestore(service, name, wanted);
      return await accepted(request, { name, kind: 'Restore', jobId });
    },
  }),
  route({
    method: 'POST',
    path: `${VAULT}/backupValidateOperation`,
    summary: 'Tells whether a restore would be accepted',
    body: VALIDATE,
    handle: async (request) => {
      const faults = await faultsOf(request, vaultOf(request.params), restoreOf(request.body));
      return ok({ validateOperationResponse: { validationResults: faults } });
    },
  }),
  route({
    method: 'POST',
    path: `${VAULT}/backupTriggerValidateOperation`,
    summary: 'Finds out whether a restore would be accepted',
    body: VALIDATE,
    handle: async (request) => {
      const { service, params, body } = request;
      const vault = await getVault(service.catalogue.read, vaultOf(params));
      const faults = await faultsOf(request, vault, restoreOf(body));
      const target = JSON.stringify(faults);
      const operation = { vaultId: vault.id, kind: VALIDATE_KIND, target };
      const id = await service.catalogue.change(async (change) =>
        addOperation(service, change, operation),
      );
      const at = vaultId(request, vault);
      return acceptedAnswer(request, {
        status: `${at}/backupValidateOperationsStatuses/${id}`,
        result: `${at}/backupValidateOperationResults/${id}`,
      });
    },
  }),
  route({
    method: 'GET',
    path: `${VAULT}/backupValidateOperationsStatuses/{operation}`,
    summary: 'Tells how the validation of a restore went',
    handle: async (request) => {
      const operation = await operationOf(request);
      const objectType = 'OperationStatusValidateOperationExtendedInfo';
      const properties = { objectType, ...validationOf(operation) };
      return ok({ ...statusJson(operation), properties });
    },
  }),
  route({
    method: 'GET',
    path: `${VAULT}/backupValidateOperationResults/{operation}`,
    summary: 'Tells what came of the validation of a restore',
    handle: async (request) => {
      const operation = await operationOf(request);
      return await resultAnswer(request, operation, async () => validationOf(operation));
    },
  }),
];

function restoreOf(body: z.infer<typeof VALIDATE>): z.infer<typeof RESTORE_PROPERTIES> {
  return (
    VALIDATION.safeParse(body).data ??
    (body as { properties: z.infer<typeof VALIDATION> }).properties
  ).restoreRequest;
}

function validationOf({ kind, target }: Operation) {
  const validationResults = kind === VALIDATE_KIND ? FAULTS.parse(JSON.parse(target)) : [];
  return { validateOperationResponse: { validationResults } };
}

/** Empty: it would be accepted. The item is told by the VM that the request names. */
async function faultsOf(
  site: Site,
  vault: VaultName,
  properties: z.infer<typeof RESTORE_PROPERTIES>,
): Promise<readonly Fault[]> {
  await getVault(site.service.catalogue.read, vault);
  try {
    const name = itemOf(site, vault, properties);
    const point = properties.recoveryPointId?.split('/').at(-1) ?? '';
    await checkRestore(site.service, name, await restoreRequest(site, { name, point, properties }));
    return [];
  } catch (error) {
    if (!(error instanceof Refusal) && !isHoldfastError(error)) throw error;
    const { code, message } = error;
    return [{ code, message, recommendations: [...recommendationsFor(code)] }];
  }
}

function itemOf(
  site: Site,
  vault: VaultName,
  { sourceResourceId }: z.infer<typeof RESTORE_PROPERTIES>,
): ItemName {
  const field = 'sourceResourceId';
  const vm = parseResourceId(site, { id: sourceResourceId ?? '', type: VM_TYPE, field });
  return { vault, vm };
}
