/** Holdfast.Backup/…/recoveryPoints/{point}/pin, unpin, extend, delete, undelete: what is done with one point. */
import { z } from 'zod';
import {
  deletePoint,
  extendPoint,
  getItem,
  getShownPoint,
  pinPoint,
  undeletePoint,
  unpinPoint,
  type PointName,
} from '#service';
import { ok, route, type Site } from '../frame/route.ts';
import { parseDateTime } from '../frame/wire.ts';
import { itemAt } from '../items/item-names.ts';
import { OWN_POINT } from './own-vault.ts';

const NOTHING = z.strictObject({});
const EXTENSION = z.strictObject({ expiryTime: z.string() });

const ANSWER = z.object({
  name: z.string(),
  isPinned: z.boolean(),
  fate: z.enum(['kept', 'softDeleted', 'removed']),
  /** A class of its tags, `asked`, `pinned`, `latest`, … */
  keptBy: z.string(),
  expiryTime: z.string().optional(),
  softDeletedUntil: z.string().optional(),
  /** That removes a deleted point, where the vault has no soft delete. */
  jobId: z.string().optional(),
});

type Params = Parameters<typeof itemAt>[0] & { readonly point: string };

const act = (
  action: 'pin' | 'unpin' | 'delete' | 'undelete',
  summary: string,
  work: (
    service: Site['service'],
    name: PointName,
  ) => Promise<{ readonly jobId: string | undefined } | void>,
) =>
  route({
    method: 'POST',
    path: `${OWN_POINT}/${action as 'pin'}`,
    summary,
    body: NOTHING,
    isBodyOptional: true,
    answer: ANSWER,
    handle: async ({ service, params }) => {
      const done = await work(service, pointAt(params));
      return ok(await shown(service, pointAt(params), done?.jobId));
    },
  });

export const heldPointRoutes = [
  act('pin', 'Keeps a recovery point until it is unpinned', pinPoint),
  act('unpin', 'Leaves a recovery point to its rules again', unpinPoint),
  act('delete', 'Deletes a recovery point, softly where the vault has soft delete', deletePoint),
  act('undelete', 'Has a recovery point back that was deleted by hand', undeletePoint),
  route({
    method: 'POST',
    path: `${OWN_POINT}/extend`,
    summary: 'Keeps a recovery point longer than its rules do',
    body: EXTENSION,
    answer: ANSWER,
    handle: async ({ service, params, body }) => {
      const name = pointAt(params);
      await extendPoint(service, name, parseDateTime(body.expiryTime, 'expiryTime'));
      return ok(await shown(service, name));
    },
  }),
];

function pointAt(params: Params): PointName {
  return { ...itemAt(params), point: params.point };
}

async function shown(service: Site['service'], name: PointName, jobId?: string) {
  const item = await getItem(service.catalogue.read, name);
  const { point, plan } = await getShownPoint(service, item, name.point);
  const { fate, keptBy, expiresAt, softDeletedUntil } = plan;
  return {
    name: point.id,
    isPinned: point.retention.isPinned === true,
    fate,
    keptBy,
    ...(expiresAt === undefined ? {} : { expiryTime: iso(expiresAt) }),
    ...(softDeletedUntil === undefined ? {} : { softDeletedUntil: iso(softDeletedUntil) }),
    ...(jobId === undefined ? {} : { jobId }),
  };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
