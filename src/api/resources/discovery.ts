/** What clients ask before they have signed in. */
import { ok, route } from '../frame/route.ts';

export const discoveryRoutes = [
  route({
    method: 'GET',
    path: '/healthz',
    summary: 'Tells that the service answers',
    isPublic: true,
    handle: async ({ service }) => {
      await service.catalogue.read.selectFrom('facts').select('name').limit(1).execute();
      return ok({ status: 'ok', version: service.caller.version });
    },
  }),
  route({
    method: 'GET',
    path: '/metadata/endpoints',
    summary: 'Tells az cloud register where to sign in',
    isPublic: true,
    handle: async ({ baseUrl }) =>
      ok({
        galleryEndpoint: baseUrl,
        graphEndpoint: `${baseUrl}/`,
        portalEndpoint: baseUrl,
        authentication: { loginEndpoint: `${baseUrl}/adfs`, audiences: [baseUrl] },
      }),
  }),
];
