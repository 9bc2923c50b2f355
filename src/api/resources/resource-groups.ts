/** Microsoft.Resources/resourceGroups, and what lies in them. */
import { z } from 'zod';
import { isHoldfastError } from '#base';
import {
  deleteResourceGroup,
  getResourceGroup,
  listResourceGroups,
  listStorageAccounts,
  listVaults,
  listVms,
  putResourceGroup,
  type ResourceGroup,
} from '#service';
import { parseFilter } from '../frame/filter.ts';
import { listAnswer } from '../frame/paging.ts';
import { GROUP, ok, route, SUBSCRIPTION, type Site } from '../frame/route.ts';
import { ANSWERED, LOCATION, requireLocation, TAGS } from '../frame/wire.ts';
import { groupId, resourceId, STORAGE_ACCOUNT_TYPE, VAULT_TYPE, VM_TYPE } from '../ids.ts';

const COMMON = {
  ...ANSWERED,
  tags: TAGS,
  properties: z.looseObject({}).optional(),
  managedBy: z.null().optional(),
};
const PUT = z.strictObject({ ...COMMON, location: z.string() });
const PATCH = z.strictObject(COMMON);

export const resourceGroupRoutes = [
  route({
    method: 'GET',
    path: `${SUBSCRIPTION}/resourceGroups`,
    summary: 'Lists the resource groups',
    handle: async (request) => {
      const groups = await listResourceGroups(request.service.catalogue.read);
      return listAnswer(
        request,
        groups.map((group) => toWire(request, group)),
      );
    },
  }),
  route({
    method: 'GET',
    path: GROUP,
    summary: 'Shows a resource group',
    handle: async (request) => {
      const { catalogue } = request.service;
      return ok(toWire(request, await getResourceGroup(catalogue.read, request.params.group)));
    },
  }),
  route({
    method: 'HEAD',
    path: GROUP,
    summary: 'Tells whether a resource group is there',
    handle: async ({ service, params }) => {
      try {
        await getResourceGroup(service.catalogue.read, params.group);
        return { status: 204 };
      } catch (error) {
        if (isHoldfastError(error, 'ResourceGroupNotFound')) return { status: 404 };
        throw error;
      }
    },
  }),
  route({
    method: 'PUT',
    path: GROUP,
    summary: 'Creates a resource group, or changes it',
    body: PUT,
    handle: async (request) => {
      const { service, params, body } = request;
      requireLocation(body.location);
      const wanted = { name: params.group, location: LOCATION, tags: body.tags ?? {} };
      const { group, isNew } = await putResourceGroup(service, wanted);
      return { ...ok(toWire(request, group)), status: isNew ? 201 : 200 };
    },
  }),
  route({
    method: 'PATCH',
    path: GROUP,
    summary: 'Changes the tags of a resource group',
    body: PATCH,
    handle: async (request) => {
      const { service, params, body } = request;
      const before = await getResourceGroup(service.catalogue.read, params.group);
      const wanted = { ...before, tags: body.tags ?? before.tags };
      const { group } = await putResourceGroup(service, wanted);
      return ok(toWire(request, group));
    },
  }),
  route({
    method: 'DELETE',
    path: GROUP,
    summary: 'Deletes an empty resource group',
    handle: async ({ service, params }) => {
      await deleteResourceGroup(service, params.group);
      return { status: 200 };
    },
  }),
  route({
    method: 'GET',
    path: `${SUBSCRIPTION}/resources`,
    summary: 'Lists all resources',
    handle: async (request) => {
      const filter = parseFilter(request.query.get('$filter'), ['resourceType', 'name']);
      return listAnswer(request, chosen(await resourcesOf(request), filter));
    },
  }),
  route({
    method: 'GET',
    path: `${GROUP}/resources`,
    summary: 'Lists the resources of a resource group',
    handle: async (request) => {
      const filter = parseFilter(request.query.get('$filter'), ['resourceType', 'name']);
      return listAnswer(request, chosen(await resourcesOf(request, request.params.group), filter));
    },
  }),
];

function toWire(site: Site, { name, location, tags }: ResourceGroup) {
  const type = 'Microsoft.Resources/resourceGroups';
  const properties = { provisioningState: 'Succeeded' };
  return { id: groupId(site, name), name, type, location, tags, properties };
}

type Resource = { readonly id: string; readonly name: string; readonly type: string };

async function resourcesOf(site: Site, group?: string): Promise<readonly Resource[]> {
  const { read } = site.service.catalogue;
  const kinds = [
    { type: VM_TYPE, found: await listVms(read, group) },
    { type: VAULT_TYPE, found: await listVaults(read, group) },
    { type: STORAGE_ACCOUNT_TYPE, found: await listStorageAccounts(read, group) },
  ];
  return kinds.flatMap(({ type, found }) =>
    found.map(({ group: itsGroup, name }) => {
      const id = resourceId(site, { group: itsGroup, type, name });
      return { id, name, type, location: LOCATION };
    }),
  );
}

function chosen(
  resources: readonly Resource[],
  filter: ReturnType<typeof parseFilter>,
): readonly Resource[] {
  const isWanted = (value: string, wanted: string | undefined): boolean =>
    wanted === undefined || value.toLowerCase() === wanted.toLowerCase();
  const [type, name] = [filter.get('resourceType'), filter.get('name')];
  return resources.filter((one) => isWanted(one.type, type) && isWanted(one.name, name));
}
