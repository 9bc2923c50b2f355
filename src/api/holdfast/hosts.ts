/** Holdfast.Backup/hosts: hypervisors of this machine. Each is a resource group whose VMs it lists. */
import { z } from 'zod';
import { HoldfastError, isHoldfastError } from '#base';
import {
  discoverHost,
  getHost,
  listHosts,
  listVms,
  putHost,
  removeHost,
  type Host,
} from '#service';
import { listAnswer } from '../frame/paging.ts';
import { ok, route, SUBSCRIPTION, type Site } from '../frame/route.ts';
import { ANSWERED, requireLocation } from '../frame/wire.ts';
import { subscriptionId } from '../ids.ts';

const TYPE = 'Holdfast.Backup/hosts';
const HOSTS = `${SUBSCRIPTION}/providers/${TYPE}` as const;
const HOST = `${HOSTS}/{host}` as const;

const BODY = z.strictObject({
  ...ANSWERED,
  location: z.string().optional(),
  properties: z.strictObject({
    /** As `--connect` takes it: `qemu:///system`, `qmp:/run/vm.sock`, `images:/srv/images`. */
    connect: z.string().min(1).max(4096),
    /** Absent: the service's limit. */
    snapshotsAtOnce: z.int().min(1).max(1000).nullish(),
    /** `qmp:` only: whether no QEMU needs to listen there yet. */
    allowAbsent: z.boolean().nullish(),
    vmCount: z.unknown().optional(),
    lastSeenTime: z.unknown().optional(),
    failure: z.unknown().optional(),
  }),
});

const ANSWER = z.object({
  id: z.string(),
  name: z.string(),
  type: z.literal(TYPE),
  properties: z.object({
    connect: z.string(),
    snapshotsAtOnce: z.int().nullable(),
    vmCount: z.int(),
    lastSeenTime: z.string().nullable(),
    failure: z.string().nullable(),
  }),
});

export const hostRoutes = [
  route({
    method: 'GET',
    path: HOSTS,
    summary: 'Lists the hosts',
    answer: z.object({ value: z.array(ANSWER), nextLink: z.string().optional() }),
    handle: async (request) => {
      const hosts = await listHosts(request.service.catalogue.read);
      const value = await Promise.all(hosts.map(async (host) => await toWire(request, host)));
      return listAnswer(request, value);
    },
  }),
  route({
    method: 'GET',
    path: HOST,
    summary: 'Shows a host',
    answer: ANSWER,
    handle: async (request) => {
      const host = await getHost(request.service.catalogue.read, request.params.host);
      return ok(await toWire(request, host));
    },
  }),
  route({
    method: 'PUT',
    path: HOST,
    summary: 'Adds a host, or changes it, and lists its VMs; its resource group is made',
    body: BODY,
    answer: ANSWER,
    handle: async (request) => {
      const { service, params, body } = request;
      requireLocation(body.location);
      const { connect: uri, snapshotsAtOnce, allowAbsent } = body.properties;
      const limit = snapshotsAtOnce == null ? {} : { snapshotsAtOnce };
      const allowsAbsent = allowAbsent === true;
      const isThere = (await listHosts(service.catalogue.read)).some(
        ({ name }) => name.toLowerCase() === params.host.toLowerCase(),
      );
      const { name } = await reached(
        async () => await putHost(service, { name: params.host, uri, ...limit, allowsAbsent }),
      );
      await discoverHost(service, name);
      const host = await getHost(service.catalogue.read, name);
      return { ...ok(await toWire(request, host)), status: isThere ? 200 : 201 };
    },
  }),
  route({
    method: 'DELETE',
    path: HOST,
    summary: 'Forgets a host and its VMs; none of them may be protected',
    handle: async ({ service, params }) => {
      await removeHost(service, params.host);
      return { status: 200 };
    },
  }),
  route({
    method: 'POST',
    path: `${HOST}/refresh`,
    summary: 'Lists the VMs of a host anew',
    answer: ANSWER,
    handle: async (request) => {
      const { service, params } = request;
      const { name } = await getHost(service.catalogue.read, params.host);
      await discoverHost(service, name);
      return ok(await toWire(request, await getHost(service.catalogue.read, name)));
    },
  }),
];

/** An address that does not work is a mistake in the request. */
async function reached<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!isHoldfastError(error) || error.kind !== 'unavailable') throw error;
    throw new HoldfastError('ArgumentInvalid', error.message, { cause: error });
  }
}

async function toWire(site: Site, host: Host) {
  const { name, uri, snapshotsAtOnce, seenAt, failure } = host;
  const vms = await listVms(site.service.catalogue.read, name);
  return {
    id: `${subscriptionId(site)}/providers/${TYPE}/${name}`,
    name,
    type: TYPE,
    properties: {
      connect: uri,
      snapshotsAtOnce: snapshotsAtOnce ?? null,
      vmCount: vms.length,
      lastSeenTime: seenAt === undefined ? null : new Date(seenAt).toISOString(),
      failure: failure ?? null,
    },
  };
}
