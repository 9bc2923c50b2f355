/** Microsoft.RecoveryServices/…/protectedItems: VMs under protection, and what is done with their protection. */
import { z } from 'zod';
import {
  backUpNow,
  deleteData,
  getItem,
  getVault,
  listItems,
  listPoints,
  listPolicies,
  protect,
  stopByPolicy,
  stopRetaining,
  undelete,
  type Item,
  type ItemName,
} from '#service';
import { isHoldfastError } from '#base';
import { operationOf, resultAnswer, statusAnswer } from '../frame/async-answer.ts';
import { wantedRevision } from '../frame/conditions.ts';
import { parseFilter, type Filter } from '../frame/filter.ts';
import { listAnswer } from '../frame/paging.ts';
import { ok, route, VAULT, vaultOf, type ApiRequest, type Site } from '../frame/route.ts';
import { ANSWERED, parseDateTime } from '../frame/wire.ts';
import { accepted } from './accepted.ts';
import { ITEM, itemAt, MANAGEMENT_TYPE } from './item-names.ts';
import { ITEM_PUT, itemRequest, type ItemRequest } from './item-request.ts';
import { itemToWire, requireItemRevision } from './item-wire.ts';

const FILTER_KEYS = [
  'backupManagementType',
  'itemType',
  'workloadType',
  'policyName',
  'friendlyName',
  'containerName',
  'fabricName',
  'healthState',
  'backupSetName',
  'backupEngineName',
];

const BACKUP = z.strictObject({
  ...ANSWERED,
  location: z.string().nullish(),
  tags: z.unknown().optional(),
  properties: z.strictObject({
    objectType: z.literal('IaasVMBackupRequest'),
    recoveryPointExpiryTimeInUTC: z.string().nullish(),
  }),
});

export const protectedItemRoutes = [
  route({
    method: 'GET',
    path: `${VAULT}/backupProtectedItems`,
    summary: 'Lists the protected items of a vault',
    handle: async (request) => {
      const { query, params } = request;
      const isWanted = itemFilter(parseFilter(query.get('$filter'), FILTER_KEYS));
      const items = await shownItems(request, vaultOf(params));
      return listAnswer(request, items.filter(isWanted));
    },
  }),
  route({
    method: 'GET',
    path: ITEM,
    summary: 'Shows a protected item',
    handle: async (request) => ok(await shownItem(request, itemAt(request.params))),
  }),
  route({
    method: 'PUT',
    path: ITEM,
    summary: 'Protects a VM; changes, stops, resumes or undeletes its protection',
    body: ITEM_PUT,
    handle: async (request) => {
      const name = itemAt(request.params);
      const asked = itemRequest(request, { ...name, properties: request.body.properties });
      const revision = wantedRevision(request.headers);
      if (revision !== undefined) requireItemRevision(await findItem(request, name), revision);
      const { jobId } = await change(request, name, asked);
      return await accepted(request, { name, kind: 'PutItem', jobId });
    },
  }),
  route({
    method: 'DELETE',
    path: ITEM,
    summary: 'Stops the protection of a VM and deletes its data',
    handle: async (request) => {
      const name = itemAt(request.params);
      if ((await findItem(request, name)) === undefined) return { status: 204 };
      const { jobId } = await deleteData(request.service, name);
      return await accepted(request, { name, kind: 'DeleteItem', jobId });
    },
  }),
  route({
    method: 'POST',
    path: `${ITEM}/backup`,
    summary: 'Backs a VM up now',
    body: BACKUP,
    handle: async (request) => {
      const name = itemAt(request.params);
      const expiry = request.body.properties.recoveryPointExpiryTimeInUTC ?? undefined;
      const expiresAt =
        expiry === undefined ? undefined : parseDateTime(expiry, 'recoveryPointExpiryTimeInUTC');
      const { jobId } = await backUpNow(request.service, name, expiresAt);
      return await accepted(request, { name, kind: 'Backup', jobId });
    },
  }),
  route({
    method: 'GET',
    path: `${ITEM}/operationsStatus/{operation}`,
    summary: 'Tells how an operation of a protected item went',
    handle: async (request) => {
      itemAt(request.params);
      return statusAnswer(await operationOf(request));
    },
  }),
  route({
    method: 'GET',
    path: `${ITEM}/operationResults/{operation}`,
    summary: 'Tells what came of an operation of a protected item',
    handle: async (request) => {
      const name = itemAt(request.params);
      const operation = await operationOf(request);
      if (operation.kind === 'DeleteItem') {
        return await resultAnswer(request, operation, async () => undefined);
      }
      if (operation.kind !== 'PutItem') return await resultAnswer(request, operation);
      return await resultAnswer(request, operation, async () => await shownItem(request, name));
    },
  }),
];

async function change(
  { service }: Site,
  name: ItemName,
  asked: ItemRequest,
): Promise<{ readonly jobId: string }> {
  switch (asked.action) {
    case 'undelete':
      return await undelete(service, name);
    case 'stopRetaining':
      return await stopRetaining(service, name);
    case 'stopByPolicy':
      return await stopByPolicy(service, name);
    case 'protect':
      return await protect(service, name, asked.protection);
  }
}

async function findItem({ service }: Site, name: ItemName): Promise<Item | undefined> {
  try {
    return await getItem(service.catalogue.read, name);
  } catch (error) {
    if (isHoldfastError(error, 'BMSUserErrorProtectedItemNotFound')) return undefined;
    throw error;
  }
}

type WireItem = ReturnType<typeof itemToWire>;

async function shownItem(site: ApiRequest<unknown, unknown>, name: ItemName): Promise<WireItem> {
  const { read } = site.service.catalogue;
  const vault = await getVault(read, name.vault);
  const item = await getItem(read, name);
  const points = await listPoints(read, item.id);
  const policies = await listPolicies(read, name.vault);
  const policy = policies.find(({ id }) => id === item.policyId)?.name;
  return itemToWire({ site, vault, item, policy, points });
}

async function shownItems(site: Site, vaultName: ItemName['vault']): Promise<readonly WireItem[]> {
  const { read } = site.service.catalogue;
  const vault = await getVault(read, vaultName);
  const names = new Map((await listPolicies(read, vaultName)).map(({ id, name }) => [id, name]));
  const items = await listItems(read, vaultName);
  return items.map((item) => {
    const policy = item.policyId === undefined ? undefined : names.get(item.policyId);
    return itemToWire({ site, vault, item, policy });
  });
}

/** All items are VMs: a list of anything else is empty. */
function itemFilter(filter: Filter): (item: WireItem) => boolean {
  const isOr = (key: string, value: string): boolean =>
    (filter.get(key) ?? value).toLowerCase() === value.toLowerCase();
  const isForVms =
    isOr('backupManagementType', MANAGEMENT_TYPE) &&
    isOr('itemType', 'VM') &&
    isOr('workloadType', 'VM') &&
    isOr('fabricName', 'Azure') &&
    filter.get('backupEngineName') === undefined &&
    filter.get('backupSetName') === undefined;
  const container = filter.get('containerName')?.toLowerCase().split(';').slice(-3).join(';');
  return ({ properties }) =>
    isForVms &&
    isOr('policyName', properties.policyName) &&
    isOr('friendlyName', properties.friendlyName) &&
    isOr('healthState', properties.healthStatus) &&
    (container === undefined || properties.containerName === container);
}
