/** Holdfast.Backup/storageAccounts: which folder a storage account is, how loaded it is, and which a restore takes (M38). */
import assert from 'node:assert/strict';
import { z } from 'zod';
import {
  accountLoads,
  adviseAccount,
  getStorageAccount,
  putStorageAccount,
  removeStorageAccount,
  type AccountLoad,
} from '#service';
import { listAnswer } from '../frame/paging.ts';
import { GROUP, ok, route, type Site } from '../frame/route.ts';
import { ANSWERED, DISK_LUNS, requireLocation } from '../frame/wire.ts';
import { parseResourceId, resourceId, STORAGE_ACCOUNT_TYPE } from '../ids.ts';
import { itemAt } from '../items/item-names.ts';
import { OWN_POINT } from './own-vault.ts';

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
    load: z.unknown().optional(),
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
    load: z.object({
      /** Restore jobs that have not ended: they run, or wait. */
      restores: z.int(),
      /** Restores that run at once; more wait. */
      restoresAtOnce: z.int(),
      /** Instant boots that have not ended. */
      boots: z.int(),
      /** Null: the folder cannot be used. */
      freeBytes: z.int().nullable(),
    }),
  }),
});

const WANTED = z.strictObject({
  properties: z.strictObject({
    /** Absent: one is chosen. */
    storageAccountId: z.string().min(1).max(4096).nullish(),
    /** Absent: all disks. The system disk is always with them. */
    restoreDiskLunList: DISK_LUNS.nullish(),
  }),
});

const ADVICE = z.object({
  storageAccountId: z.string(),
  /** Restores that run or wait there. */
  restores: z.int(),
  /** Null: no restore is there. */
  warning: z.string().nullable(),
  /** Where the account is loaded: one that is idle and has room. Null: there is none. */
  idleStorageAccountId: z.string().nullable(),
});

export const storageAccountRegistrationRoutes = [
  route({
    method: 'GET',
    path: ACCOUNTS,
    summary: 'Lists the storage accounts of a resource group with their folders',
    answer: z.object({ value: z.array(ANSWER), nextLink: z.string().optional() }),
    handle: async (request) => {
      const { service, params } = request;
      const loads = await accountLoads(service, params.group);
      return listAnswer(
        request,
        loads.map((load) => toWire(request, load)),
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
      const { group } = await getStorageAccount(service.catalogue.read, name);
      return ok(await shown(request, { group, name: name.name }));
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
      return ok(await shown(request, account));
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
  route({
    method: 'POST',
    path: `${OWN_POINT}/adviseStorageAccount`,
    summary: 'Says which storage account a restore is to go to, and what it meets there',
    body: WANTED,
    answer: ADVICE,
    handle: async (request) => {
      const { service, params, body } = request;
      const { storageAccountId: id, restoreDiskLunList: luns } = body.properties;
      const idOf = (account: StorageAccountName) =>
        resourceId(request, { ...account, type: STORAGE_ACCOUNT_TYPE });
      const at = { type: STORAGE_ACCOUNT_TYPE, field: 'storageAccountId' };
      const advice = await adviseAccount(service, itemAt(params), {
        point: params.point,
        ...(id == null ? {} : { account: parseResourceId(request, { id, ...at }) }),
        ...(luns == null ? {} : { luns }),
      });
      const { account, restores, warning = null, idle } = advice;
      return ok({
        storageAccountId: idOf(account),
        restores,
        warning,
        idleStorageAccountId: idle === undefined ? null : idOf(idle),
      });
    },
  }),
];

type StorageAccountName = { readonly group: string; readonly name: string };

async function shown(site: Site, { group, name }: StorageAccountName) {
  const loads = await accountLoads(site.service, group);
  const load = loads.find(({ account }) => account.name.toLowerCase() === name.toLowerCase());
  assert(load !== undefined);
  return toWire(site, load);
}

function toWire(site: Site, { account, ...load }: AccountLoad) {
  const { group, name, location, path, restoresAtOnce } = account;
  const { restores, atOnce, boots, freeBytes = null } = load;
  return {
    id: resourceId(site, { group, type: TYPE, name }),
    name,
    type: TYPE,
    location,
    properties: {
      path,
      restoresAtOnce: restoresAtOnce ?? null,
      storageAccountId: resourceId(site, { group, type: STORAGE_ACCOUNT_TYPE, name }),
      load: { restores, restoresAtOnce: atOnce, boots, freeBytes },
    },
  };
}
