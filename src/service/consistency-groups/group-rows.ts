/** The rows of consistency groups, for whoever changes a vault or its items. */
import type { CatalogueChange, CatalogueReader } from '../catalogue/catalogue.ts';
import type { VaultDocument } from '../repositories/change-vault.ts';
import {
  groupDocument,
  groupFromDocument,
  groupGone,
  groupIdOf,
  membersOf,
  type GroupRow,
} from './group-records.ts';

export async function groupRows(
  reader: CatalogueReader,
  vaultId: string,
): Promise<readonly GroupRow[]> {
  const query = reader.selectFrom('consistencyGroups').selectAll();
  return await query.where('vaultId', '=', vaultId).orderBy('key').execute();
}

/** Items whose group has a policy: their own schedules rest (decision 0013). */
export async function itemsInScheduledGroups(
  reader: CatalogueReader,
): Promise<ReadonlySet<string>> {
  const query = reader.selectFrom('consistencyGroups').select('members');
  const rows = await query.where('policyId', 'is not', null).execute();
  return new Set(rows.flatMap(membersOf));
}

/** What changes in the group of an item that goes: it leaves it, and a group of none goes. */
export async function withoutItem(
  reader: CatalogueReader,
  { id, vaultId }: { readonly id: string; readonly vaultId: string },
): Promise<{
  readonly documents: readonly VaultDocument[];
  readonly apply: (change: CatalogueChange) => Promise<void>;
}> {
  const group = (await groupRows(reader, vaultId)).find((row) => membersOf(row).includes(id));
  if (group === undefined) return { documents: [], apply: async () => undefined };
  const members = membersOf(group).filter((member) => member !== id);
  if (members.length === 0) {
    return {
      documents: [groupGone(group.id)],
      apply: async (change) => {
        await change.deleteFrom('consistencyGroups').where('id', '=', group.id).execute();
      },
    };
  }
  const columns = { members: JSON.stringify(members), revision: group.revision + 1 };
  return {
    documents: [groupDocument({ ...group, ...columns })],
    apply: async (change) => {
      const query = change.updateTable('consistencyGroups').set(columns);
      await query.where('id', '=', group.id).execute();
    },
  };
}

/** The rows of the vault become what its documents say. After its policies and items. */
export async function takeOverGroups(
  change: CatalogueChange,
  vaultId: string,
  documents: readonly { readonly id: string; readonly value: unknown }[],
): Promise<void> {
  const known = await groupRows(change, vaultId);
  await deleteGroupRows(change, vaultId);
  for (const document of documents) {
    const id = groupIdOf(document.id);
    if (id === undefined) continue;
    const group = groupFromDocument({ vaultId, id, value: document.value });
    // When it ran is in the catalogue alone; where that was lost, its members' points tell.
    const before = known.find((one) => one.id === id) ?? {
      lastRunAt: await lastRunOfMembers(change, group),
      nextRunAt: null,
    };
    const runs = { lastRunAt: before.lastRunAt, nextRunAt: before.nextRunAt };
    await change
      .insertInto('consistencyGroups')
      .values({ ...group, ...runs })
      .execute();
  }
}

/** Of a group whose schedule runs them; null: none is known. */
async function lastRunOfMembers(change: CatalogueChange, group: GroupRow): Promise<number | null> {
  if (group.policyId === null) return null;
  const query = change.selectFrom('items').select((row) => row.fn.max('lastRunAt').as('lastRunAt'));
  const newest = await query.where('id', 'in', membersOf(group)).executeTakeFirst();
  return newest?.lastRunAt ?? null;
}

export async function deleteGroupRows(change: CatalogueChange, vaultId: string): Promise<void> {
  await change.deleteFrom('consistencyGroups').where('vaultId', '=', vaultId).execute();
}
