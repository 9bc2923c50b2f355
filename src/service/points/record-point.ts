/** A point that the repository has gets its place in documents and catalogue. */
import { describeVmPoint, type VmPointDescription } from '#backup';
import type { Row } from '../catalogue/schema.ts';
import { changeItem } from '../items/change-item.ts';
import { runningPolicy } from '../consistency-groups/running-policy.ts';
import type { Item } from '../items/items.ts';
import type { LastBackup } from '../items/last-backup.ts';
import { datingBy, ownClass } from '../retention/expiry-dates.ts';
import { dateOf } from '../retention/plan.ts';
import { retentionToJson, UNTAGGED, type PointRetention } from '../retention/point-retention.ts';
import { tagsFor } from '../retention/tag-point.ts';
import { newestRun, type ScheduledRun } from '../schedule/runs.ts';
import type { ServiceParts } from '../service-parts.ts';
import { policyOfItem, retainedPoints } from './planned-points.ts';
import { pointFactsOf, pointFactsToJson, type PointOrigin } from './point-facts.ts';
import { retainedOf } from './points.ts';

export type PointToRecord = {
  readonly item: Item;
  readonly point: string;
  readonly jobId: string;
} & PointSource;

export type PointSource = {
  readonly origin: PointOrigin;
  /** Of a scheduled one. */
  readonly run?: ScheduledRun | undefined;
  /** Of an on-demand one. */
  readonly expiresAt?: number | undefined;
};

/**
 * Bears being done again: a point that is recorded stays as it is. Not inside `repositories.use`.
 *
 * @returns until when it is kept; undefined: no rule and no wish says.
 */
export async function recordPoint(
  parts: ServiceParts,
  of: PointToRecord,
): Promise<number | undefined> {
  const { point: id, jobId } = of;
  const description = await parts.repositories.use(
    of.item.vaultId,
    async (repository) => await describeVmPoint(repository, id),
  );
  const endedAt = parts.clock.nowMs();
  return await changeItem(parts, of.item, async (item) => {
    const row = await newPointRow(parts, item, { ...of, description, jobId });
    const pointAt = description.timeMs;
    const lastBackup: LastBackup = { status: 'Completed', endedAt, pointAt };
    return {
      item: {
        lastBackup: JSON.stringify(lastBackup),
        // Stopped meanwhile, it stays stopped.
        // Since when runs are owed (R18) stays: it has been protected before.
        ...(item.state === 'IRPending' ? { state: 'Protected' } : {}),
      },
      newPoints: [row],
      also: async (change) =>
        dateOf(datingBy(await policyOfItem(change, item)), retainedOf(row)).until,
    };
  });
}

/** With the tags that it gets (R17); its item's other points are looked at in the catalogue. */
export async function newPointRow(
  parts: ServiceParts,
  item: Item,
  of: PointSource & { readonly description: VmPointDescription; readonly jobId: string | null },
): Promise<Row<'points'>> {
  const { description, origin, jobId, expiresAt = null } = of;
  const { point: id, timeMs: takenAt, consistency } = description;
  const retention = await retentionOf(parts, item, { ...of, takenAt });
  return {
    id,
    itemId: item.id,
    takenAt,
    consistency,
    origin,
    jobId,
    expiresAt,
    retention: retentionToJson(retention),
    facts: pointFactsToJson(pointFactsOf(description)),
  };
}

async function retentionOf(
  { catalogue, settings }: ServiceParts,
  item: Item,
  { origin, run: scheduled, takenAt }: PointSource & { readonly takenAt: number },
): Promise<PointRetention> {
  const own = await policyOfItem(catalogue.read, item);
  if (origin !== 'scheduled' || own === undefined) return UNTAGGED;
  const policy = await runningPolicy(catalogue.read, item, own);
  const options = { dstFollowsAzure: settings.dstFollowsAzure };
  const run = scheduled ?? newestRun(policy, takenAt, options);
  const others = await retainedPoints(catalogue.read, item.id);
  const earlierRuns = others
    .filter((point) => point.origin === 'scheduled')
    .map((point) => point.retention.runAt ?? point.takenAt);
  const sinceMs = Math.max(item.createdAt, item.stateSince);
  const tags = tagsFor(policy, { run, earlierRuns, sinceMs }, options);
  // A group may run on days that the item's policy does not know.
  return { runAt: run.atMs, tags: tags.length > 0 ? tags : [{ class: ownClass(own) }] };
}
