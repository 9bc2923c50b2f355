/** Defines, starts and ends VMs through libvirt, and gives them other disks: the contract of vm-creation.ts. */
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError, type Clock } from '#base';
import type { DefineRequest, VmCreation } from '../vm-creation.ts';
import { newDomainXml, withOtherDisks } from './definition-xml.ts';
import { readDomain } from './domain-xml.ts';
import { domainState, hasSavedMemory, listDomains, lookUp } from './domain.ts';
import { moveToImage } from './move-to-image.ts';
import { removeTpmState, writeTpmState } from './tpm-state.ts';
import type { Virsh } from './virsh.ts';
import { withXmlFile } from './xml-file.ts';

export type CreationParts = {
  readonly virsh: Virsh;
  readonly clock: Clock;
  readonly tpmStateRoot: string;
};

export function libvirtCreation(parts: CreationParts): VmCreation {
  const { virsh } = parts;
  return {
    define: async (request) => await define(parts, request),
    start: async (name) => {
      const { uuid } = await lookUp(virsh, name);
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
    undefine: async (name) => await undefine(virsh, (await lookUp(virsh, name)).uuid),
    replaceDisks: async (name, disks) => {
      const { uuid } = await lookUp(virsh, name);
      await refuseNotShutDown(virsh, { name, uuid });
      const xml = await virsh.run(['dumpxml', uuid, '--inactive', '--security-info']);
      await defineXml(virsh, withOtherDisks(xml, disks));
    },
    moveToImage: async (name, disk, options) => {
      const { uuid } = await lookUp(virsh, name);
      await moveToImage(parts, { uuid, name, disk }, options);
    },
  };
}

async function define(parts: CreationParts, request: DefineRequest): Promise<void> {
  const { virsh } = parts;
  const { definition, name, directory } = request;
  const xml = definition.domainXml;
  if (xml === undefined) {
    throw new HoldfastError(
      'DefinitionUnsupported',
      `the point has the definition of a VM of ${definition.hypervisor}, not of libvirt: restore its disks and define a VM for them`,
      { details: { hypervisor: definition.hypervisor } },
    );
  }
  const facts = readDomain(xml);
  await refuseExisting(virsh, { name, uuid: request.identity === 'same' ? facts.uuid : undefined });
  const networks = new Set(
    request.networks === 'none' || request.networks === 'same'
      ? []
      : (await virsh.run(['net-list', '--all', '--name'])).split('\n').map((line) => line.trim()),
  );
  const variables = definition.files.find(({ role }) => role === 'uefi-variables');
  const hasNvram = variables !== undefined || facts.nvramPath !== undefined;
  const nvramPath = hasNvram ? join(directory, `${name}_VARS.fd`) : undefined;
  const host = { networks, fileExists: existsSync };
  const changed = newDomainXml(xml, request, { host, nvramPath });
  await mkdir(directory, { recursive: true });
  let uuid: string | undefined;
  try {
    if (variables !== undefined) await writeFile(nvramPath!, variables.content, { mode: 0o600 });
    await defineXml(virsh, changed);
    uuid = (await lookUp(virsh, name)).uuid;
    const state = definition.files.filter(({ role }) => role === 'tpm-state');
    if (state.length > 0) await writeTpmState(join(parts.tpmStateRoot, uuid), state);
  } catch (error) {
    if (uuid !== undefined) {
      await undefine(virsh, uuid);
      await removeTpmState(join(parts.tpmStateRoot, uuid));
    }
    if (variables !== undefined) await rm(nvramPath!, { force: true });
    throw error;
  }
}

async function refuseExisting(
  virsh: Virsh,
  { name, uuid }: { readonly name: string; readonly uuid: string | undefined },
): Promise<void> {
  const there = (await listDomains(virsh)).find(
    (domain) => domain.name === name || domain.uuid === uuid,
  );
  if (there === undefined) return;
  const what = there.name === name ? `"${name}"` : `"${there.name}" with the UUID ${uuid}`;
  throw new HoldfastError('VmExists', `there is a VM ${what} already`, {
    details: { vm: there.name },
  });
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
      `"${name}" is off with its memory saved, and would go on from it over other disks: start it and shut it down, or give the saved memory up: virsh managedsave-remove ${name}`,
      { details },
    );
  }
}

/** The XML may hold passwords: nobody else can read it on its way. */
async function defineXml(virsh: Virsh, xml: string): Promise<void> {
  await withXmlFile(xml, async (path) => {
    await virsh.run(['define', path]);
  });
}

/** Metadata that would keep libvirt from it goes; images and UEFI variables stay. */
async function undefine(virsh: Virsh, uuid: string): Promise<void> {
  const metadata = ['--managed-save', '--snapshots-metadata', '--checkpoints-metadata'];
  await virsh.run(['undefine', uuid, ...metadata, '--keep-nvram']);
}
