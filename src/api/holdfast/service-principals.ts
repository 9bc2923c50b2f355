/** Holdfast.Backup/servicePrincipals: who may sign in. A secret is told once, by what makes it. */
import { z } from 'zod';
import {
  createPrincipal,
  deletePrincipal,
  getPrincipal,
  listPrincipals,
  rotateSecret,
  type NewPrincipal,
  type Principal,
} from '#service';
import { listAnswer } from '../frame/paging.ts';
import { ok, route, SUBSCRIPTION, type Site } from '../frame/route.ts';
import { subscriptionId } from '../ids.ts';

const TYPE = 'Holdfast.Backup/servicePrincipals';
const PRINCIPALS = `${SUBSCRIPTION}/providers/${TYPE}` as const;
const PRINCIPAL = `${PRINCIPALS}/{clientId}` as const;

const BODY = z.strictObject({
  properties: z.strictObject({ displayName: z.string().min(1).max(90) }),
});

const PROPERTIES = { clientId: z.string(), displayName: z.string(), createdTime: z.string() };
const RESOURCE = { id: z.string(), name: z.string(), type: z.literal(TYPE) };
const ANSWER = z.object({ ...RESOURCE, properties: z.object(PROPERTIES) });
const WITH_SECRET = z.object({
  ...RESOURCE,
  properties: z.object({ ...PROPERTIES, clientSecret: z.string() }),
});

export const servicePrincipalRoutes = [
  route({
    method: 'GET',
    path: PRINCIPALS,
    summary: 'Lists the service principals',
    answer: z.object({ value: z.array(ANSWER), nextLink: z.string().optional() }),
    handle: async (request) => {
      const principals = await listPrincipals(request.service.catalogue.read);
      return listAnswer(
        request,
        principals.map((principal) => toWire(request, principal)),
      );
    },
  }),
  route({
    method: 'POST',
    path: PRINCIPALS,
    summary: 'Creates a service principal, and tells its secret once',
    body: BODY,
    answer: WITH_SECRET,
    handle: async (request) => {
      const { displayName } = request.body.properties;
      const principal = await createPrincipal(request.service, displayName);
      return { ...ok(withSecret(request, principal)), status: 201 };
    },
  }),
  route({
    method: 'GET',
    path: PRINCIPAL,
    summary: 'Shows a service principal',
    answer: ANSWER,
    handle: async (request) => {
      const { service, params } = request;
      return ok(toWire(request, await getPrincipal(service.catalogue.read, params.clientId)));
    },
  }),
  route({
    method: 'DELETE',
    path: PRINCIPAL,
    summary: 'Deletes a service principal; its tokens are void at once',
    handle: async ({ service, params }) => {
      await deletePrincipal(service, params.clientId);
      return { status: 200 };
    },
  }),
  route({
    method: 'POST',
    path: `${PRINCIPAL}/rotateSecret`,
    summary: 'Gives a service principal another secret, and tells it once',
    answer: WITH_SECRET,
    handle: async (request) => {
      const { service, params } = request;
      return ok(withSecret(request, await rotateSecret(service, params.clientId)));
    },
  }),
];

function toWire(site: Site, { clientId, name, createdAt }: Principal) {
  return {
    id: `${subscriptionId(site)}/providers/${TYPE}/${clientId}`,
    name: clientId,
    type: TYPE,
    properties: { clientId, displayName: name, createdTime: new Date(createdAt).toISOString() },
  };
}

function withSecret(site: Site, principal: NewPrincipal) {
  const resource = toWire(site, principal);
  const { clientSecret } = principal;
  return { ...resource, properties: { ...resource.properties, clientSecret } };
}
