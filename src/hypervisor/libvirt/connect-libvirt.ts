/** The VMs of a libvirt daemon on this machine: `qemu:///system`, `qemu:///session` and other local `qemu:` URIs. */
import { HoldfastError, type Clock } from '#base';
import type { Hypervisor, PreparedBackup, PrepareRequest } from '../hypervisor.ts';
import { prepareOffline } from '../offline/prepare-offline.ts';
import type { VmDisk } from '../vm.ts';
import { libvirtAgent } from './agent-command.ts';
import { readDefinition, tpmStateRootOf } from './definition.ts';
import { findAllDomains, findDomain, type Domain } from './domain.ts';
import { libvirtCreation } from './creation.ts';
import { prepareOnline } from './online-backup.ts';
import { listTracking, removeTracking } from './tracking.ts';
import { virshOf } from './virsh.ts';

export type LibvirtOptions = {
  /** `qemu:///system`, `qemu:///session`, `qemu+unix:///system?socket=…`. */
  readonly uri: string;
  readonly clock: Clock;
  /** Where libvirt keeps the states of emulated TPMs. */
  readonly tpmStateRoot?: string;
};

/**
 * @throws {HoldfastError} `ArgumentInvalid` for a URI of another machine or driver; `HypervisorUnavailable`;
 *   `ToolMissing` without virsh.
 */
export async function connectLibvirt(options: LibvirtOptions): Promise<Hypervisor> {
  const { uri, clock, tpmStateRoot = tpmStateRootOf(options.uri) } = options;
  if (!/^qemu(\+unix)?:\/\/\/(system|session)(\?.*)?$/.test(uri)) {
    throw new HoldfastError(
      'ArgumentInvalid',
      `"${uri}" is no libvirt on this machine with QEMU: use qemu:///system or qemu:///session`,
    );
  }
  const virsh = virshOf(uri, clock);
  await virsh.run(['uri']);
  return {
    kind: 'libvirt',
    uri,
    list: async () => await findAllDomains(virsh),
    find: async (name) => (await findDomain(virsh, name)).vm,
    definition: async (name) => await readDefinition(virsh, name, tpmStateRoot),
    agent: async (name) => {
      const { vm, uuid } = await findDomain(virsh, name);
      return vm.hasAgentChannel && vm.state !== 'off' ? libvirtAgent(virsh, uuid) : undefined;
    },
    prepare: async (request) => await prepare({ virsh, clock }, request),
    tracking: {
      list: async (vm, warn) => await listTracking({ virsh, clock }, vm, warn),
      remove: async (vm, repositoryId, warn) =>
        await removeTracking({ virsh, clock }, { vm, repositoryId, warn }),
    },
    creation: libvirtCreation({ virsh, clock, tpmStateRoot }),
    close: async () => await Promise.resolve(virsh.close()),
  };
}

async function prepare(
  parts: Parameters<typeof prepareOnline>[0],
  request: PrepareRequest,
): Promise<PreparedBackup> {
  const options = request.signal === undefined ? {} : { signal: request.signal };
  const domain = await findDomain(parts.virsh, request.vm, options);
  const chosen = chooseDisks(domain, request);
  // Bitmaps that begin or end while the VM is off get their checkpoints in order when it runs again.
  if (domain.state === 'off') {
    // libvirt's administrator named the images, and QEMU opens their backing files at every start.
    const { clock } = parts;
    return await prepareOffline(request, domain.vm, { clock, allowOutside: true });
  }
  return await prepareOnline(parts, domain, { request, chosen });
}

function chooseDisks({ vm }: Domain, { disks: names }: PrepareRequest): readonly VmDisk[] {
  const unknown = names?.find((name) => vm.disks.every((disk) => disk.name !== name));
  if (unknown !== undefined) {
    const known = vm.disks.map(({ name }) => name).join(', ');
    throw new HoldfastError(
      'DiskNotFound',
      `"${vm.name}" has no disk "${unknown}", it has ${known || 'none'}`,
      { details: { vm: vm.name, disk: unknown } },
    );
  }
  const chosen = vm.disks.filter(({ name }) => names?.includes(name) ?? true);
  const refused = chosen.find(({ refusal }) => refusal !== undefined);
  if (refused !== undefined) {
    throw new HoldfastError('DiskUnsupported', `"${vm.name}": ${refused.refusal}`, {
      details: { vm: vm.name, disk: refused.name },
    });
  }
  if (chosen.length === 0) {
    throw new HoldfastError('DiskNotFound', `"${vm.name}" has no disk to back up`, {
      details: { vm: vm.name },
    });
  }
  return chosen;
}
