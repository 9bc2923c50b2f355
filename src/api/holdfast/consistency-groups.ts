/** Holdfast.Backup/vaults/…/consistencyGroups: VMs of a vault that are backed up at one instant. */
import { z } from 'zod';
import {
  backUpGroupNow,
  deleteGroup,
  getGroup,
  getVault,
  listGroups,
  putGroup,
  type ConsistencyGroup,
  type VaultName,
} from '#service';
import { entityTag, requireNew, requireThere, wantedRevision } from '../frame/conditions.ts';
import { listAnswer } from '../frame/paging.ts';
import { ok, route, vaultOf, type ApiAnswer, type Site } from '../frame/route.ts';
import { parseDateTime } from '../frame/wire.ts';
import { parseResourceId, resourceId, vaultId, VM_TYPE } from '../ids.ts';
import { itemId } from '../items/item-names.ts';
import { policyNameOf } from '../items/item-request.ts';
import { acceptedJob } from './accepted-job.ts';
import { OWN_VAULT } from './own-vault.ts';

const GROUPS = `${OWN_VAULT}/consistencyGroups` as const;
const ONE = `${GROUPS}/{consistencyGroup}` as const;
const TYPE = 'Holdfast.Backup/vaults/consistencyGroups';
const ID = z.string().min(1).max(4096);

const BODY = z.strictObject({
  properties: z.strictObject({
    /** Protected VMs of the vault, two or more. */
    virtualMachineIds: z.array(ID).max(1000),
    /** A policy of the vault whose schedule runs the group; absent: it is backed up on demand. */
    policyId: ID.nullish(),
  }),
});

const BACKUP = z.strictObject({
  properties: z.strictObject({ recoveryPointExpiryTimeInUTC: z.string().nullish() }).optional(),
});

const ANSWER = z.object({
  id: z.string(),
  name: z.string(),
  type: z.literal(TYPE),
  etag: z.string(),
  properties: z.object({
    /** As points name it. */
    groupId: z.string(),
    virtualMachineIds: z.array(z.string()),
    members: z.array(
      z.object({
        virtualMachineId: z.string(),
        protectedItemId: z.string(),
        protectionState: z.string(),
      }),
    ),
    policyId: z.string().optional(),
    lastRunTime: z.string().optional(),
    nextRunTime: z.string().optional(),
  }),
});

export const consistencyGroupRoutes = [
  route({
    method: 'GET',
    path: GROUPS,
    summary: 'Lists the consistency groups of a vault',
    answer: z.object({ value: z.array(ANSWER), nextLink: z.string().optional() }),
    handle: async (request) => {
      const { service, params } = request;
      const vault = await getVault(service.catalogue.read, vaultOf(params));
      const groups = await listGroups(service.catalogue.read, vault);
      return listAnswer(
        request,
        groups.map((group) => groupToWire(request, vault, group)),
      );
    },
  }),
  route({
    method: 'GET',
    path: ONE,
    summary: 'Shows a consistency group',
    answer: ANSWER,
    handle: async (request) => {
      const { service, params } = request;
      const vault = await getVault(service.catalogue.read, vaultOf(params));
      const group = await getGroup(service.catalogue.read, groupAt(params));
      return shown(request, vault, group);
    },
  }),
  route({
    method: 'PUT',
    path: ONE,
    summary: 'Makes a consistency group, or changes it',
    body: BODY,
    answer: ANSWER,
    handle: async (request) => {
      const { service, params, body } = request;
      const vault = await getVault(service.catalogue.read, vaultOf(params));
      const { virtualMachineIds, policyId } = body.properties;
      const members = virtualMachineIds.map((id) =>
        parseResourceId(request, { id, type: VM_TYPE, field: 'virtualMachineIds' }),
      );
      const policy = policyId == null ? undefined : policyNameOf(request, vault, policyId);
      const { headers } = request;
      const name = groupAt(params);
      const isThere = (await listGroups(service.catalogue.read, vault)).some(
        (group) => group.name.toLowerCase() === name.name.toLowerCase(),
      );
      requireNew(headers, isThere);
      requireThere(headers, isThere);
      const wanted = { members, policy, revision: wantedRevision(headers) };
      const group = await putGroup(service, name, wanted);
      return shown(request, vault, group);
    },
  }),
  route({
    method: 'DELETE',
    path: ONE,
    summary: 'Deletes a consistency group; its VMs stay protected, and points stay',
    handle: async ({ service, params }) => ({
      status: (await deleteGroup(service, groupAt(params))) ? 200 : 204,
    }),
  }),
  route({
    method: 'POST',
    path: `${ONE}/backup`,
    summary: 'Backs all VMs of a consistency group up at one instant: starts a job',
    body: BACKUP,
    isBodyOptional: true,
    handle: async (request) => {
      const { service, params, body } = request;
      const vault = await getVault(service.catalogue.read, vaultOf(params));
      const asked = (body as z.infer<typeof BACKUP> | undefined)?.properties;
      const expiry = asked?.recoveryPointExpiryTimeInUTC ?? undefined;
      const expiresAt =
        expiry === undefined ? undefined : parseDateTime(expiry, 'recoveryPointExpiryTimeInUTC');
      const name = groupAt(params);
      const { jobId } = await backUpGroupNow(service, name, expiresAt);
      return await acceptedJob(request, vault, { kind: 'GroupBackup', target: name.name, jobId });
    },
  }),
];

function groupAt(params: {
  readonly group: string;
  readonly vault: string;
  readonly consistencyGroup: string;
}) {
  return { vault: vaultOf(params), name: params.consistencyGroup };
}

function shown(site: Site, vault: VaultName, group: ConsistencyGroup): ApiAnswer {
  return ok(groupToWire(site, vault, group), { ETag: entityTag(group.revision) });
}

function groupToWire(
  site: Site,
  vault: VaultName,
  group: ConsistencyGroup,
): z.infer<typeof ANSWER> {
  const { id, name, members, policy, lastRunAt, nextRunAt } = group;
  const there = members.map(({ vmGroup, vmName, state }) => {
    const vm = { group: vmGroup, name: vmName };
    return {
      virtualMachineId: resourceId(site, { ...vm, type: VM_TYPE }),
      protectedItemId: itemId(site, vault, vm),
      protectionState: state === 'SoftDeleted' ? 'ProtectionStopped' : state,
    };
  });
  const own = { group: vault.group, type: 'Holdfast.Backup/vaults', name: vault.name };
  return {
    id: `${resourceId(site, own)}/consistencyGroups/${name}`,
    name,
    type: TYPE,
    etag: entityTag(group.revision),
    properties: {
      groupId: id,
      virtualMachineIds: there.map(({ virtualMachineId }) => virtualMachineId),
      members: there,
      ...(policy === undefined
        ? {}
        : { policyId: `${vaultId(site, vault)}/backupPolicies/${policy.name}` }),
      ...(lastRunAt === undefined ? {} : { lastRunTime: new Date(lastRunAt).toISOString() }),
      ...(nextRunAt === undefined ? {} : { nextRunTime: new Date(nextRunAt).toISOString() }),
    },
  };
}
