/** A domain of libvirt as the contract shows it: found by its name, with its disks' places and sizes. */
import { HoldfastError, isHoldfastError } from '#base';
import type { PowerState, Vm, VmDisk } from '../vm.ts';
import { showsThreadedDisks } from '../io-thread.ts';
import { readDomain, type DomainDisk, type DomainFacts, type DomainSource } from './domain-xml.ts';
import type { Virsh } from './virsh.ts';

export type DomainRef = { readonly name: string; readonly uuid: string };

export type Domain = {
  readonly uuid: string;
  readonly state: PowerState;
  readonly facts: DomainFacts;
  readonly vm: Vm;
  /** Names of disks with an I/O thread that this QEMU may end of when they are read over NBD (`io-thread.ts`). */
  readonly unshowable: ReadonlySet<string>;
};

type Options = { readonly signal?: AbortSignal | undefined };

const CONCURRENCY = 4;

/** Every domain, running or not, by name. */
export async function listDomains(virsh: Virsh, options: Options = {}): Promise<DomainRef[]> {
  const output = await virsh.run(['list', '--all', '--uuid', '--name'], options);
  const domains = output.split('\n').flatMap((line) => {
    const [, uuid, name] = /^([0-9a-f-]{36})\s(.+)$/.exec(line.trim()) ?? [];
    return uuid === undefined || name === undefined ? [] : [{ uuid, name: name.trimStart() }];
  });
  return domains.toSorted((left, right) => (left.name < right.name ? -1 : 1));
}

/** @throws {HoldfastError} `VmNotFound`, naming those that there are. */
export async function lookUp(
  virsh: Virsh,
  name: string,
  options: Options = {},
): Promise<DomainRef> {
  const domains = await listDomains(virsh, options);
  const found = domains.find((domain) => domain.name === name || domain.uuid === name);
  if (found !== undefined) return found;
  const names = domains.map((domain) => domain.name).join(', ');
  throw new HoldfastError(
    'VmNotFound',
    `there is no VM "${name}" at ${virsh.uri}: ${names === '' ? 'there is none at all' : `there are ${names}`}`,
    { details: { vm: name } },
  );
}

export async function findDomain(
  virsh: Virsh,
  name: string,
  options: Options = {},
): Promise<Domain> {
  const { uuid } = await lookUp(virsh, name, options);
  return await readDomainState(virsh, uuid, options);
}

async function readDomainState(virsh: Virsh, uuid: string, options: Options): Promise<Domain> {
  const [xml, state, blocks] = await Promise.all([
    virsh.run(['dumpxml', uuid], options),
    domainState(virsh, uuid, options),
    blockTable(virsh, uuid, options),
  ]);
  const facts = readDomain(xml);
  const isSaved = state === 'off' && (await hasSavedMemory(virsh, uuid, options));
  const sizes =
    blocks === undefined
      ? await sizesOneByOne(virsh, { uuid, disks: facts.disks }, options)
      : diskSizes(blocks);
  const unshowable = await unshowableDisks(virsh, { facts, state }, options);
  const disks = await Promise.all(
    facts.disks.map(async (disk) => {
      const location = await locationOf(virsh, disk.source, options);
      return vmDisk(disk, { state, location, sizeBytes: sizes.get(disk.name) });
    }),
  );
  const { name, firmware, size, networkCards, hasAgentChannel } = facts;
  const saved = isSaved ? { hasSavedMemory: true } : {};
  const known = { firmware, ...size, networkCards, hasAgentChannel };
  const vm = { name, uuid, state, ...saved, disks, ...known };
  return { uuid, state, facts, vm, unshowable };
}

/** QEMU's version is asked of libvirt only where a disk has a thread. */
async function unshowableDisks(
  virsh: Virsh,
  domain: { readonly facts: DomainFacts; readonly state: PowerState },
  options: Options,
): Promise<ReadonlySet<string>> {
  const { facts, state } = domain;
  const threaded = facts.disks.flatMap(({ hasThread, name }) => (hasThread ? [name] : []));
  if (state === 'off' || threaded.length === 0) return new Set();
  const [, major, minor] =
    /hypervisor: QEMU (\d+)\.(\d+)/.exec(await virsh.run(['version'], options)) ?? [];
  // Of a version that libvirt does not tell nothing good is assumed.
  const version = { major: Number(major ?? '0'), minor: Number(minor ?? '0') };
  return new Set(showsThreadedDisks(version) ? [] : threaded);
}

export async function domainState(
  virsh: Virsh,
  uuid: string,
  options: Options = {},
): Promise<PowerState> {
  return powerState((await virsh.run(['domstate', uuid], options)).trim());
}

