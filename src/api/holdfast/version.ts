/** Holdfast.Backup: which Holdfast this is, and what it can be asked. */
import { z } from 'zod';
import { ok, route } from '../frame/route.ts';

export const versionRoutes = [
  route({
    method: 'GET',
    path: '/providers/Holdfast.Backup/version',
    summary: 'Tells the version of the service',
    isVersioned: false,
    answer: z.object({
      version: z.string(),
      tenantId: z.string(),
      subscriptionId: z.string(),
      /** Of whoever asks. */
      clientId: z.string(),
      time: z.string(),
    }),
    handle: async ({ service, access, caller }) =>
      ok({
        version: service.caller.version,
        tenantId: access.tenantId,
        subscriptionId: access.subscriptionId,
        clientId: caller!.clientId,
        time: new Date(service.clock.nowMs()).toISOString(),
      }),
  }),
];
