/**
 * A domain of its own made of a definition: all that can be refused is looked at before anything is changed.
 * `virsh domxml-to-native` reads the XML as `virsh define` does, and asks QEMU's capabilities as a start does;
 * it defines nothing, and needs neither images nor networks, which are looked at here.
 */
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError, shellQuoted } from '#base';
import type { DefinitionFile } from '../vm.ts';
import type { DefineRequest } from '../vm-creation.ts';
import { newDomainXml } from './definition-xml.ts';
import { readDomain } from './domain-xml.ts';
import { listDomains, lookUp } from './domain.ts';
import { giveToQemu, qemuUser, refuseImpassable } from './qemu-user.ts';
import { refuseUnsafeState, removeTpmState, writeTpmState } from './tpm-state.ts';
import type { Virsh } from './virsh.ts';
import { withXmlFile } from './xml-file.ts';
import { attribute, child, children, parseXml, type XmlElement } from './xml.ts';

type Parts = { readonly virsh: Virsh; readonly tpmStateRoot: string };

type DomainPlan = {
  readonly xml: string;
  /** UEFI variables to write before the domain is defined. */
  readonly variables?: { readonly path: string; readonly content: Buffer };
  readonly tpmState: readonly DefinitionFile[];
};

/**
 * Refuses what `defineDomain`, and with `starts` the start after it, would refuse. Changes nothing; images
 * need not be there.
 */
export async function checkDomain(
  { virsh }: Parts,
  request: DefineRequest,
  { starts }: { readonly starts: boolean },
): Promise<void> {
  const { xml } = await planDomain(virsh, request);
  const domain = parseXml(xml, 'domain');
  await refuseRejected(virsh, xml);
  refuseMissingFiles(domain);
  await refuseImpassable(await qemuUser(virsh, xml), request.directory, {
    code: 'DefinitionUnsupported',
    instead: 'choose another with --dir',
  });
  await refuseMissingNetworks(virsh, domain, { starts });
}

export async function defineDomain(parts: Parts, request: DefineRequest): Promise<void> {
  const { virsh } = parts;
  const { name, directory, disks } = request;
  const { xml, variables, tpmState } = await planDomain(virsh, request);
  const user = await qemuUser(virsh, xml);
  if (readDomain(xml).tpmVersion !== undefined && tpmState.length === 0) {
    request.warn?.('the point has no state of its TPM: the new one is empty');
  }
  await mkdir(directory, { recursive: true });
  let uuid: string | undefined;
  try {
    if (variables !== undefined)
      await writeFile(variables.path, variables.content, { mode: 0o600 });
    const made = [
      ...disks.map(({ path }) => path),
      ...(variables === undefined ? [] : [variables.path]),
    ];
    await giveToQemu(user, made);
    await defineXml(virsh, xml);
    uuid = (await lookUp(virsh, name)).uuid;
    if (tpmState.length > 0) await writeTpmState(join(parts.tpmStateRoot, uuid), tpmState);
  } catch (error) {
    if (uuid !== undefined) {
      await undefineDomain(virsh, uuid);
      await removeTpmState(join(parts.tpmStateRoot, uuid));
    }
    if (variables !== undefined) await rm(variables.path, { force: true });
    throw error;
  }
}

/** The XML may hold passwords: nobody else can read it on its way. */
export async function defineXml(virsh: Virsh, xml: string): Promise<void> {
  await withXmlFile(xml, async (path) => {
    await virsh.run(['define', path]);
  });
}

/** Metadata that would keep libvirt from it goes, and UEFI variables; images stay. */
export async function undefineDomain(virsh: Virsh, uuid: string): Promise<void> {
  const metadata = ['--managed-save', '--snapshots-metadata', '--checkpoints-metadata'];
  await virsh.run(['undefine', uuid, ...metadata, '--nvram']);
}

