/** Holdfast.Backup/vaults: what Azure does not know of a vault: its repository, and the key to it. */
import { z } from 'zod';
import {
  createVault,
  forgetVault,
  getVault,
  makeVaultRecoveryKey,
  whyOutOfReach,
  type Vault,
} from '#service';
import { GROUP, ok, route, vaultOf, type Site } from '../frame/route.ts';
import { ANSWERED, requireLocation, TAGS } from '../frame/wire.ts';
import { resourceId, vaultId } from '../ids.ts';

const TYPE = 'Holdfast.Backup/vaults';
const VAULT = `${GROUP}/providers/${TYPE}/{vault}` as const;

const BODY = z.strictObject({
  ...ANSWERED,
  location: z.string().optional(),
  tags: TAGS,
  properties: z.strictObject({
    /** An absolute path of this machine: an empty folder, or one that is not there. Absent: in the data folder. */
    repository: z.string().min(1).max(4096).startsWith('/').optional(),
  }),
});

const ANSWER = z.object({
  id: z.string(),
  name: z.string(),
  type: z.literal(TYPE),
  location: z.string(),
  properties: z.object({
    repository: z.string(),
    repositoryId: z.string(),
    /** Whether somebody has fetched a recovery key. */
    hasRecoveryKey: z.boolean(),
    /** Unreachable: it could not be opened since the service started, and is tried again. */
    repositoryState: z.enum(['Ready', 'Unreachable']),
    /** Why it is unreachable, and when it is tried again; else null. */
    failure: z.string().nullable(),
    nextTryTime: z.string().nullable(),
    vaultId: z.string(),
  }),
});

export const vaultRepositoryRoutes = [
  route({
    method: 'GET',
    path: VAULT,
    summary: 'Shows where the repository of a vault is',
    answer: ANSWER,
    handle: async (request) => {
      const vault = await getVault(request.service.catalogue.read, vaultOf(request.params));
      return ok(toWire(request, vault));
    },
  }),
  route({
    method: 'PUT',
    path: VAULT,
    summary: 'Creates a vault whose repository is at a place of its own',
    body: BODY,
    answer: ANSWER,
    handle: async (request) => {
      const { service, params, body } = request;
      requireLocation(body.location);
      const { repository } = body.properties;
      const name = vaultOf(params);
      const wanted = { ...name, tags: body.tags ?? {}, settings: {}, repository };
      const vault = await createVault(service, wanted);
      return { ...ok(toWire(request, vault)), status: 201 };
    },
  }),
  route({
    method: 'POST',
    path: `${VAULT}/recoveryKey`,
    summary: 'Makes another key to the repository of a vault, and tells it once',
    answer: z.object({ recoveryKey: z.string(), repository: z.string() }),
    handle: async ({ service, params }) => {
      const name = vaultOf(params);
      const recoveryKey = await makeVaultRecoveryKey(service, name);
      const { repository } = await getVault(service.catalogue.read, name);
      return ok({ recoveryKey, repository });
    },
  }),
  route({
    method: 'POST',
    path: `${VAULT}/forget`,
    summary:
      'Deletes a vault whose repository is gone for good; what is left of that is not touched',
    answer: z.object({
      repository: z.string(),
      /** Of the service: it holds the sealed key to the repository. */
      folder: z.string(),
    }),
    handle: async ({ service, params }) => ok(await forgetVault(service, vaultOf(params))),
  }),
];

function toWire(site: Site, vault: Vault) {
  const { group, name, location, repository, repositoryId, hasRecoveryKey } = vault;
  const why = site.service.reach.all().get(vault.id);
  const nextTryAt = why?.nextTryAt;
  return {
    id: resourceId(site, { group, type: TYPE, name }),
    name,
    type: TYPE,
    location,
    properties: {
      repository,
      repositoryId,
      hasRecoveryKey,
      repositoryState: why === undefined ? 'Ready' : 'Unreachable',
      failure: why === undefined ? null : whyOutOfReach(why),
      nextTryTime: nextTryAt === undefined ? null : new Date(nextTryAt).toISOString(),
      vaultId: vaultId(site, vault),
    },
  };
}
