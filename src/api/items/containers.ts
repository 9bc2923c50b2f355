/**
 * Microsoft.RecoveryServices/…/protectionContainers and protectableItems: Azure's containers are VMs, too, one for
 * each item; what could be protected is listed by the same names.
 */
import {
  beginOperation,
  discoverAll,
  getItem,
  getVault,
  listItems,
  listItemsOfVm,
  listVms,
} from '#service';
import { operationOf, resultAnswer } from '../frame/async-answer.ts';
import { parseFilter } from '../frame/filter.ts';
import { listAnswer } from '../frame/paging.ts';
import { ok, route, VAULT, vaultOf, type ApiRequest, type Site } from '../frame/route.ts';
import { vaultId, vmId } from '../ids.ts';
import {
  CONTAINER,
  containerAt,
  containerId,
  containerName,
  CONTAINER_TYPE,
  MANAGEMENT_TYPE,
  plainName,
  requireFabric,
  VM_KIND,
  type VmName,
} from './item-names.ts';

type VaultRequest = ApiRequest<{ readonly group: string; readonly vault: string }, unknown>;

const REFRESH = `${VAULT}/backupFabrics/{fabric}` as const;

export const containerRoutes = [
  route({
    method: 'GET',
    path: `${VAULT}/backupProtectionContainers`,
    summary: 'Lists the containers of the protected items of a vault',
    handle: async (request) => await listContainers(request),
  }),
  route({
    method: 'GET',
    path: CONTAINER,
    summary: 'Shows the container of a protected item',
    handle: async (request) => {
      const { vault, vm } = containerAt(request.params);
      const item = await getItem(request.service.catalogue.read, { vault, vm });
      const at = await getVault(request.service.catalogue.read, vault);
      return ok(containerToWire(request, at, { group: item.vmGroup, name: item.vmName }));
    },
  }),
  route({
    method: 'GET',
    path: `${VAULT}/backupProtectableContainers`,
    summary: 'Lists containers that could be registered: VMs need no registration',
    handle: async (request) => await noContainers(request),
  }),
  route({
    method: 'GET',
    path: `${REFRESH}/protectableContainers`,
    summary: 'Lists containers of a fabric that could be registered: VMs need no registration',
    handle: async (request) => {
      requireFabric(request.params.fabric);
      return await noContainers(request);
    },
  }),
  route({
    method: 'GET',
    path: `${VAULT}/backupProtectableItems`,
    summary: 'Lists the VMs that no vault protects',
    handle: async (request) => await listProtectable(request),
  }),
  route({
    method: 'POST',
    path: `${REFRESH}/refreshContainers`,
    summary: 'Lists the VMs of all hosts anew',
    handle: async (request) => {
      const { service, params, baseUrl, apiVersion, query } = request;
      requireFabric(params.fabric);
      parseFilter(query.get('$filter'), ['backupManagementType']);
      const vault = await getVault(service.catalogue.read, vaultOf(params));
      const operation = { vaultId: vault.id, kind: 'RefreshContainers', target: 'all hosts' };
      const id = await beginOperation(service, operation, async () => await discoverAll(service));
      const at = `${vaultId(request, vault)}/backupFabrics/Azure/operationResults/${id}`;
      const Location = `${baseUrl}${at}?api-version=${apiVersion}`;
      return { status: 202, headers: { Location, 'Retry-After': '1' } };
    },
  }),
  route({
    method: 'GET',
    path: `${REFRESH}/operationResults/{operation}`,
    summary: 'Tells whether the VMs of all hosts were listed anew',
    handle: async (request) => {
      requireFabric(request.params.fabric);
      return await resultAnswer(request, await operationOf(request), async () => undefined);
    },
  }),
];

async function listContainers(request: VaultRequest) {
  const { service, params, query } = request;
  const { read } = service.catalogue;
  const filter = parseFilter(query.get('$filter'), [
    'backupManagementType',
    'containerType',
    'backupEngineName',
    'fabricName',
    'status',
    'friendlyName',
  ]);
  const is = (key: string, value: string): boolean =>
    (filter.get(key) ?? value).toLowerCase() === value.toLowerCase();
  const isForVms =
    is('backupManagementType', MANAGEMENT_TYPE) &&
    is('fabricName', 'Azure') &&
    is('status', 'Registered') &&
    (is('containerType', VM_KIND) || is('containerType', 'IaasVMContainer')) &&
    filter.get('backupEngineName') === undefined;
  const vault = await getVault(read, vaultOf(params));
  const items = await listItems(read, vault);
  const containers = items
    .map((item) => ({ group: item.vmGroup, name: item.vmName }))
    .filter(({ name }) => isForVms && is('friendlyName', name))
    .map((vm) => containerToWire(request, vault, vm));
  return listAnswer(request, containers);
}

async function noContainers(request: VaultRequest) {
  parseFilter(request.query.get('$filter'), ['backupManagementType', 'workloadType', 'status']);
  await getVault(request.service.catalogue.read, vaultOf(request.params));
  return listAnswer(request, []);
}

async function listProtectable(request: VaultRequest) {
  const { service, params, query } = request;
  const { read } = service.catalogue;
  const filter = parseFilter(query.get('$filter'), [
    'backupManagementType',
    'workloadType',
    'friendlyName',
    'containerName',
    'status',
  ]);
  const is = (key: string, value: string): boolean =>
    (filter.get(key) ?? value).toLowerCase() === value.toLowerCase();
  const isForVms =
    is('backupManagementType', MANAGEMENT_TYPE) &&
    is('workloadType', 'VM') &&
    is('status', 'NotProtected');
  const vault = await getVault(read, vaultOf(params));
  const found: VmName[] = [];
  for (const { group, name } of isForVms ? await listVms(read) : []) {
    const vm = { group, name };
    if (!is('friendlyName', name) || !is('containerName', plainName(vm))) continue;
    const items = await listItemsOfVm(read, vm);
    const isTaken = items.some(
      ({ vaultId: its, state }) =>
        its === vault.id || state === 'Protected' || state === 'IRPending',
    );
    if (!isTaken) found.push(vm);
  }
  return listAnswer(
    request,
    found.map((vm) => protectableToWire(request, vault, vm)),
  );
}

type VaultName = { readonly group: string; readonly name: string };

function containerToWire(site: Site, vault: VaultName, vm: VmName) {
  return {
    id: containerId(site, vault, vm),
    name: containerName(vm),
    type: CONTAINER_TYPE,
    properties: {
      containerType: VM_KIND,
      protectableObjectType: VM_KIND,
      friendlyName: vm.name,
      backupManagementType: MANAGEMENT_TYPE,
      registrationStatus: 'Registered',
      healthStatus: 'Healthy',
      virtualMachineId: vmId(site, vm),
      virtualMachineVersion: 'Compute',
      resourceGroup: vm.group,
    },
  };
}

function protectableToWire(site: Site, vault: VaultName, vm: VmName) {
  return {
    id: `${containerId(site, vault, vm)}/protectableItems/vm;${plainName(vm)}`,
    name: plainName(vm),
    type: `${CONTAINER_TYPE}/protectableItems`,
    properties: {
      protectableItemType: VM_KIND,
      backupManagementType: MANAGEMENT_TYPE,
      workloadType: 'VM',
      friendlyName: vm.name,
      protectionState: 'NotProtected',
      virtualMachineId: vmId(site, vm),
      virtualMachineVersion: 'Compute',
      resourceGroup: vm.group,
    },
  };
}
