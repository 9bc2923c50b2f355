/** `holdfast host …`: hypervisors of the machine that the service runs on. */
import { formatFacts } from '../output/facts.ts';
import { formatTable, left, right } from '../output/table.ts';
import { formatCount } from '../output/units.ts';
import { findNamed } from './names.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';
import { shortTime } from './time.ts';

type WireHost = {
  readonly name: string;
  readonly properties: {
    readonly connect: string;
    readonly snapshotsAtOnce: number | null;
    readonly vmCount: number;
    readonly lastSeenTime: string | null;
    readonly failure: string | null;
  };
};

type HostFacts = { readonly name: string } & WireHost['properties'];

export type NewHost = {
  readonly connect: string;
  readonly snapshotsAtOnce?: number;
  /** Also a socket at which no QEMU listens yet. */
  readonly allowAbsent?: boolean;
};

export async function addHost(
  { service, terminal }: ServiceContext,
  name: string,
  { connect, snapshotsAtOnce, allowAbsent }: NewHost,
): Promise<void> {
  terminal.announce(`connecting to ${connect}`);
  const limit = snapshotsAtOnce === undefined ? {} : { snapshotsAtOnce };
  const absent = allowAbsent === true ? { allowAbsent } : {};
  const body = { properties: { connect, ...limit, ...absent } };
  const host = factsOf(await service.http.json('PUT', pathOf(service, name), { body }));
  terminal.result(host, () => {
    const found = `${formatCount(host.vmCount, 'VM')} found`;
    const failure = host.failure === null ? '' : `\nIts VMs cannot be listed: ${host.failure}`;
    return `Host ${host.name} (${connect}): ${found} in the resource group ${host.name}.${failure}`;
  });
}

export async function showHosts({ service, terminal }: ServiceContext): Promise<void> {
  const hosts = await listHosts(service);
  terminal.result({ hosts }, () => {
    if (hosts.length === 0) return 'There are no hosts: holdfast host add NAME --connect URI';
    return formatTable(
      [left('HOST'), left('CONNECT'), right('VMS'), left('LAST SEEN'), left('FAILURE')],
      hosts.map(({ name, connect, vmCount, lastSeenTime, failure }) => [
        name,
        connect,
        String(vmCount),
        shortTime(lastSeenTime),
        failure ?? '',
      ]),
    );
  });
}

export async function showHost({ service, terminal }: ServiceContext, name: string): Promise<void> {
  const host = await findHost(service, name);
  terminal.result(host, () => describe(host));
}

export async function refreshHost(
  { service, terminal }: ServiceContext,
  name: string,
): Promise<void> {
  terminal.announce(`listing the VMs of ${name}`);
  const { name: known } = await findHost(service, name);
  const host = factsOf(await service.http.json('POST', `${pathOf(service, known)}/refresh`));
  terminal.result(host, () => describe(host));
}

export async function removeHost(
  { service, terminal }: ServiceContext,
  name: string,
): Promise<void> {
  const { name: known } = await findHost(service, name);
  await service.http.json('DELETE', pathOf(service, known));
  terminal.result({ removed: known }, () => `Host ${known} is removed; recovery points stay.`);
}

export async function listHosts(service: Service): Promise<readonly HostFacts[]> {
  return (await service.allOf<WireHost>(hostsPath(service))).map(factsOf);
}

async function findHost(service: Service, name: string): Promise<HostFacts> {
  const hosts = (await listHosts(service)).map((host) => ({ ...host, group: '' }));
  const { group: _, ...host } = findNamed(hosts, name, 'host');
  return host;
}

function describe({ name, connect, vmCount, lastSeenTime, failure, snapshotsAtOnce }: HostFacts) {
  return formatFacts([
    ['Host', name],
    ['Connect', connect],
    ['VMs', String(vmCount)],
    ['Last seen', shortTime(lastSeenTime)],
    [
      'System disks',
      connect.startsWith('images:')
        ? 'of each VM the image that comes first by name, or first in its vm.json'
        : undefined,
    ],
    ['Snapshots at once', snapshotsAtOnce === null ? "the service's limit" : `${snapshotsAtOnce}`],
    ['Failure', failure ?? undefined],
  ]);
}

function hostsPath(service: Service): string {
  return `${service.root}/providers/Holdfast.Backup/hosts`;
}

function pathOf(service: Service, name: string): string {
  return `${hostsPath(service)}/${encodeURIComponent(name)}`;
}

function factsOf(wire: unknown): HostFacts {
  const { name, properties } = wire as WireHost;
  return { name, ...properties };
}
