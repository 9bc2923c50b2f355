/** Microsoft.RecoveryServices/vaults */
import { isHoldfastError } from '#base';
import { createVault, deleteVault, getVault, listVaults, updateVault, type Vault } from '#service';
import { operationOf, resultAnswer, statusAnswer } from '../frame/async-answer.ts';
import { entityTag, requireNew, requireThere, wantedRevision } from '../frame/conditions.ts';
import { listAnswer } from '../frame/paging.ts';
import { GROUP, ok, route, SUBSCRIPTION, VAULT, vaultOf, type Site } from '../frame/route.ts';
import { requireLocation } from '../frame/wire.ts';
import { settingsFromWire, VAULT_PATCH, VAULT_PUT, vaultToWire } from './vault-wire.ts';

const VAULTS = 'providers/Microsoft.RecoveryServices/vaults';

export const vaultRoutes = [
  route({
    method: 'GET',
    path: `${SUBSCRIPTION}/${VAULTS}`,
    summary: 'Lists the vaults',
    handle: async (request) => {
      const vaults = await listVaults(request.service.catalogue.read);
      return listAnswer(
        request,
        vaults.map((vault) => vaultToWire(request, vault)),
      );
    },
  }),
  route({
    method: 'GET',
    path: `${GROUP}/${VAULTS}`,
    summary: 'Lists the vaults of a resource group',
    handle: async (request) => {
      const vaults = await listVaults(request.service.catalogue.read, request.params.group);
      return listAnswer(
        request,
        vaults.map((vault) => vaultToWire(request, vault)),
      );
    },
  }),
  route({
    method: 'GET',
    path: VAULT,
    summary: 'Shows a vault',
    handle: async (request) => {
      const vault = await getVault(request.service.catalogue.read, vaultOf(request.params));
      return ok(vaultToWire(request, vault), { ETag: entityTag(vault.revision) });
    },
  }),
  route({
    method: 'PUT',
    path: VAULT,
    summary: 'Creates a vault, or changes it',
    body: VAULT_PUT,
    handle: async (request) => {
      const { service, params, body, headers } = request;
      requireLocation(body.location);
      const settings = settingsFromWire(body);
      const name = vaultOf(params);
      const before = await findVault(request, name);
      requireNew(headers, before !== undefined);
      requireThere(headers, before !== undefined);
      const tags = body.tags ?? {};
      const wanted = { tags, settings, revision: wantedRevision(headers) };
      const vault =
        before === undefined
          ? await createVault(service, { ...name, tags, settings })
          : await updateVault(service, name, wanted);
      const answer = ok(vaultToWire(request, vault), { ETag: entityTag(vault.revision) });
      return before === undefined ? { ...answer, status: 201 } : answer;
    },
  }),
  route({
    method: 'PATCH',
    path: VAULT,
    summary: 'Changes a vault',
    body: VAULT_PATCH,
    handle: async (request) => {
      const { service, params, body, headers } = request;
      requireLocation(body.location);
      const vault = await updateVault(service, vaultOf(params), {
        tags: body.tags ?? undefined,
        settings: settingsFromWire(body),
        revision: wantedRevision(headers),
      });
      return ok(vaultToWire(request, vault), { ETag: entityTag(vault.revision) });
    },
  }),
  route({
    method: 'DELETE',
    path: VAULT,
    summary: 'Deletes a vault whose VMs have no points that are not soft-deleted',
    handle: async (request) => {
      const name = vaultOf(request.params);
      if ((await findVault(request, name)) === undefined) return { status: 204 };
      await deleteVault(request.service, name);
      return { status: 200 };
    },
  }),
  route({
    method: 'GET',
    path: `${VAULT}/operationStatus/{operation}`,
    summary: 'Tells how an operation went',
    handle: async (request) => statusAnswer(await operationOf(request)),
  }),
  route({
    method: 'GET',
    path: `${VAULT}/backupOperations/{operation}`,
    summary: 'Tells how an operation of backup went',
    handle: async (request) => statusAnswer(await operationOf(request)),
  }),
  route({
    method: 'GET',
    path: `${VAULT}/operationResults/{operation}`,
    summary: 'Tells what came of an operation',
    handle: async (request) => await resultAnswer(request, await operationOf(request)),
  }),
  route({
    method: 'GET',
    path: `${VAULT}/backupOperationResults/{operation}`,
    summary: 'Tells what came of an operation of backup',
    handle: async (request) => await resultAnswer(request, await operationOf(request)),
  }),
];

async function findVault(
  { service }: Site,
  name: { readonly group: string; readonly name: string },
): Promise<Vault | undefined> {
  try {
    return await getVault(service.catalogue.read, name);
  } catch (error) {
    if (isHoldfastError(error, 'ResourceNotFound')) return undefined;
    throw error;
  }
}