async function planDomain(virsh: Virsh, request: DefineRequest): Promise<DomainPlan> {
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
  const names = new Set(
    request.networks === 'none' || request.networks === 'same'
      ? []
      : await networks(virsh, '--all'),
  );
  const content = definition.files.find(({ role }) => role === 'uefi-variables')?.content;
  const hasNvram = content !== undefined || facts.nvramPath !== undefined;
  const nvramPath = hasNvram ? join(directory, `${name}_VARS.fd`) : undefined;
  if (nvramPath !== undefined && existsSync(nvramPath)) {
    throw new HoldfastError(
      'OutputExists',
      `"${nvramPath}", where the UEFI variables go, is there already`,
      { details: { path: nvramPath } },
    );
  }
  const tpmState = definition.files.filter(({ role }) => role === 'tpm-state');
  refuseUnsafeState(tpmState);
  const host = { networks: names, fileExists: existsSync };
  return {
    xml: newDomainXml(xml, request, { host, nvramPath }),
    ...(content === undefined ? {} : { variables: { path: nvramPath!, content } }),
    tpmState,
  };
}

async function networks(virsh: Virsh, ...which: readonly string[]): Promise<string[]> {
  const output = await virsh.run(['net-list', ...which, '--name']);
  return output
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

async function refuseExisting(
  virsh: Virsh,
  { name, uuid }: { readonly name: string; readonly uuid: string | undefined },
): Promise<void> {
  const there = (await listDomains(virsh)).find(
    (domain) => domain.name === name || domain.uuid === uuid,
  );
  if (there === undefined) return;
  const what =
    there.name === name
      ? `"${name}" already: choose another name`
      : `"${there.name}" with the UUID ${uuid} already: leave --same-identity away`;
  throw new HoldfastError('VmExists', `there is a VM ${what}`, { details: { vm: there.name } });
}

/** libvirt and QEMU themselves are asked: name, architecture, machine type, emulator, devices, firmware. */
async function refuseRejected(virsh: Virsh, xml: string): Promise<void> {
  try {
    await withXmlFile(xml, async (path) => {
      await virsh.run(['domxml-to-native', 'qemu-argv', '--xml', path]);
    });
  } catch (error) {
    if (!isHoldfastError(error, 'HypervisorFailed')) throw error;
    throw unsupported(error.message, error);
  }
}

function refuseMissingFiles(domain: XmlElement): void {
  const os = child(domain, 'os');
  for (const name of ['loader', 'kernel', 'initrd', 'dtb']) {
    const path = child(os, name)?.textContent?.trim();
    if (path === undefined || !path.startsWith('/') || existsSync(path)) continue;
    throw unsupported(`this host has no "${path}", the VM's ${name}`);
  }
}

async function refuseMissingNetworks(
  virsh: Virsh,
  domain: XmlElement,
  { starts }: { readonly starts: boolean },
): Promise<void> {
  const cards = children(child(domain, 'devices'), 'interface');
  const wanted = (type: string): string[] =>
    cards
      .filter((card) => attribute(card, 'type') === type)
      .map((card) => attribute(child(card, 'source'), type) ?? '');
  const virtual = wanted('network');
  if (virtual.length > 0) {
    const [all, active] = [await networks(virsh, '--all'), await networks(virsh)];
    for (const name of virtual) {
      if (!all.includes(name)) throw noNetwork(`libvirt has no network "${name}"`);
      if (starts && !active.includes(name)) {
        throw noNetwork(
          `libvirt's network "${name}" is not active: virsh net-start ${shellQuoted(name)}`,
        );
      }
    }
  }
  for (const name of wanted('bridge')) {
    if (!existsSync(`/sys/class/net/${name}`)) throw noNetwork(`this host has no bridge "${name}"`);
  }
}

function noNetwork(what: string): HoldfastError {
  return unsupported(`${what}; or choose with --network MAC=NETWORK or --network none`);
}

function unsupported(reason: string, cause?: unknown): HoldfastError {
  return new HoldfastError(
    'DefinitionUnsupported',
    `this VM cannot be made here, and nothing was written: ${reason}`,
    { cause },
  );
}
