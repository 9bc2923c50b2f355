/** Microsoft.Storage/storageAccounts: folders that disks are restored to. Classic ones there are none. */
import { HoldfastError } from '#base';
import { getStorageAccount, listStorageAccounts, type StorageAccount } from '#service';
import { listAnswer } from '../frame/paging.ts';
import { GROUP, ok, route, SUBSCRIPTION, type Site } from '../frame/route.ts';
import { resourceId, STORAGE_ACCOUNT_TYPE } from '../ids.ts';

const ACCOUNTS = 'providers/Microsoft.Storage/storageAccounts';

export const storageAccountRoutes = [
  route({
    method: 'GET',
    path: `${SUBSCRIPTION}/${ACCOUNTS}`,
    summary: 'Lists the storage accounts',
    handle: async (request) => {
      const accounts = await listStorageAccounts(request.service.catalogue.read);
      return listAnswer(
        request,
        accounts.map((account) => toWire(request, account)),
      );
    },
  }),
  route({
    method: 'GET',
    path: `${GROUP}/${ACCOUNTS}`,
    summary: 'Lists the storage accounts of a resource group',
    handle: async (request) => {
      const { service, params } = request;
      const accounts = await listStorageAccounts(service.catalogue.read, params.group);
      return listAnswer(
        request,
        accounts.map((account) => toWire(request, account)),
      );
    },
  }),
  route({
    method: 'GET',
    path: `${GROUP}/${ACCOUNTS}/{account}`,
    summary: 'Shows a storage account',
    handle: async (request) => {
      const { service, params } = request;
      const name = { group: params.group, name: params.account };
      return ok(toWire(request, await getStorageAccount(service.catalogue.read, name)));
    },
  }),
  route({
    method: 'GET',
    path: `${GROUP}/providers/Microsoft.ClassicStorage/storageAccounts/{account}`,
    summary: 'Tells az that a storage account is no classic one',
    handle: async ({ params: { group, account: name } }) => {
      const type = 'Microsoft.ClassicStorage/storageAccounts';
      throw new HoldfastError(
        'ResourceNotFound',
        `There is no classic storage account '${name}'.`,
        {
          details: { type, name, group },
        },
      );
    },
  }),
];

function toWire(site: Site, { group, name, location, path }: StorageAccount) {
  return {
    id: resourceId(site, { group, type: STORAGE_ACCOUNT_TYPE, name }),
    name,
    type: STORAGE_ACCOUNT_TYPE,
    location,
    tags: {},
    kind: 'StorageV2',
    sku: { name: 'Standard_LRS', tier: 'Standard' },
    properties: {
      provisioningState: 'Succeeded',
      primaryLocation: location,
      statusOfPrimary: 'available',
      primaryEndpoints: { file: new URL(`file://${encodeURI(path)}/`).href },
    },
  };
}
