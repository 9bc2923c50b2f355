/** Soft-deleted items whose time is over are deleted for good, by a job (M33). */
import type { ServiceParts } from '../service-parts.ts';

/** Adds the jobs that are not there yet. */
export async function purgeEnded({ catalogue, clock, jobs }: ServiceParts): Promise<void> {
  await catalogue.change(async (change) => {
    const ended = await change
      .selectFrom('items')
      .select(['id', 'vaultId', 'vmName'])
      .where('state', '=', 'SoftDeleted')
      .where('purgeAt', '<=', clock.nowMs())
      .execute();
    for (const { id, vaultId, vmName } of ended) {
      const there = await change
        .selectFrom('jobs')
        .select('id')
        .where('itemId', '=', id)
        .where('operation', '=', 'DeleteBackupData')
        .where('endedAt', 'is', null)
        .executeTakeFirst();
      if (there !== undefined) continue;
      await jobs.add(change, {
        vaultId,
        itemId: id,
        entity: vmName,
        operation: 'DeleteBackupData',
        isUserTriggered: false,
        request: {},
        claims: [`item:${id}`],
      });
    }
  });
}
