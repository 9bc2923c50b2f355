/**
 * Microsoft.Network/virtualNetworks: the networks that VMs of a host are in, for restores to new VMs; and with each
 * host `none`, for one that is plugged in nowhere: clients of Azure cannot ask for a new VM without a network.
 */
import { HoldfastError } from '#base';
import { listHosts, listVms } from '#service';
import { listAnswer } from '../frame/paging.ts';
import { GROUP, ok, route, type Site } from '../frame/route.ts';
import { LOCATION } from '../frame/wire.ts';
import { resourceId } from '../ids.ts';

const TYPE = 'Microsoft.Network/virtualNetworks';
const SUBNET = 'default';
export const NO_NETWORK = 'none';

export const virtualNetworkRoutes = [
  route({
    method: 'GET',
    path: `${GROUP}/providers/${TYPE}`,
    summary: 'Lists the networks of a host',
    handle: async (request) => {
      const { group } = request.params;
      const names = await networksOf(request, group);
      return listAnswer(
        request,
        names.map((name) => toWire(request, { group, name })),
      );
    },
  }),
  route({
    method: 'GET',
    path: `${GROUP}/providers/${TYPE}/{network}`,
    summary: 'Shows a network of a host',
    handle: async (request) => {
      const { group, network } = request.params;
      const wanted = network.toLowerCase();
      const name = (await networksOf(request, group)).find((one) => one.toLowerCase() === wanted);
      if (name !== undefined) return ok(toWire(request, { group, name }));
      throw new HoldfastError(
        'ResourceNotFound',
        `No VM of '${group}' is in a network '${network}'.`,
        {
          details: { type: TYPE, name: network, group },
        },
      );
    },
  }),
];

async function networksOf({ service }: Site, group: string): Promise<readonly string[]> {
  const hosts = await listHosts(service.catalogue.read);
  if (!hosts.some(({ name }) => name.toLowerCase() === group.toLowerCase())) return [];
  const vms = await listVms(service.catalogue.read, group);
  const names = vms.flatMap(({ facts }) => facts.networkCards.map(({ network }) => network));
  const used = names.filter((name) => name !== undefined && name.toLowerCase() !== NO_NETWORK);
  return [...new Set([...used, NO_NETWORK] as readonly string[])].toSorted();
}

function toWire(site: Site, of: { readonly group: string; readonly name: string }) {
  const id = resourceId(site, { ...of, type: TYPE });
  const subnet = { id: `${id}/subnets/${SUBNET}`, name: SUBNET, properties: {} };
  const properties = { provisioningState: 'Succeeded', subnets: [subnet] };
  return { id, name: of.name, type: TYPE, location: LOCATION, properties };
}
