/** By which days the scheduled points of an item are tagged where its group's schedule runs it (decision 0013). */
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { Item } from '../items/items.ts';
import type { BackupPolicy } from '../policy/backup-policy.ts';
import { policyFromJson } from '../policy/policy-json.ts';
import { membersOf } from './group-records.ts';

/** The item's own policy, with the schedule of its group's policy if it has one. */
export async function runningPolicy(
  reader: CatalogueReader,
  { id, vaultId }: Pick<Item, 'id' | 'vaultId'>,
  own: BackupPolicy,
): Promise<BackupPolicy> {
  const groups = await reader
    .selectFrom('consistencyGroups')
    .innerJoin('policies', 'policies.id', 'consistencyGroups.policyId')
    .select(['consistencyGroups.members', 'policies.body'])
    .where('consistencyGroups.vaultId', '=', vaultId)
    .execute();
  const group = groups.find((one) => membersOf(one).includes(id));
  if (group === undefined) return own;
  const { schedule, timeZone } = policyFromJson(group.body);
  return { ...own, schedule, timeZone };
}
