/** A point that the repository has gets its place in documents and catalogue. */
import { describeVmPoint } from '#backup';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import { changeItem } from '../items/change-item.ts';
import type { Item } from '../items/items.ts';
import type { LastBackup } from '../items/last-backup.ts';
import { policyById } from '../policies/policies.ts';
import type { ServiceParts } from '../service-parts.ts';
import { expiryDate } from './expiry-date.ts';
import { pointFactsOf, pointFactsToJson, type PointOrigin } from './point-facts.ts';

export type PointToRecord = {
  readonly item: Item;
  readonly point: string;
  readonly origin: PointOrigin;
  readonly jobId: string;
  /** Undefined: by the item's policy; without one, never. */
  readonly expiresAt?: number | undefined;
};

/** Bears being done again: a point that is recorded stays as it is. Not inside `repositories.use`. */
export async function recordPoint(parts: ServiceParts, of: PointToRecord): Promise<void> {
  const { point: id, origin, jobId } = of;
  const description = await parts.repositories.use(
    of.item.vaultId,
    async (repository) => await describeVmPoint(repository, id),
  );
  const { timeMs: takenAt, consistency } = description;
  const endedAt = parts.clock.nowMs();
  await changeItem(parts, of.item, async (item) => {
    const expiresAt = of.expiresAt ?? (await dateByPolicy(parts.catalogue.read, item, takenAt));
    const facts = pointFactsToJson(pointFactsOf(description));
    const taken = { id, itemId: item.id, takenAt, consistency };
    const row: Row<'points'> = { ...taken, origin, jobId, expiresAt, facts };
    const lastBackup: LastBackup = { status: 'Completed', endedAt, pointAt: takenAt };
    return {
      item: {
        lastBackup: JSON.stringify(lastBackup),
        // Stopped meanwhile, it stays stopped.
        ...(item.state === 'IRPending' ? { state: 'Protected', stateSince: endedAt } : {}),
      },
      newPoints: [row],
      also: async () => undefined,
    };
  });
}

/** @returns null for an item without a policy. */
export async function dateByPolicy(
  reader: CatalogueReader,
  { policyId }: Item,
  takenAt: number,
): Promise<number | null> {
  if (policyId === undefined) return null;
  return expiryDate((await policyById(reader, policyId)).policy, takenAt);
}
