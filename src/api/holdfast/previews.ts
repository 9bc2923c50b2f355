/**
 * Holdfast.Backup/vaults/…/previews: what a change would do to recovery points, point by point and to the byte, before
 * anybody makes it; and …/expire, which does now what the next clean-up would.
 */
import { z } from 'zod';
import {
  getVault,
  previewDeletion,
  previewExpiry,
  previewPolicyEdit,
  previewPolicySwitch,
  startExpiry,
  type Preview,
  type Service,
  type VaultName,
} from '#service';
import { ok, route, vaultOf } from '../frame/route.ts';
import { policyFromWire } from '../policies/policy-from-wire.ts';
import { POLICY_PROPERTIES } from '../policies/policy-wire.ts';
import { acceptedJob } from './accepted-job.ts';
import { OWN_VAULT } from './own-vault.ts';

const VM = z.strictObject({ resourceGroup: z.string(), name: z.string() });

const BODY = z.discriminatedUnion('change', [
  /** A policy is changed, with all its items. */
  z.strictObject({
    change: z.literal('PolicyEdit'),
    policy: z.string(),
    properties: POLICY_PROPERTIES,
  }),
  /** A VM gets another policy; one that is stopped is resumed by it. */
  z.strictObject({ change: z.literal('PolicySwitch'), vm: VM, policy: z.string() }),
  /** What has expired is removed now: of one VM, or of all. */
  z.strictObject({ change: z.literal('Expire'), vm: VM.optional() }),
  /** Protection is stopped and the data deleted. */
  z.strictObject({ change: z.literal('DeleteData'), vm: VM }),
]);

const FATE = z.enum(['Kept', 'SoftDeleted', 'Removed']);
const STATE = z.object({
  fate: FATE,
  /** A class of its tags, `asked`, `pinned`, `latest`, `lostByPolicy`, … */
  keptBy: z.string(),
  /** Absent: no date. */
  expiryTime: z.string().optional(),
});
const COUNTS = z.object({ kept: z.int(), softDeleted: z.int(), removed: z.int() });

const ANSWER = z.object({
  time: z.string(),
  points: COUNTS,
  /** By how many bytes the vault's live data falls when the removed points have gone, all together. */
  freedBytes: z.int(),
  /** By how many more when the soft-deleted ones have gone too. */
  softDeletedBytes: z.int(),
  /** Present: the vault is immutable, and would refuse the change for that. */
  refusal: z.object({ code: z.string(), message: z.string() }).optional(),
  value: z.array(
    z.object({
      vm: VM,
      recoveryPoints: z.array(
        STATE.extend({
          name: z.string(),
          time: z.string(),
          tags: z.array(z.object({ class: z.string(), until: z.string().optional() })),
          softDeletedUntil: z.string().optional(),
          before: STATE,
        }),
      ),
    }),
  ),
});

const EXPIRE = z.strictObject({ vm: VM.optional() });

export const pointPreviewRoutes = [
  route({
    method: 'POST',
    path: `${OWN_VAULT}/previews`,
    summary: 'Tells what a change would do to recovery points, and how many bytes it would free',
    body: BODY,
    answer: ANSWER,
    handle: async ({ service, params, body }) =>
      ok(previewToWire(await previewOf(service, vaultOf(params), body))),
  }),
  route({
    method: 'POST',
    path: `${OWN_VAULT}/expire`,
    summary: 'Removes now the recovery points that have expired: starts a job',
    body: EXPIRE,
    isBodyOptional: true,
    handle: async (request) => {
      const { service, params } = request;
      const vault = await getVault(service.catalogue.read, vaultOf(params));
      const vm = (request.body as z.infer<typeof EXPIRE> | undefined)?.vm;
      const { jobId } = await startExpiry(service, vault, vm && vmOf(vm));
      return await acceptedJob(request, vault, { kind: 'Expire', target: vault.name, jobId });
    },
  }),
];

async function previewOf(
  service: Service,
  vault: VaultName,
  asked: z.infer<typeof BODY>,
): Promise<Preview> {
  switch (asked.change) {
    case 'PolicyEdit': {
      const draft = policyFromWire(asked.properties);
      return await previewPolicyEdit(service, { vault, name: asked.policy }, draft);
    }
    case 'PolicySwitch':
      return await previewPolicySwitch(service, { vault, vm: vmOf(asked.vm) }, asked.policy);
    case 'Expire':
      return await previewExpiry(service, vault, asked.vm && vmOf(asked.vm));
    case 'DeleteData':
      return await previewDeletion(service, { vault, vm: vmOf(asked.vm) });
  }
}

function vmOf({ resourceGroup, name }: z.infer<typeof VM>) {
  return { group: resourceGroup, name };
}

type WirePreview = z.infer<typeof ANSWER>;
type Planned = Preview['items'][number]['points'][number];

function previewToWire(preview: Preview): WirePreview {
  const { at, items, freedBytes, softDeletedBytes, refusal } = preview;
  const all = items.flatMap(({ points }) => points);
  const count = (fate: Planned['fate']): number => all.filter((one) => one.fate === fate).length;
  return {
    time: iso(at),
    points: {
      kept: count('kept'),
      softDeleted: count('softDeleted'),
      removed: count('removed'),
    },
    freedBytes,
    softDeletedBytes,
    ...(refusal && { refusal: { code: refusal.code, message: refusal.message } }),
    value: items.map(({ item, points }) => ({
      vm: { resourceGroup: item.vmGroup, name: item.vmName },
      recoveryPoints: points.map((point) => ({
        name: point.id,
        time: iso(point.takenAt),
        tags: point.tags.map(({ class: of, until }) => ({ class: of, ...dated('until', until) })),
        ...stateToWire(point),
        ...dated('softDeletedUntil', point.softDeletedUntil),
        before: stateToWire(point.before),
      })),
    })),
  };
}

const FATES = { kept: 'Kept', softDeleted: 'SoftDeleted', removed: 'Removed' } as const;

function stateToWire({ fate, keptBy, expiresAt }: Planned['before']) {
  return { fate: FATES[fate], keptBy, ...dated('expiryTime', expiresAt) };
}

function dated<const Name extends string>(name: Name, ms: number | undefined) {
  return (ms === undefined ? {} : { [name]: iso(ms) }) as { readonly [Key in Name]?: string };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
