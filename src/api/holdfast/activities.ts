/** Holdfast.Backup/activities: who did what, newest first. */
import { z } from 'zod';
import { listActivities, type Activity } from '#service';
import { pageAnswer, pageOf } from '../frame/paging.ts';
import { route, SUBSCRIPTION, type Site } from '../frame/route.ts';
import { subscriptionId } from '../ids.ts';

const TYPE = 'Holdfast.Backup/activities';

const ANSWER = z.object({
  value: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      type: z.literal(TYPE),
      properties: z.object({
        time: z.string(),
        /** The client id of a service principal, or `service` for what is done by itself. */
        actor: z.string(),
        /** Null: the service itself, or an account that is deleted. */
        actorName: z.string().nullable(),
        action: z.string(),
        target: z.string(),
        detail: z.unknown(),
      }),
    }),
  ),
  nextLink: z.string().optional(),
});

export const activityRoutes = [
  route({
    method: 'GET',
    path: `${SUBSCRIPTION}/providers/${TYPE}`,
    summary: 'Lists who did what, the newest first',
    answer: ANSWER,
    handle: async (request) => {
      const { count, lastId } = pageOf(request.query);
      const before = lastId === undefined ? {} : { before: idOf(lastId) };
      // One more says whether there is another page.
      const found = await listActivities(request.service.catalogue.read, {
        ...before,
        count: count + 1,
      });
      const shown = found.slice(0, count).map((activity) => toWire(request, activity));
      return pageAnswer(request, shown, { isLast: found.length <= count });
    },
  }),
];

/** Whatever else a token names: older than all. */
function idOf(resourceId: string): number {
  return Number(/\/(\d+)$/.exec(resourceId)?.[1] ?? 0);
}

function toWire(site: Site, activity: Activity) {
  const { id, at, actor, actorName, action, target, detail } = activity;
  return {
    id: `${subscriptionId(site)}/providers/${TYPE}/${id}`,
    name: String(id),
    type: TYPE,
    properties: {
      time: new Date(at).toISOString(),
      actor,
      actorName: actorName ?? null,
      action,
      target,
      detail,
    },
  };
}
