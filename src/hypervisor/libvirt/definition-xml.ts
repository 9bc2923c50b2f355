/**
 * A domain's XML turned into that of another domain, or of itself with other disks. Every element that is not
 * named here stays as it was.
 */
import { basename, join } from 'node:path';
import { HoldfastError } from '#base';
import type { DefineRequest, NewVmDisk } from '../vm-creation.ts';
import {
  appendElement,
  attribute,
  child,
  children,
  formatXml,
  parseXml,
  remove,
  setText,
  textAt,
  type XmlElement,
} from './xml.ts';

const ERROR_POLICIES = ['error_policy', 'rerror_policy'];

/** What the host has, as far as the XML names it. */
export type HostFacts = {
  /** libvirt's networks; any other name is a bridge's. */
  readonly networks: ReadonlySet<string>;
  readonly fileExists: (path: string) => boolean;
};

/**
 * @param nvramPath where the VM's UEFI variables are; undefined: the definition has none.
 */
export function newDomainXml(
  xml: string,
  request: DefineRequest,
  context: { readonly host: HostFacts; readonly nvramPath: string | undefined },
): string {
  const domain = parseXml(xml, 'domain');
  setText(domain, 'name', request.name);
  const devices = child(domain, 'devices');
  if (devices === undefined) throw unsupported('it has no devices');
  if (request.identity === 'new') forgetIdentity(domain, request.directory);
  plugCards(devices, { request, networks: context.host.networks });
  useDisks(devices, request.disks, context.host);
  const { nvramPath } = context;
  const os = child(domain, 'os');
  if (nvramPath !== undefined && os !== undefined) {
    const nvram = child(os, 'nvram') ?? appendElement(os, { name: 'nvram' });
    for (const inner of children(nvram)) remove(inner);
    nvram.removeAttribute('type');
    nvram.textContent = nvramPath;
  }
  return formatXml(domain);
}

/**
 * The same domain with other images for some disks.
 *
 * @throws {HoldfastError} `DiskNotFound`.
 */
export function withOtherDisks(xml: string, disks: readonly NewVmDisk[]): string {
  const domain = parseXml(xml, 'domain');
  const present = children(child(domain, 'devices'), 'disk');
  for (const disk of disks) {
    const element = present.find(
      (one) => attribute(child(one, 'target'), 'dev') === disk.name && holdsData(one),
    );
    if (element === undefined) {
      throw new HoldfastError(
        'DiskNotFound',
        `"${textAt(domain, 'name')}" has no disk "${disk.name}"`,
        { details: { disk: disk.name } },
      );
    }
    setImage(element, disk);
  }
  return formatXml(domain);
}

/** The same domain; at errors its disks do what those of `original` with their names do. */
export function withErrorPolicies(xml: string, original: string): string {
  const [domain, model] = [xml, original].map((text) => parseXml(text, 'domain'));
  const disksOf = (of: XmlElement | undefined): XmlElement[] =>
    children(child(of, 'devices'), 'disk');
  const nameOf = (disk: XmlElement): string | undefined => attribute(child(disk, 'target'), 'dev');
  for (const disk of disksOf(domain).filter(holdsData)) {
    const like = disksOf(model).find((one) => nameOf(one) === nameOf(disk));
    const driver = child(disk, 'driver');
    for (const policy of ERROR_POLICIES) {
      const value = attribute(child(like, 'driver'), policy);
      if (value === undefined) driver?.removeAttribute(policy);
      else driver?.setAttribute(policy, value);
    }
  }
  return formatXml(domain!);
}

/** What two VMs on one host cannot share; libvirt makes new ids where there are none. */
function forgetIdentity(domain: XmlElement, directory: string): void {
  remove(child(domain, 'uuid'));
  const genid = child(domain, 'genid');
  if (genid !== undefined) genid.textContent = '';
  for (const entry of children(child(domain, 'sysinfo', 'system'), 'entry')) {
    if (attribute(entry, 'name') === 'uuid') remove(entry);
  }
  separateDevices(child(domain, 'devices'), directory);
}

