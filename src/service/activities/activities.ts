/** Who did what, newest last: noted in the same change as what was done, so that neither is there without the other. */
import type { CatalogueChange, CatalogueReader } from '../catalogue/catalogue.ts';
import type { RecordParts } from '../record-parts.ts';

/** What is done by itself, not by a user. */
const SERVICE = 'service';

export type Activity = {
  /** In the order of what was done. */
  readonly id: number;
  readonly at: number;
  /** A principal's client id, or `service`. */
  readonly actor: string;
  /** Of the principal; undefined: the service, or one that is deleted. */
  readonly actorName: string | undefined;
  /** `protect`, `delete data`, `restore`, … */
  readonly action: string;
  /** A name: of a VM, a vault, a policy, a host. */
  readonly target: string;
  /** Plain facts; never secrets. */
  readonly detail: unknown;
};

export async function noteActivity(
  { clock, actor = SERVICE }: Pick<RecordParts, 'clock' | 'actor'>,
  change: CatalogueChange,
  activity: Pick<Activity, 'action' | 'target'> & { readonly detail?: unknown },
): Promise<void> {
  const { action, target, detail = {} } = activity;
  await change
    .insertInto('activities')
    .values({ at: clock.nowMs(), actor, action, target, detail: JSON.stringify(detail) })
    .execute();
}

/**
 * Newest first.
 *
 * @param which `from`: of those since then; `before`: of those older than the one of this id; `count`: at most so many.
 */
export async function listActivities(
  reader: CatalogueReader,
  which: { readonly from?: number; readonly before?: number; readonly count?: number } = {},
): Promise<readonly Activity[]> {
  const { from, before, count } = which;
  let query = reader
    .selectFrom('activities')
    .leftJoin('principals', 'principals.clientId', 'activities.actor')
    .selectAll('activities')
    .select('principals.name as actorName')
    .orderBy('activities.id', 'desc');
  if (from !== undefined) query = query.where('activities.at', '>=', from);
  if (before !== undefined) query = query.where('activities.id', '<', before);
  if (count !== undefined) query = query.limit(count);
  return (await query.execute()).map(({ id, at, actor, actorName, action, target, detail }) => ({
    id,
    at,
    actor,
    actorName: actorName ?? undefined,
    action,
    target,
    detail: JSON.parse(detail),
  }));
}
