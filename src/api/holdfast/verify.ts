/** Holdfast.Backup/vaults/…/verify: whether all that a vault holds can be read, and is what was stored. */
import { z } from 'zod';
import { getVault, startVerify } from '#service';
import { route, vaultOf } from '../frame/route.ts';
import { acceptedJob } from './accepted-job.ts';
import { OWN_VAULT } from './own-vault.ts';

const BODY = z.strictObject({
  properties: z
    .strictObject({
      /** The share of the data that is read too; absent: metadata only. */
      readDataPercent: z.number().gt(0).max(100).nullish(),
    })
    .optional(),
});

export const verifyRoutes = [
  route({
    method: 'POST',
    path: `${OWN_VAULT}/verify`,
    summary: 'Verifies a vault: starts a job',
    body: BODY,
    isBodyOptional: true,
    handle: async (request) => {
      const { service, params, body } = request;
      const vault = await getVault(service.catalogue.read, vaultOf(params));
      const asked = (body as z.infer<typeof BODY> | undefined)?.properties?.readDataPercent;
      const { jobId } = await startVerify(service, vault, asked ?? undefined);
      return await acceptedJob(request, vault, { kind: 'Verify', target: vault.name, jobId });
    },
  }),
];
