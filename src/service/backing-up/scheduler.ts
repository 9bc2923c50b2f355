/**
 * Starts scheduled backups (M1): looks at every item with backups at least every `LOOK_MS`, and sooner where the
 * next run is. A run and its note (`lastRunAt`) are one change, so none is done twice or lost; after a pause the
 * newest missed run is caught up once (schedule/due-run.ts). An item whose backup still runs is left alone until
 * that has ended.
 */
import { pause } from '#base';
import type { Row } from '../catalogue/schema.ts';
import { itemsInScheduledGroups } from '../consistency-groups/group-rows.ts';
import { startDueGroups } from '../consistency-groups/start-group-backup.ts';
import { itemOf, type Item } from '../items/items.ts';
import type { BackupPolicy } from '../policy/backup-policy.ts';
import { policyFromJson } from '../policy/policy-json.ts';
import { dueRun } from '../schedule/due-run.ts';
import { nextRun, type ScheduledRun } from '../schedule/runs.ts';
import { startOffsetMs } from '../schedule/start-offset.ts';
import type { ServiceParts } from '../service-parts.ts';
import { addBackup } from './start-backup.ts';

const LOOK_MS = 30_000;

/** Runs until aborted. What goes wrong is told, and tried again with the next look. */
export async function runSchedule(parts: ServiceParts, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    let waitMs = LOOK_MS;
    try {
      waitMs = await startDueBackups(parts);
    } catch (error) {
      parts.log.error({ error: String(error) }, 'scheduled backups could not be started');
    }
    await pause(parts.clock, Math.min(waitMs, LOOK_MS), signal);
  }
}

/** @returns how long until the next item may be due, in ms. */
export async function startDueBackups(parts: ServiceParts): Promise<number> {
  const now = parts.clock.nowMs();
  let next = Math.min(now + LOOK_MS, await startDueGroups(parts));
  const resting = await itemsInScheduledGroups(parts.catalogue.read);
  for (const { item, policy, changedAt } of await scheduledItems(parts)) {
    if (resting.has(item.id)) continue; // Its group is scheduled in its place.
    const options = { dstFollowsAzure: parts.settings.dstFollowsAzure };
    const offsetMs = startOffsetMs(item.id, policy, parts.settings.spreadMs);
    const question = {
      nowMs: now,
      ...(item.lastRunAt === undefined ? {} : { lastRunMs: item.lastRunAt }),
      sinceMs: Math.max(item.stateSince, changedAt, item.createdAt),
      startOffsetMs: offsetMs,
    };
    const run = dueRun(policy, question, options);
    // The next start, which may be of a run whose time has come and whose offset has not.
    const nextRunAt = nextRun(policy, now - offsetMs, options).atMs + offsetMs;
    if (run !== undefined) await startRun(parts, { item, run, nextRunAt });
    else if (item.nextRunAt !== nextRunAt) await noteNextRun(parts, item, nextRunAt);
    next = Math.min(next, nextRunAt);
  }
  return Math.max(0, next - now);
}

type Scheduled = {
  readonly item: Item;
  readonly policy: BackupPolicy;
  /** When the policy was changed last: runs count from there. */
  readonly changedAt: number;
};

async function scheduledItems({ catalogue }: ServiceParts): Promise<readonly Scheduled[]> {
  const rows = await catalogue.read
    .selectFrom('items')
    .innerJoin('policies', 'policies.id', 'items.policyId')
    .selectAll('items')
    .select(['policies.body', 'policies.changedAt'])
    .where('items.state', 'in', ['IRPending', 'Protected'])
    .execute();
  const policies = new Map<string, BackupPolicy>();
  return rows.map(({ body, changedAt, ...row }) => {
    const policy = policies.get(body) ?? policyFromJson(body);
    policies.set(body, policy);
    return { item: itemOf(row satisfies Row<'items'>), policy, changedAt };
  });
}

type Start = { readonly item: Item; readonly run: ScheduledRun; readonly nextRunAt: number };

async function startRun(parts: ServiceParts, { item, run, nextRunAt }: Start): Promise<void> {
  await parts.catalogue.change(async (change) => {
    const busy = await change
      .selectFrom('jobs')
      .select('id')
      .where('itemId', '=', item.id)
      .where('operation', '=', 'Backup')
      .where('endedAt', 'is', null)
      .executeTakeFirst();
    if (busy !== undefined) return;
    const noted = await change
      .updateTable('items')
      .set({ lastRunAt: run.atMs, nextRunAt })
      .where('id', '=', item.id)
      .where('state', 'in', ['IRPending', 'Protected'])
      .executeTakeFirst();
    if (noted.numUpdatedRows === 0n) return; // Stopped meanwhile.
    await addBackup(parts, change, { item, origin: 'scheduled', run });
  });
}

async function noteNextRun(parts: ServiceParts, item: Item, nextRunAt: number): Promise<void> {
  await parts.catalogue.change(async (change) => {
    const query = change.updateTable('items').set({ nextRunAt });
    await query.where('id', '=', item.id).execute();
  });
}
