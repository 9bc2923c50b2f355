/** Holdfast.Backup/…/recoveryPoints/…/boot: a VM that runs from a recovery point, and is moved to its own disks. */
import { z } from 'zod';
import { getItem, getPoint, startBoot, type WantedBoot } from '#service';
import { route, type Site } from '../frame/route.ts';
import { DISK_LUNS } from '../frame/wire.ts';
import { parseResourceId, STORAGE_ACCOUNT_TYPE, VM_TYPE } from '../ids.ts';
import { accepted } from '../items/accepted.ts';
import { itemAt } from '../items/item-names.ts';
import { NO_NETWORK } from '../network/virtual-networks.ts';
import { OWN_POINT } from './own-vault.ts';

const NETWORK_TYPE = 'Microsoft.Network/virtualNetworks';
const ID = z.string().min(1).max(4096);

const BODY = z.strictObject({
  properties: z.strictObject({
    /** A VM that is not there yet; its group is the host that runs it. */
    targetVirtualMachineId: ID,
    /** Where its disks lie. */
    storageAccountId: ID,
    /** Absent: plugged in nowhere. */
    virtualNetworkId: ID.nullish(),
    /** Absent: all disks. The system disk is always with them. */
    restoreDiskLunList: DISK_LUNS.nullish(),
    /** Never moved to disks of its own: the VM is discarded when its job is cancelled. */
    isTrial: z.boolean().nullish(),
  }),
});

export const bootRoutes = [
  route({
    method: 'POST',
    path: `${OWN_POINT}/boot`,
    summary:
      'Boots a VM from a recovery point at once: starts a job, which moves it to its own disks',
    body: BODY,
    handle: async (request) => {
      const { service, params, body } = request;
      const name = itemAt(params);
      // What is not there is told before what is wrong with the request for it.
      const item = await getItem(service.catalogue.read, name);
      await getPoint(service.catalogue.read, item.id, params.point);
      const wanted = wantedBoot(request, params.point, body.properties);
      const { jobId } = await startBoot(service, name, wanted);
      return await accepted(request, { name, kind: 'InstantBoot', jobId });
    },
  }),
];

function wantedBoot(
  site: Site,
  point: string,
  properties: z.infer<typeof BODY>['properties'],
): WantedBoot {
  const idOf = (field: keyof typeof properties, type: string) =>
    parseResourceId(site, { id: String(properties[field]), type, field });
  const { group, name } = idOf('targetVirtualMachineId', VM_TYPE);
  const { virtualNetworkId, restoreDiskLunList, isTrial } = properties;
  const network =
    virtualNetworkId == null ? NO_NETWORK : idOf('virtualNetworkId', NETWORK_TYPE).name;
  const isPlugged = network.toLowerCase() !== NO_NETWORK;
  return {
    point,
    account: idOf('storageAccountId', STORAGE_ACCOUNT_TYPE),
    hostKey: group.toLowerCase(),
    vmName: name,
    isTrial: isTrial === true,
    ...(restoreDiskLunList == null ? {} : { luns: restoreDiskLunList }),
    ...(isPlugged ? { network } : {}),
  };
}
