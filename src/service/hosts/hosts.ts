/** Hosts: hypervisors of this machine, each with a resource group of its name that its VMs are in. */
import { z } from 'zod';
import { HoldfastError } from '#base';
import { noteActivity } from '../activities/activities.ts';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import { LOCATION, nameKey, parseName } from '../names.ts';
import type { ServiceParts } from '../service-parts.ts';

const SETTINGS = z.strictObject({
  version: z.literal(1),
  /** Absent: the service's. */
  snapshotsAtOnce: z.int().min(1).optional(),
});

export type Host = {
  readonly name: string;
  /** As `--connect` takes it. */
  readonly uri: string;
  readonly snapshotsAtOnce: number | undefined;
  /** When its VMs were last listed; undefined: never. */
  readonly seenAt: number | undefined;
  /** Why they could not be listed the last time. */
  readonly failure: string | undefined;
};

export type NewHost = Pick<Host, 'name' | 'uri'> & {
  readonly snapshotsAtOnce?: number;
  /** Also a socket at which no QEMU listens yet. */
  readonly allowsAbsent?: boolean;
};

/**
 * Adds the host, or changes it. It is connected to once before: an address that does not work is refused. One that
 * has this address already may have its VM off.
 *
 * @throws {HoldfastError} `InvalidResourceName`; `ResourceExists` if another host has the address;
 *   `ArgumentInvalid`, `HypervisorUnavailable`, `ToolMissing`.
 */
export async function putHost(parts: ServiceParts, host: NewHost): Promise<Host> {
  const name = parseName(host.name, 'host');
  const key = nameKey(name);
  const hosts = parts.catalogue.read.selectFrom('hosts').select('key');
  const known = await hosts.where('key', '=', key).where('uri', '=', host.uri).executeTakeFirst();
  const mayBeAbsent = known !== undefined || host.allowsAbsent === true;
  await parts.hosts.probe(host.uri, { mayBeAbsent });
  const { snapshotsAtOnce } = host;
  const limits = snapshotsAtOnce === undefined ? {} : { snapshotsAtOnce };
  const settings = JSON.stringify(SETTINGS.parse({ version: 1, ...limits }));
  const now = parts.clock.nowMs();
  return await parts.catalogue.change(async (change) => {
    const other = await change
      .selectFrom('hosts')
      .select('name')
      .where('uri', '=', host.uri)
      .where('key', '!=', key)
      .executeTakeFirst();
    if (other !== undefined) {
      throw new HoldfastError('ResourceExists', `${host.uri} is the host '${other.name}' already.`);
    }
    await change
      .insertInto('resourceGroups')
      .values({ key, name, location: LOCATION, tags: '{}', createdAt: now })
      .onConflict((known) => known.doNothing())
      .execute();
    await change
      .insertInto('hosts')
      .values({ key, name, uri: host.uri, settings, addedAt: now, seenAt: null, failure: null })
      .onConflict((known) => known.column('key').doUpdateSet({ uri: host.uri, settings }))
      .execute();
    await noteActivity(parts, change, { action: 'put host', target: name });
    return await getHost(change, name);
  });
}

/** @throws {HoldfastError} `ResourceNotFound`. */
export async function getHost(reader: CatalogueReader, name: string): Promise<Host> {
  const query = reader.selectFrom('hosts').selectAll().where('key', '=', nameKey(name));
  const row = await query.executeTakeFirst();
  if (row !== undefined) return hostOf(row);
  throw new HoldfastError('ResourceNotFound', `There is no host '${name}'.`, {
    details: { type: 'Holdfast.Backup/hosts', name },
  });
}

/** Whether its VMs can run: those of a folder of images cannot. */
export function runsVms({ uri }: Pick<Host, 'uri'>): boolean {
  return !uri.startsWith('images:');
}

/**
 * @param instead what to do, in a few words: `boot on a host of libvirt or QEMU`.
 * @throws {HoldfastError} `ResourceNotFound`, `DefinitionUnsupported`.
 */
export async function requireRunsVms(
  reader: CatalogueReader,
  hostKey: string,
  instead: string,
): Promise<void> {
  const host = await getHost(reader, hostKey);
  if (runsVms(host)) return;
  throw new HoldfastError(
    'DefinitionUnsupported',
    `The host '${host.name}' is a folder of images, which runs no VMs: ${instead}.`,
  );
}

export async function listHosts(reader: CatalogueReader): Promise<readonly Host[]> {
  return (await reader.selectFrom('hosts').selectAll().orderBy('key').execute()).map(hostOf);
}

/**
 * Forgets the host and its VMs; points stay where they are.
 *
 * @throws {HoldfastError} `ResourceNotFound`; `HostInUse` while a VM of it is protected.
 */
export async function removeHost(parts: ServiceParts, name: string): Promise<void> {
  const key = nameKey(name);
  await parts.catalogue.change(async (change) => {
    await getHost(change, name);
    const items = await change
      .selectFrom('items')
      .select('vmName')
      .where('vmGroupKey', '=', key)
      .where('state', 'in', ['IRPending', 'Protected'])
      .execute();
    if (items.length > 0) {
      const names = items.map(({ vmName }) => vmName).join(', ');
      throw new HoldfastError(
        'HostInUse',
        `'${name}' has protected VMs: ${names}. Stop their protection first.`,
      );
    }
    await change.deleteFrom('vms').where('hostKey', '=', key).execute();
    await change.deleteFrom('hosts').where('key', '=', key).execute();
    await noteActivity(parts, change, { action: 'remove host', target: name });
  });
}

export function hostSettingsFromJson(json: string): Pick<Host, 'snapshotsAtOnce'> {
  const { snapshotsAtOnce } = SETTINGS.parse(JSON.parse(json));
  return { snapshotsAtOnce };
}

function hostOf({ name, uri, settings, seenAt, failure }: Row<'hosts'>): Host {
  const { snapshotsAtOnce } = hostSettingsFromJson(settings);
  return {
    name,
    uri,
    snapshotsAtOnce,
    seenAt: seenAt ?? undefined,
    failure: failure ?? undefined,
  };
}
