/** Holdfast.Backup/virtualMachines: what Azure's model of a VM has no place for, such as exact sizes and image files. */
import { z } from 'zod';
import { getHost, getVm, type HostVm } from '#service';
import { GROUP, ok, route, type Site } from '../frame/route.ts';
import { LOCATION } from '../frame/wire.ts';
import { resourceId, vmId } from '../ids.ts';

const TYPE = 'Holdfast.Backup/virtualMachines';

const DISK = z.object({
  /** As the hypervisor calls it. */
  name: z.string(),
  /** Null: the system disk. */
  lun: z.int().nullable(),
  sizeBytes: z.int(),
  format: z.string(),
  /** The path of its image, or the address of what is no file. */
  image: z.string(),
  /** Why it cannot be backed up; null: it can. */
  refusal: z.string().nullable(),
});

const ANSWER = z.object({
  id: z.string(),
  name: z.string(),
  type: z.literal(TYPE),
  location: z.string(),
  properties: z.object({
    /** What Azure's requests call it. */
    virtualMachineId: z.string(),
    /** Of its host. */
    connect: z.string(),
    firmware: z.enum(['bios', 'uefi']),
    disks: z.array(DISK),
    lastSeenTime: z.string(),
  }),
});

export const vmFactRoutes = [
  route({
    method: 'GET',
    path: `${GROUP}/providers/${TYPE}/{vm}`,
    summary: 'Shows a VM with its disks, as its host last told',
    answer: ANSWER,
    handle: async (request) => {
      const { service, params } = request;
      const { read } = service.catalogue;
      const vm = await getVm(read, { group: params.group, name: params.vm });
      const { uri } = await getHost(read, vm.hostKey);
      return ok(toWire(request, vm, uri));
    },
  }),
];

function toWire(site: Site, vm: HostVm, connect: string) {
  const { group, name, facts, seenAt } = vm;
  return {
    id: resourceId(site, { group, type: TYPE, name }),
    name,
    type: TYPE,
    location: LOCATION,
    properties: {
      virtualMachineId: vmId(site, vm),
      connect,
      firmware: facts.firmware,
      disks: facts.disks.map(({ name: disk, lun, sizeBytes, format, location, refusal }) => ({
        name: disk,
        lun: lun ?? null,
        sizeBytes,
        format,
        image: location,
        refusal: refusal ?? null,
      })),
      lastSeenTime: new Date(seenAt).toISOString(),
    },
  };
}
