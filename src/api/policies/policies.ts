/** Microsoft.RecoveryServices/vaults/backupPolicies */
import { isHoldfastError } from '#base';
import {
  deletePolicy,
  getPolicy,
  listPolicies,
  putPolicy,
  type VaultName,
  type VaultPolicy,
} from '#service';
import { operationOf, resultAnswer, statusAnswer } from '../frame/async-answer.ts';
import { entityTag, requireNew, requireThere, wantedRevision } from '../frame/conditions.ts';
import { parseFilter } from '../frame/filter.ts';
import { listAnswer } from '../frame/paging.ts';
import { ok, route, VAULT, vaultOf, type Site } from '../frame/route.ts';
import { vaultId } from '../ids.ts';
import { policyFromWire } from './policy-from-wire.ts';
import { policyToWire } from './policy-to-wire.ts';
import { POLICY_PUT } from './policy-wire.ts';

const PATH = `${VAULT}/backupPolicies/{policy}` as const;
const FILTER_KEYS = ['backupManagementType', 'workloadType'];

export const policyRoutes = [
  route({
    method: 'GET',
    path: `${VAULT}/backupPolicies`,
    summary: 'Lists the policies of a vault',
    handle: async (request) => {
      const vault = vaultOf(request.params);
      const filter = parseFilter(request.query.get('$filter'), FILTER_KEYS);
      const policies = await listPolicies(request.service.catalogue.read, vault);
      // All are for VMs.
      const isForVms =
        (filter.get('backupManagementType') ?? 'AzureIaasVM').toLowerCase() === 'azureiaasvm' &&
        (filter.get('workloadType') ?? 'VM').toLowerCase() === 'vm';
      const chosen = isForVms ? policies : [];
      return listAnswer(
        request,
        chosen.map((policy) => toWire(request, vault, policy)),
      );
    },
  }),
  route({
    method: 'GET',
    path: PATH,
    summary: 'Shows a policy',
    handle: async (request) => {
      const vault = vaultOf(request.params);
      const at = { vault, name: request.params.policy };
      const policy = await getPolicy(request.service.catalogue.read, at);
      return ok(toWire(request, vault, policy), { ETag: entityTag(policy.revision) });
    },
  }),
  route({
    method: 'PUT',
    path: PATH,
    summary: 'Creates a policy, or changes it with all its items',
    body: POLICY_PUT,
    handle: async (request) => {
      const { service, params, body, headers } = request;
      const vault = vaultOf(params);
      const at = { vault, name: params.policy };
      if (headers['if-match'] !== undefined || headers['if-none-match'] !== undefined) {
        const isThere = await isPolicyThere(request, at);
        requireNew(headers, isThere);
        requireThere(headers, isThere);
      }
      const draft = policyFromWire(body.properties);
      const policy = await putPolicy(service, at, { draft, revision: wantedRevision(headers) });
      return ok(toWire(request, vault, policy), { ETag: entityTag(policy.revision) });
    },
  }),
  route({
    method: 'DELETE',
    path: PATH,
    summary: 'Deletes a policy that no item uses',
    handle: async ({ service, params }) => {
      const wasThere = await deletePolicy(service, { vault: vaultOf(params), name: params.policy });
      return { status: wasThere ? 200 : 204 };
    },
  }),
  route({
    method: 'GET',
    path: `${PATH}/operations/{operation}`,
    summary: 'Tells how a change of a policy went',
    handle: async (request) => statusAnswer(await operationOf(request)),
  }),
  route({
    method: 'GET',
    path: `${PATH}/operationResults/{operation}`,
    summary: 'Tells what came of a change of a policy',
    handle: async (request) => {
      const vault = vaultOf(request.params);
      const at = { vault, name: request.params.policy };
      return await resultAnswer(request, await operationOf(request), async () =>
        toWire(request, vault, await getPolicy(request.service.catalogue.read, at)),
      );
    },
  }),
];

async function isPolicyThere(
  { service }: Site,
  at: { readonly vault: VaultName; readonly name: string },
): Promise<boolean> {
  try {
    await getPolicy(service.catalogue.read, at);
    return true;
  } catch (error) {
    if (isHoldfastError(error, 'BMSUserErrorPolicyNotFound')) return false;
    throw error;
  }
}

function toWire(site: Site, vault: VaultName, { name, policy, itemCount, revision }: VaultPolicy) {
  return {
    id: `${vaultId(site, vault)}/backupPolicies/${name}`,
    name,
    type: 'Microsoft.RecoveryServices/vaults/backupPolicies',
    eTag: entityTag(revision),
    properties: policyToWire(policy, itemCount),
  };
}