function separateDevices(devices: XmlElement | undefined, directory: string): void {
  for (const card of children(devices, 'interface')) remove(child(card, 'mac'));
  // A device of the host belongs to one VM at a time.
  for (const hostdev of children(devices, 'hostdev')) remove(hostdev);
  for (const channel of children(devices, 'channel')) {
    if (attribute(channel, 'type') === 'unix') remove(child(channel, 'source'));
  }
  for (const port of [...children(devices, 'serial'), ...children(devices, 'console')]) {
    const source = child(port, 'source');
    const path = attribute(source, 'path');
    const hasOwnFile = ['file', 'unix', 'pipe'].includes(attribute(port, 'type') ?? '');
    if (path !== undefined && hasOwnFile)
      source!.setAttribute('path', join(directory, basename(path)));
  }
}

function plugCards(
  devices: XmlElement,
  {
    request,
    networks,
  }: { readonly request: DefineRequest; readonly networks: ReadonlySet<string> },
): void {
  if (request.networks === 'same') return;
  const original = request.definition.vm.networkCards;
  for (const [index, card] of children(devices, 'interface').entries()) {
    const mac = attribute(child(card, 'mac'), 'address') ?? original[index]?.mac ?? '';
    const network = request.networks === 'none' ? undefined : request.networks.get(mac);
    if (network === undefined) {
      remove(card);
      continue;
    }
    const type = networks.has(network) ? 'network' : 'bridge';
    card.setAttribute('type', type);
    for (const name of ['source', 'virtualport', 'target', 'backenddomain']) {
      remove(child(card, name));
    }
    appendElement(
      card,
      { name: 'source', attributes: { [type]: network } },
      child(card, 'model') ?? children(card)[0],
    );
  }
}

function useDisks(devices: XmlElement, disks: readonly NewVmDisk[], host: HostFacts): void {
  for (const element of children(devices, 'disk')) {
    const name = attribute(child(element, 'target'), 'dev');
    const disk = disks.find((one) => one.name === name);
    if (disk !== undefined && holdsData(element)) setImage(element, disk);
    else if (holdsData(element)) remove(element);
    else ejectAbsent(element, host);
  }
}

/** A medium that this host does not have would keep the VM from starting. */
function ejectAbsent(element: XmlElement, host: HostFacts): void {
  const source = child(element, 'source');
  const path = attribute(source, 'file') ?? attribute(source, 'dev');
  if (path === undefined || host.fileExists(path)) return;
  const device = attribute(element, 'device');
  if (device === 'cdrom' || device === 'floppy') remove(source);
  else remove(element);
}

function holdsData(element: XmlElement): boolean {
  const device = attribute(element, 'device') ?? 'disk';
  return (device === 'disk' || device === 'lun') && child(element, 'readonly') === undefined;
}

function setImage(element: XmlElement, disk: NewVmDisk): void {
  for (const name of ['source', 'backingStore', 'mirror', 'encryption', 'auth', 'transient']) {
    remove(child(element, name));
  }
  element.setAttribute('type', 'file');
  element.setAttribute('device', 'disk');
  const target = child(element, 'target');
  const driver =
    child(element, 'driver') ??
    appendElement(element, { name: 'driver', attributes: { name: 'qemu' } }, target);
  driver.setAttribute('type', disk.format);
  appendElement(element, { name: 'source', attributes: { file: disk.path } }, target);
  if (disk.backing === undefined) return;
  // A server that is gone must not be a disk's error to the guest: it pauses, and can be resumed.
  for (const policy of ERROR_POLICIES) driver.setAttribute(policy, 'stop');
  const { socketPath, exportName } = disk.backing;
  const host = { name: 'host', attributes: { transport: 'unix', socket: socketPath } };
  const source = {
    name: 'source',
    attributes: { protocol: 'nbd', name: exportName },
    content: [host],
  };
  const backing = {
    name: 'backingStore',
    attributes: { type: 'network' },
    content: [
      { name: 'format', attributes: { type: 'raw' } },
      source,
      { name: 'backingStore', attributes: {} },
    ],
  };
  appendElement(element, backing, target);
}

function unsupported(reason: string): HoldfastError {
  return new HoldfastError(
    'DefinitionUnsupported',
    `the VM's definition cannot be used: ${reason}`,
  );
}
