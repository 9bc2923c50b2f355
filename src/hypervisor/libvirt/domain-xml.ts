/** A domain's XML as facts: what it is called, its disks as libvirt names them, its cards, its firmware. */
import type { NetworkCard, Vm } from '../vm.ts';
import { attribute, child, children, parseXml, textAt, type XmlElement } from './xml.ts';

/** Where an image is. */
export type DomainSource =
  | { readonly kind: 'path'; readonly path: string; readonly isBlockDevice: boolean }
  | { readonly kind: 'volume'; readonly pool: string; readonly volume: string }
  | { readonly kind: 'network'; readonly protocol: string; readonly uri: string | undefined }
  | { readonly kind: 'other'; readonly type: string };

/** A disk that holds data of the VM. */
export type DomainDisk = {
  /** libvirt's target. */
  readonly name: string;
  readonly format: string;
  readonly source: DomainSource;
  readonly serial: string | undefined;
  /** Why it cannot be backed up, whatever the VM's state. */
  readonly refusal: string | undefined;
  /** Its requests are served by a thread of their own. */
  readonly hasThread: boolean;
  /** Encrypted by QEMU: what lies in the image is not what the guest sees. */
  readonly isEncrypted: boolean;
};

export type DomainFacts = {
  readonly name: string;
  readonly uuid: string;
  readonly disks: readonly DomainDisk[];
  readonly networkCards: readonly NetworkCard[];
  readonly firmware: 'bios' | 'uefi';
  readonly size: Pick<Vm, 'cores' | 'memoryBytes'>;
  readonly hasAgentChannel: boolean;
  /** UEFI's variables. */
  readonly nvramPath: string | undefined;
  /** An emulated TPM keeps its state in files of libvirt's. */
  readonly tpmVersion: string | undefined;
  /** Whose processes QEMU's are, `+uid:+gid`; undefined: libvirt's own user. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
};

const AGENT_CHANNEL = 'org.qemu.guest_agent.0';

export function readDomain(xml: string): DomainFacts {
  const domain = parseXml(xml, 'domain');
  const devices = child(domain, 'devices');
  const tpm = children(devices, 'tpm')
    .map((element) => child(element, 'backend'))
    .find((backend) => attribute(backend, 'type') === 'emulator');
  return {
    name: textAt(domain, 'name') ?? '',
    uuid: textAt(domain, 'uuid') ?? '',
    disks: [
      ...children(devices, 'disk').flatMap((disk) => diskOf(disk, threadedControllers(devices))),
      ...hostDisks(devices),
    ],
    networkCards: children(devices, 'interface').flatMap(cardOf),
    firmware: isUefi(domain) ? 'uefi' : 'bios',
    size: sizeOf(domain),
    hasAgentChannel: children(devices, 'channel').some(
      (channel) => attribute(child(channel, 'target'), 'name') === AGENT_CHANNEL,
    ),
    nvramPath: textAt(domain, 'os', 'nvram', 'source') ?? nvramPath(domain),
    tpmVersion: tpm === undefined ? undefined : (attribute(tpm, 'version') ?? '1.2'),
    owner: ownerOf(domain),
  };
}

/** What libvirt calls the units of memory; KiB where it says none. */
const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  bytes: 1,
  KB: 1000,
  k: 1024,
  KiB: 1024,
  MB: 1000 ** 2,
  M: 1024 ** 2,
  MiB: 1024 ** 2,
  GB: 1000 ** 3,
  G: 1024 ** 3,
  GiB: 1024 ** 3,
  TB: 1000 ** 4,
  T: 1024 ** 4,
  TiB: 1024 ** 4,
};

/** Of its CPUs those that are plugged in. */
function sizeOf(domain: XmlElement): DomainFacts['size'] {
  const cores = Number(attribute(child(domain, 'vcpu'), 'current') ?? textAt(domain, 'vcpu'));
  const unit = UNITS[attribute(child(domain, 'memory'), 'unit') ?? 'KiB'];
  const memoryBytes = Number(textAt(domain, 'memory')) * (unit ?? NaN);
  return {
    ...(Number.isInteger(cores) ? { cores } : {}),
    ...(Number.isInteger(memoryBytes) ? { memoryBytes } : {}),
  };
}

/** None for what holds no data of the VM's: CD-ROMs, floppies, read-only disks, empty slots. */
function diskOf(disk: XmlElement, threaded: ReadonlySet<string>): DomainDisk[] {
  const device = attribute(disk, 'device') ?? 'disk';
  const name = attribute(child(disk, 'target'), 'dev');
  if (device === 'cdrom' || device === 'floppy' || name === undefined) return [];
  if (child(disk, 'readonly') !== undefined) return [];
  const source = child(disk, 'source');
  const mirrorJob = attribute(child(disk, 'mirror'), 'job');
  return [
    {
      name,
      format: attribute(child(disk, 'driver'), 'type') ?? 'raw',
      source: sourceOf(disk, source),
      serial: textAt(disk, 'serial'),
      refusal: refusalOf(disk, { name, device, mirrorJob }),
      hasThread: hasThread(child(disk, 'driver')) || threaded.has(controllerOf(disk)),
      isEncrypted:
        child(disk, 'encryption') !== undefined || child(source, 'encryption') !== undefined,
    },
  ];
}

