/** Resource groups: folders of names. A host has one of its own, whose VMs it lists. */
import { HoldfastError } from '#base';
import { noteActivity } from '../activities/activities.ts';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import { nameKey, parseName } from '../names.ts';
import type { RecordParts } from '../record-parts.ts';
import { parseTags, tagsToJson, type Tags } from '../tags.ts';

export type ResourceGroup = {
  readonly name: string;
  readonly location: string;
  readonly tags: Tags;
};

/** Makes the group, or changes its tags. @returns whether it is new. */
export async function putResourceGroup(
  parts: RecordParts,
  group: ResourceGroup,
): Promise<{ readonly group: ResourceGroup; readonly isNew: boolean }> {
  const name = parseName(group.name, 'resource group');
  const key = nameKey(name);
  const tags = tagsToJson(group.tags);
  return await parts.catalogue.change(async (change) => {
    const before = await find(change, name);
    await noteActivity(parts, change, { action: 'put resource group', target: name });
    if (before !== undefined) {
      await change.updateTable('resourceGroups').set({ tags }).where('key', '=', key).execute();
      return { group: { ...groupOf(before), tags: group.tags }, isNew: false };
    }
    const { location } = group;
    const row = { key, name, location, tags, createdAt: parts.clock.nowMs() };
    await change.insertInto('resourceGroups').values(row).execute();
    return { group: groupOf(row), isNew: true };
  });
}

/** @throws {HoldfastError} `ResourceGroupNotFound`. */
export async function getResourceGroup(
  reader: CatalogueReader,
  name: string,
): Promise<ResourceGroup> {
  const row = await find(reader, name);
  if (row === undefined) {
    throw new HoldfastError(
      'ResourceGroupNotFound',
      `Resource group '${name}' could not be found.`,
    );
  }
  return groupOf(row);
}

export async function listResourceGroups(
  reader: CatalogueReader,
): Promise<readonly ResourceGroup[]> {
  const rows = await reader.selectFrom('resourceGroups').selectAll().orderBy('key').execute();
  return rows.map(groupOf);
}

/** @throws {HoldfastError} `ResourceGroupNotFound`; `ResourceGroupNotEmpty` naming what is in it. */
export async function deleteResourceGroup(parts: RecordParts, name: string): Promise<void> {
  const key = nameKey(name);
  await parts.catalogue.change(async (change) => {
    const { name: target } = await getResourceGroup(change, name);
    const inside = await contentOf(change, key);
    if (inside.length > 0) {
      throw new HoldfastError(
        'ResourceGroupNotEmpty',
        `Resource group '${name}' still has ${inside.join(', ')}: delete or remove that first.`,
      );
    }
    await change.deleteFrom('resourceGroups').where('key', '=', key).execute();
    await noteActivity(parts, change, { action: 'delete resource group', target });
  });
}

async function contentOf(reader: CatalogueReader, key: string): Promise<readonly string[]> {
  const tables = [
    ['vault', 'vaults', 'groupKey'],
    ['storage account', 'storageAccounts', 'groupKey'],
    ['host', 'hosts', 'key'],
  ] as const;
  const found = await Promise.all(
    tables.map(async ([what, table, column]) => {
      const rows = await reader.selectFrom(table).select('name').where(column, '=', key).execute();
      return rows.map((row) => `${what} ${row.name}`);
    }),
  );
  return found.flat();
}

async function find(
  reader: CatalogueReader,
  name: string,
): Promise<Row<'resourceGroups'> | undefined> {
  const query = reader.selectFrom('resourceGroups').selectAll();
  return await query.where('key', '=', nameKey(name)).executeTakeFirst();
}

function groupOf({ name, location, tags }: Row<'resourceGroups'>): ResourceGroup {
  return { name, location, tags: parseTags(tags) };
}
