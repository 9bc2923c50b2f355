/** Defines, starts and ends VMs through libvirt, and gives them other disks: the contract of vm-creation.ts. */
import { HoldfastError, isHoldfastError, shellQuoted, type Clock } from '#base';
import type { RunState, VmCreation } from '../vm-creation.ts';
import { checkDomain, defineDomain, defineXml, undefineDomain } from './define-domain.ts';
import { withErrorPolicies, withOtherDisks } from './definition-xml.ts';
import { domainState, findDomain, hasSavedMemory, lookUp } from './domain.ts';
import { moveToImage } from './move-to-image.ts';
import { giveToQemu, qemuUser, servedSockets } from './qemu-user.ts';
import type { Virsh } from './virsh.ts';

export type CreationParts = {
  readonly virsh: Virsh;
  readonly clock: Clock;
  readonly tpmStateRoot: string;
};

export function libvirtCreation(parts: CreationParts): VmCreation {
  const { virsh } = parts;
  return {
    check: async (request, use) => await checkDomain(parts, request, use),
    define: async (request) => await defineDomain(parts, request),
    defined: async (name) => (await findDomain(virsh, name)).vm,
    runState: async (name) => await runState(virsh, (await lookUp(virsh, name)).uuid),
    resume: async (name) => {
      const { uuid } = await lookUp(virsh, name);
      await virsh.run(['resume', uuid]);
    },
    start: async (name) => {
      const { uuid } = await lookUp(virsh, name);
      const xml = await virsh.run(['dumpxml', uuid, '--inactive']);
      await giveToQemu(await qemuUser(virsh, xml), servedSockets(xml));
      await virsh.run(['start', uuid]);
    },
    powerOff: async (name) => {
      const { uuid } = await lookUp(virsh, name);
      try {
        await virsh.run(['destroy', uuid]);
      } catch (error) {
        if (!(isHoldfastError(error) && /domain is not running/.test(error.message))) throw error;
      }
    },
    undefine: async (name) => await undefineDomain(virsh, (await lookUp(virsh, name)).uuid),
    replaceDisks: async (name, disks) => {
      const { uuid } = await lookUp(virsh, name);
      await refuseNotShutDown(virsh, { name, uuid });
      const xml = await virsh.run(['dumpxml', uuid, '--inactive', '--security-info']);
      const images = disks.map(({ path }) => path);
      await giveToQemu(await qemuUser(virsh, xml), images);
      await defineXml(virsh, withOtherDisks(xml, disks));
    },
    moveToImage: async (name, disk, options) => {
      const { uuid } = await lookUp(virsh, name);
      await moveToImage(parts, { uuid, name, disk }, options);
    },
    restoreErrorPolicies: async (name, { domainXml }) => {
      const { uuid } = await lookUp(virsh, name);
      const xml = await virsh.run(['dumpxml', uuid, '--inactive', '--security-info']);
      if (domainXml !== undefined) await defineXml(virsh, withErrorPolicies(xml, domainXml));
    },
  };
}

async function refuseNotShutDown(
  virsh: Virsh,
  { name, uuid }: { readonly name: string; readonly uuid: string },
): Promise<void> {
  const details = { vm: name };
  if ((await domainState(virsh, uuid)) !== 'off') {
    throw new HoldfastError(
      'VmNotShutDown',
      `"${name}" runs: shut it down, then its disks can be replaced`,
      { details },
    );
  }
  if (await hasSavedMemory(virsh, uuid)) {
    throw new HoldfastError(
      'VmNotShutDown',
      `"${name}" is off with its memory saved, and would go on from it over other disks: start it and shut it down, or give the saved memory up: virsh managedsave-remove ${shellQuoted(name)}`,
      { details },
    );
  }
}

async function runState(virsh: Virsh, uuid: string): Promise<RunState> {
  const why = (await virsh.run(['domstate', uuid, '--reason'])).trim();
  return why === 'paused (I/O error)' ? 'failed' : await domainState(virsh, uuid);
}
