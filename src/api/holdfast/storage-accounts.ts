/** Holdfast.Backup/storageAccounts: which folder a storage account is. */
import { z } from 'zod';
import {
  getStorageAccount,
  listStorageAccounts,
  putStorageAccount,
  removeStorageAccount,
  type StorageAccount,
} from '#service';
import { listAnswer } from '../frame/paging.ts';
import { GROUP, ok, route, type Site } from '../frame/route.ts';
import { ANSWERED, requireLocation } from '../frame/wire.ts';
import { resourceId, STORAGE_ACCOUNT_TYPE } from '../ids.ts';

const TYPE = 'Holdfast.Backup/storageAccounts';
const ACCOUNTS = `${GROUP}/providers/${TYPE}` as const;
const ACCOUNT = `${ACCOUNTS}/{account}` as const;

const BODY = z.strictObject({
  ...ANSWERED,
  location: z.string().optional(),
  properties: z.strictObject({
    /** An absolute path of this machine; the folder is made. */
    path: z.string().min(1).max(4096),
    /** Absent: the service's limit. */
    restoresAtOnce: z.int().min(1).max(1000).nullish(),
    storageAccountId: z.unknown().optional(),
  }),
});

const ANSWER = z.object({
  id: z.string(),
  name: z.string(),
  type: z.literal(TYPE),
  location: z.string(),
  properties: z.object({
    path: z.string(),
    restoresAtOnce: z.int().nullable(),
    /** What Azure's requests call it. */
    storageAccountId: z.string(),
  }),
});

export const storageAccountRegistrationRoutes = [
  route({
    method: 'GET',
    path: ACCOUNTS,
    summary: 'Lists the storage accounts of a resource group with their folders',
    answer: z.object({ value: z.array(ANSWER), nextLink: z.string().optional() }),
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
    path: ACCOUNT,
    summary: 'Shows a storage account with its folder',
    answer: ANSWER,
    handle: async (request) => {
      const { service, params } = request;
      const name = { group: params.group, name: params.account };
      return ok(toWire(request, await getStorageAccount(service.catalogue.read, name)));
    },
  }),
  route({
    method: 'PUT',
    path: ACCOUNT,
    summary: 'Makes a folder a storage account, or changes its limit',
    body: BODY,
    answer: ANSWER,
    handle: async (request) => {
      const { service, params, body } = request;
      requireLocation(body.location);
      const { path, restoresAtOnce } = body.properties;
      const account = await putStorageAccount(service, {
        group: params.group,
        name: params.account,
        path,
        restoresAtOnce: restoresAtOnce ?? undefined,
      });
      return ok(toWire(request, account));
    },
  }),
  route({
    method: 'DELETE',
    path: ACCOUNT,
    summary: 'Forgets a storage account; what is in its folder stays',
    handle: async ({ service, params }) => {
      await removeStorageAccount(service, { group: params.group, name: params.account });
      return { status: 200 };
    },
  }),
];

function toWire(site: Site, { group, name, location, path, restoresAtOnce }: StorageAccount) {
  return {
    id: resourceId(site, { group, type: TYPE, name }),
    name,
    type: TYPE,
    location,
    properties: {
      path,
      restoresAtOnce: restoresAtOnce ?? null,
      storageAccountId: resourceId(site, { group, type: STORAGE_ACCOUNT_TYPE, name }),
    },
  };
}
