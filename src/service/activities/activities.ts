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
  /** A name: of a VM or a vault with its group, a policy, a host. */
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
 * Of a protected VM, by GROUP/NAME; the details begin with its vault, and the policy that it has in `change`. Noted
 * before its row goes, where it does.
 */
export async function noteItemActivity(
  parts: Pick<RecordParts, 'clock' | 'actor'>,
  change: CatalogueChange,
  of: { readonly item: string; readonly action: string; readonly detail?: object },
): Promise<void> {
  const { vmGroup, vmName, group, vault, policy } = await change
    .selectFrom('items')
    .innerJoin('vaults', 'vaults.id', 'items.vaultId')
    .innerJoin('resourceGroups', 'resourceGroups.key', 'vaults.groupKey')
    .leftJoin('policies', 'policies.id', 'items.policyId')
    .select(['items.vmGroup', 'items.vmName', 'resourceGroups.name as group'])
    .select(['vaults.name as vault', 'policies.name as policy'])
    .where('items.id', '=', of.item)
    .executeTakeFirstOrThrow();
  const detail = {
    vault: `${group}/${vault}`,
    ...(policy === null ? {} : { policy }),
    ...of.detail,
  };
  await noteActivity(parts, change, { action: of.action, target: `${vmGroup}/${vmName}`, detail });
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
