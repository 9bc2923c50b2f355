/** Holdfast.Backup: when a policy would run, before anybody saves it or after. */
import { z } from 'zod';
import { getPolicy, previewRuns, validatePolicy, type BackupPolicy } from '#service';
import { GROUP, ok, route, SUBSCRIPTION, vaultOf, type Site } from '../frame/route.ts';
import { policyFromWire } from '../policies/policy-from-wire.ts';
import { POLICY_PROPERTIES } from '../policies/policy-wire.ts';

const COUNT = z.int().min(1).max(1000).optional();
const FROM = z.iso.datetime({ offset: true }).optional();

const DRAFT = z.strictObject({ properties: POLICY_PROPERTIES, from: FROM, count: COUNT });
const ASKED = z.strictObject({ from: FROM, count: COUNT });

const ANSWER = z.object({
  value: z.array(
    z.object({
      /** The instant, in UTC. */
      time: z.string(),
      /** The same on the wall of the policy's time zone, with its offset then. */
      localTime: z.string(),
      policyDate: z.string(),
      /** Of an hourly schedule the one whose point goes to the vault. */
      isLastOfPolicyDay: z.boolean(),
    }),
  ),
});

const DEFAULT_COUNT = 10;
const LAST_YEAR = 9000;

export const previewRoutes = [
  route({
    method: 'POST',
    path: `${SUBSCRIPTION}/providers/Holdfast.Backup/previewRuns`,
    summary: 'Tells when a policy that is not saved would start backups',
    body: DRAFT,
    answer: ANSWER,
    handle: async (request) => {
      const { properties, ...asked } = request.body;
      return ok(preview(request, validatePolicy(policyFromWire(properties)), asked));
    },
  }),
  route({
    method: 'POST',
    path: `${GROUP}/providers/Holdfast.Backup/vaults/{vault}/backupPolicies/{policy}/previewRuns`,
    summary: 'Tells when a policy starts backups',
    body: ASKED,
    isBodyOptional: true,
    answer: ANSWER,
    handle: async (request) => {
      const { service, params } = request;
      const at = { vault: vaultOf(params), name: params.policy };
      const { policy } = await getPolicy(service.catalogue.read, at);
      return ok(preview(request, policy, (request.body as typeof request.body | undefined) ?? {}));
    },
  }),
];

function preview(
  { service }: Site,
  policy: BackupPolicy,
  { from, count = DEFAULT_COUNT }: z.infer<typeof ASKED>,
) {
  const wanted = from === undefined ? service.clock.nowMs() : Date.parse(from);
  const fromMs = Math.min(Math.max(wanted, 0), Date.UTC(LAST_YEAR, 0, 1));
  const { dstFollowsAzure } = service.settings;
  const runs = previewRuns(policy, { fromMs, count }, { dstFollowsAzure });
  const value = runs.map(({ atMs, ...run }) => ({ time: new Date(atMs).toISOString(), ...run }));
  return { value };
}
