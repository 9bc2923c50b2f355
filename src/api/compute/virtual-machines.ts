/** Microsoft.Compute/virtualMachines: the VMs of all hosts, as Azure's clients read them (2022-08-01 to 2026). */
import { getVm, listVms, lookAgain, type HostVm } from '#service';
import { listAnswer } from '../frame/paging.ts';
import { GROUP, ok, route, SUBSCRIPTION, type Site } from '../frame/route.ts';
import { LOCATION } from '../frame/wire.ts';
import { groupId, VM_TYPE, vmId } from '../ids.ts';

const VMS = 'providers/Microsoft.Compute/virtualMachines';
const GIB = 1024 ** 3;

const POWER = {
  running: { code: 'PowerState/running', displayStatus: 'VM running' },
  paused: { code: 'PowerState/paused', displayStatus: 'VM paused' },
  off: { code: 'PowerState/deallocated', displayStatus: 'VM deallocated' },
} as const satisfies Record<HostVm['facts']['state'], object>;

export const virtualMachineRoutes = [
  route({
    method: 'GET',
    path: `${SUBSCRIPTION}/${VMS}`,
    summary: 'Lists the VMs of all hosts',
    handle: async (request) => {
      const withStatus =
        request.query.get('statusOnly') === 'true' || expandsView(request.query.get('$expand'));
      if (withStatus) await lookAgain(request.service);
      const vms = await listVms(request.service.catalogue.read);
      return listAnswer(
        request,
        vms.map((vm) => toWire(request, vm, withStatus)),
      );
    },
  }),
  route({
    method: 'GET',
    path: `${GROUP}/${VMS}`,
    summary: 'Lists the VMs of a host',
    handle: async (request) => {
      const withStatus = expandsView(request.query.get('$expand'));
      if (withStatus) await lookAgain(request.service, request.params.group);
      const vms = await listVms(request.service.catalogue.read, request.params.group);
      return listAnswer(
        request,
        vms.map((vm) => toWire(request, vm, withStatus)),
      );
    },
  }),
  route({
    method: 'GET',
    path: `${GROUP}/${VMS}/{vm}`,
    summary: 'Shows a VM',
    handle: async (request) => {
      const { service, params, query } = request;
      const withStatus = expandsView(query.get('$expand'));
      if (withStatus) await lookAgain(service, params.group);
      const vm = await getVm(service.catalogue.read, { group: params.group, name: params.vm });
      return ok(toWire(request, vm, withStatus));
    },
  }),
  route({
    method: 'GET',
    path: `${GROUP}/${VMS}/{vm}/instanceView`,
    summary: 'Shows what a VM does',
    handle: async (request) => {
      const { service, params } = request;
      await lookAgain(service, params.group);
      const vm = await getVm(service.catalogue.read, { group: params.group, name: params.vm });
      return ok(instanceView(vm));
    },
  }),
];

/** `$expand=instanceView`, also among others and with `userData`, which no VM here has. */
function expandsView(expand: string | undefined): boolean {
  return (expand ?? '').toLowerCase().split(',').includes('instanceview');
}

function toWire(site: Site, vm: HostVm, withView: boolean) {
  const { name, vmId: uuid } = vm;
  return {
    id: vmId(site, vm),
    name,
    type: VM_TYPE,
    location: LOCATION,
    tags: {},
    properties: {
      vmId: uuid,
      provisioningState: 'Succeeded',
      hardwareProfile: { vmSize: 'Holdfast' },
      storageProfile: storageProfile(site, vm),
      networkProfile: { networkInterfaces: networkInterfaces(site, vm) },
      ...(withView ? { instanceView: instanceView(vm) } : {}),
    },
  };
}

/** Disks are Azure's managed ones: the first is the system's, the others have LUNs. */
function storageProfile(site: Site, { group, name, facts }: HostVm) {
  const diskOf = (disk: HostVm['facts']['disks'][number]) => ({
    name: `${name}-${disk.name}`,
    createOption: 'Attach',
    caching: 'None',
    diskSizeGB: Math.max(1, Math.ceil(disk.sizeBytes / GIB)),
    managedDisk: {
      id: `${groupId(site, group)}/providers/Microsoft.Compute/disks/${name}-${disk.name}`,
      storageAccountType: 'Standard_LRS',
    },
  });
  const [system, ...data] = facts.disks;
  return {
    ...(system === undefined ? {} : { osDisk: diskOf(system) }),
    dataDisks: data.map((disk, index) => ({ lun: disk.lun ?? index, ...diskOf(disk) })),
  };
}

function networkInterfaces(site: Site, { group, name, facts }: HostVm) {
  return facts.networkCards.map((_card, index) => ({
    id: `${groupId(site, group)}/providers/Microsoft.Network/networkInterfaces/${name}-nic${index}`,
    properties: { primary: index === 0 },
  }));
}

function instanceView({ facts, seenAt }: HostVm) {
  const level = 'Info';
  const provisioned = {
    code: 'ProvisioningState/succeeded',
    level,
    displayStatus: 'Provisioning succeeded',
    time: new Date(seenAt).toISOString(),
  };
  return { statuses: [provisioned, { level, ...POWER[facts.state] }] };
}
