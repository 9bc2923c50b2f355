/** Who did what, newest last: noted in the same change as what was done, so that neither is there without the other. */
import type { CatalogueChange, CatalogueReader } from '../catalogue/catalogue.ts';
import type { RecordParts } from '../record-parts.ts';

/** What is done by itself, not by a user. */
const SERVICE = 'service';

export type Activity = {
  readonly at: number;
  /** A principal's client id, or `service`. */
  readonly actor: string;
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

/** Newest first; of those since `from` where given. */
export async function listActivities(
  reader: CatalogueReader,
  { from }: { readonly from?: number } = {},
): Promise<readonly Activity[]> {
  let query = reader.selectFrom('activities').selectAll().orderBy('id', 'desc');
  if (from !== undefined) query = query.where('at', '>=', from);
  return (await query.execute()).map(({ at, actor, action, target, detail }) => ({
    at,
    actor,
    action,
    target,
    detail: JSON.parse(detail),
  }));
}