function refusalOf(
  disk: XmlElement,
  facts: {
    readonly name: string;
    readonly device: string;
    readonly mirrorJob: string | undefined;
  },
): string | undefined {
  const type = attribute(disk, 'type') ?? 'file';
  const reason = ((): string | undefined => {
    if (facts.device === 'lun') return 'passes SCSI commands of the guest to the host (lun)';
    if (child(disk, 'shareable') !== undefined) return 'is shared with other VMs';
    if (child(disk, 'transient') !== undefined) return 'is transient: it is reset with every start';
    if (type === 'nvme' || type === 'vhostuser') return `is not handled by QEMU (${type})`;
    if (type === 'dir') return 'is a folder that is shown as a disk';
    return undefined;
  })();
  if (reason === undefined) return undefined;
  return `${facts.name} ${reason}: back it up from inside the guest and exclude it here`;
}

/** SCSI devices of the host given to the guest: disks that QEMU does not see into. */
function hostDisks(devices: XmlElement | undefined): DomainDisk[] {
  return children(devices, 'hostdev')
    .filter((hostdev) => ['scsi', 'scsi_host'].includes(attribute(hostdev, 'type') ?? ''))
    .map((hostdev, index) => {
      const name = attribute(child(hostdev, 'alias'), 'name') ?? `hostdev${index}`;
      return {
        name,
        format: 'raw',
        source: { kind: 'other', type: 'hostdev' },
        serial: undefined,
        refusal: `${name} is a device of the host passed through to the guest: back it up from inside the guest and exclude it here`,
        hasThread: false,
        isEncrypted: false,
      };
    });
}

/** By index, the SCSI controllers that serve their disks in threads of their own. */
function threadedControllers(devices: XmlElement | undefined): ReadonlySet<string> {
  const threaded = children(devices, 'controller')
    .filter((controller) => attribute(controller, 'type') === 'scsi')
    .filter((controller) => hasThread(child(controller, 'driver')))
    .map((controller) => attribute(controller, 'index') ?? '0');
  return new Set(threaded);
}

/** The index of a SCSI disk's controller; empty for disks of other buses. */
function controllerOf(disk: XmlElement): string {
  if (attribute(child(disk, 'target'), 'bus') !== 'scsi') return '';
  return attribute(child(disk, 'address'), 'controller') ?? '0';
}

function hasThread(driver: XmlElement | undefined): boolean {
  return attribute(driver, 'iothread') !== undefined || child(driver, 'iothreads') !== undefined;
}

function sourceOf(disk: XmlElement, source: XmlElement | undefined): DomainSource {
  const type = attribute(disk, 'type') ?? 'file';
  const path = attribute(source, 'file') ?? attribute(source, 'dev');
  if (path !== undefined) return { kind: 'path', path, isBlockDevice: type === 'block' };
  const pool = attribute(source, 'pool');
  const volume = attribute(source, 'volume');
  if (pool !== undefined && volume !== undefined) return { kind: 'volume', pool, volume };
  const protocol = attribute(source, 'protocol');
  if (protocol !== undefined) return { kind: 'network', protocol, uri: uriOf(source!, protocol) };
  return { kind: 'other', type };
}

/** As QEMU writes it; a unix socket only for NBD. */
function uriOf(source: XmlElement, protocol: string): string | undefined {
  const host = child(source, 'host');
  const name = attribute(source, 'name') ?? '';
  const socket = attribute(host, 'socket');
  if (socket !== undefined) {
    if (protocol !== 'nbd') return undefined;
    return `nbd+unix:///${encodeURIComponent(name)}?socket=${encodeURIComponent(socket)}`;
  }
  const hostName = attribute(host, 'name');
  if (hostName === undefined) return `${protocol}:${name}`;
  const port = attribute(host, 'port');
  const address = hostName.includes(':') ? `[${hostName}]` : hostName;
  return `${protocol}://${address}${port === undefined ? '' : `:${port}`}/${encodeURIComponent(name)}`;
}

function cardOf(card: XmlElement): NetworkCard[] {
  const mac = attribute(child(card, 'mac'), 'address');
  if (mac === undefined) return [];
  const source = child(card, 'source');
  const model = attribute(child(card, 'model'), 'type');
  const network =
    attribute(source, 'network') ?? attribute(source, 'bridge') ?? attribute(source, 'dev');
  return [
    {
      mac,
      ...(model === undefined ? {} : { model }),
      ...(network === undefined ? {} : { network }),
    },
  ];
}

function isUefi(domain: XmlElement): boolean {
  const os = child(domain, 'os');
  return attribute(os, 'firmware') === 'efi' || attribute(child(os, 'loader'), 'type') === 'pflash';
}

/** `<nvram>` holds the path as text, unless it has a `<source>`. */
function nvramPath(domain: XmlElement): string | undefined {
  const nvram = child(domain, 'os', 'nvram');
  const source = child(nvram, 'source');
  return source === undefined ? textAt(nvram) : attribute(source, 'file');
}

function ownerOf(domain: XmlElement): DomainFacts['owner'] {
  const dac = children(domain, 'seclabel').find((label) => attribute(label, 'model') === 'dac');
  const [, uid, gid] = /^\+?(\d+):\+?(\d+)$/.exec(textAt(dac, 'label') ?? '') ?? [];
  return uid === undefined || gid === undefined
    ? undefined
    : { uid: Number(uid), gid: Number(gid) };
}