/** Of a domain that is off: whether its next start goes on from memory that `virsh managedsave` kept. */
export async function hasSavedMemory(
  virsh: Virsh,
  uuid: string,
  options: Options = {},
): Promise<boolean> {
  return /^Managed save:\s*yes\s*$/m.test(await virsh.run(['dominfo', uuid], options));
}

/** All domains; one that is undefined meanwhile is left out. */
export async function findAllDomains(virsh: Virsh): Promise<Vm[]> {
  const domains = await listDomains(virsh);
  const found: (Vm | undefined)[] = domains.map(() => undefined);
  const waiting = domains.entries();
  const work = async (): Promise<void> => {
    for (const [index, { uuid }] of waiting) {
      try {
        found[index] = (await readDomainState(virsh, uuid, {})).vm;
      } catch (error) {
        if (!isHoldfastError(error, 'VmNotFound')) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
  return found.filter((vm) => vm !== undefined);
}

/** libvirt's words. A VM that crashed or is shut off has no QEMU; one suspended to memory has. */
function powerState(state: string): PowerState {
  if (state === 'shut off' || state === 'crashed' || state === 'no state') return 'off';
  return state === 'paused' || state === 'pmsuspended' ? 'paused' : 'running';
}

/** Undefined: some image cannot be read, and libvirt then tells of none. */
async function blockTable(
  virsh: Virsh,
  uuid: string,
  options: Options,
): Promise<string | undefined> {
  try {
    return await virsh.run(['domblkinfo', uuid, '--all'], options);
  } catch (error) {
    if (isHoldfastError(error, 'HypervisorFailed')) return undefined;
    throw error;
  }
}

/** Without those that cannot be read: their disks are refused. */
async function sizesOneByOne(
  virsh: Virsh,
  { uuid, disks }: { readonly uuid: string; readonly disks: readonly DomainDisk[] },
  options: Options,
): Promise<ReadonlyMap<string, number>> {
  const sizes = new Map<string, number>();
  for (const { name } of disks) {
    try {
      const output = await virsh.run(['domblkinfo', uuid, name], options);
      const [, capacity] = /^Capacity:\s*(\d+)\s*$/m.exec(output) ?? [];
      if (capacity !== undefined) sizes.set(name, Number(capacity));
    } catch (error) {
      if (!isHoldfastError(error, 'HypervisorFailed')) throw error;
    }
  }
  return sizes;
}

/** `vda  capacity  allocation  physical`, with `-` where it cannot be read. */
function diskSizes(output: string): ReadonlyMap<string, number> {
  const sizes = new Map<string, number>();
  for (const line of output.split('\n')) {
    const [, name, capacity] = /^\s*(\S+)\s+(\d+)\s+\d+\s+\d+\s*$/.exec(line) ?? [];
    if (name !== undefined) sizes.set(name, Number(capacity));
  }
  return sizes;
}

async function locationOf(
  virsh: Virsh,
  source: DomainSource,
  options: Options,
): Promise<string | undefined> {
  if (source.kind === 'path') return source.path;
  if (source.kind === 'network') return source.uri ?? source.protocol;
  if (source.kind === 'other') return undefined;
  return (await virsh.run(['vol-path', '--pool', source.pool, source.volume], options)).trim();
}

function vmDisk(
  disk: DomainDisk,
  read: {
    readonly state: PowerState;
    readonly location: string | undefined;
    readonly sizeBytes: number | undefined;
  },
): VmDisk {
  const refusal = disk.refusal ?? unreadable(disk, read);
  return {
    name: disk.name,
    sizeBytes: read.sizeBytes ?? 0,
    format: disk.format,
    location: read.location ?? '',
    ...(disk.serial === undefined ? {} : { serial: disk.serial }),
    ...(refusal === undefined ? {} : { refusal }),
  };
}

/** What QEMU has open it reads for us; without QEMU only files, devices and NBD are in reach. */
function unreadable(disk: DomainDisk, read: Parameters<typeof vmDisk>[1]): string | undefined {
  const { name, source } = disk;
  if (read.location === undefined) return `${name} has no image (${sourceName(source)})`;
  const isReachable = source.kind !== 'network' || read.location.startsWith('nbd');
  if (read.state === 'off' && !isReachable) {
    return `${name} lies on ${sourceName(source)}: it can be backed up while the VM runs, and not while it is off`;
  }
  if (read.state === 'off' && disk.isEncrypted) {
    return `${name} is encrypted by QEMU: it can be backed up while the VM runs, and not while it is off`;
  }
  if (read.sizeBytes === undefined && isReachable) {
    return `${name} cannot be read: is "${read.location}" there?`;
  }
  return undefined;
}

function sourceName(source: DomainSource): string {
  if (source.kind === 'network') return `a network disk (${source.protocol})`;
  return source.kind === 'other' ? source.type : source.kind;
}
