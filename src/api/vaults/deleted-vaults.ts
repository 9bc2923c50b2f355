/** Microsoft.RecoveryServices/locations/deletedVaults: soft-deleted vaults (R60). */
import { z } from 'zod';
import { getDeletedVault, listDeletedVaults, undeleteVault, type DeletedVault } from '#service';
import { listAnswer } from '../frame/paging.ts';
import { ok, route, SUBSCRIPTION, type Site } from '../frame/route.ts';
import { requireLocation } from '../frame/wire.ts';
import { parseGroupId, subscriptionId, vaultId } from '../ids.ts';

const DELETED =
  `${SUBSCRIPTION}/providers/Microsoft.RecoveryServices/locations/{location}/deletedVaults` as const;

const UNDELETE = z.strictObject({
  properties: z.strictObject({ recoveryResourceGroupId: z.string() }),
});

export const deletedVaultRoutes = [
  route({
    method: 'GET',
    path: DELETED,
    summary: 'Lists the soft-deleted vaults',
    handle: async (request) => {
      const { location } = request.params;
      requireLocation(location);
      const vaults = await listDeletedVaults(request.service.catalogue.read);
      return listAnswer(
        request,
        vaults.map((vault) => deletedVaultToWire(request, location, vault)),
      );
    },
  }),
  route({
    method: 'GET',
    path: `${DELETED}/{vault}`,
    summary: 'Shows a soft-deleted vault',
    handle: async (request) => {
      const { location, vault } = request.params;
      requireLocation(location);
      const found = await getDeletedVault(request.service.catalogue.read, vault);
      return ok(deletedVaultToWire(request, location, found));
    },
  }),
  route({
    method: 'POST',
    path: `${DELETED}/{vault}/undelete`,
    summary: 'Brings a soft-deleted vault back',
    body: UNDELETE,
    handle: async (request) => {
      const { service, params, body } = request;
      requireLocation(params.location);
      const { recoveryResourceGroupId: id } = body.properties;
      const group = parseGroupId(request, { id, field: 'properties.recoveryResourceGroupId' });
      await undeleteVault(service, { id: params.vault, group });
      return { status: 200 };
    },
  }),
];

/** Its name is the id of the vault: several may have been of one name. */
function deletedVaultToWire(site: Site, location: string, vault: DeletedVault) {
  const { id: name, deletedAt, purgeAt } = vault;
  const type = 'Microsoft.RecoveryServices/locations/deletedVaults';
  return {
    id: `${subscriptionId(site)}/providers/Microsoft.RecoveryServices/locations/${location}/deletedVaults/${name}`,
    name,
    type,
    properties: {
      vaultId: vaultId(site, vault),
      vaultDeletionTime: new Date(deletedAt).toISOString(),
      purgeAt: new Date(purgeAt).toISOString(),
    },
  };
}
