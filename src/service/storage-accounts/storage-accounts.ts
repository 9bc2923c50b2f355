/** Storage accounts: folders that disks are restored to, each with a queue of its own (M22). */
import { access, constants, realpath, rmdir } from 'node:fs/promises';
import { dirname, isAbsolute } from 'node:path';
import { z } from 'zod';
import { HoldfastError, makeFolders, whyNoFolder } from '#base';
import { noteActivity } from '../activities/activities.ts';
import type { CatalogueChange, CatalogueReader } from '../catalogue/catalogue.ts';
import { getResourceGroup } from '../groups/resource-groups.ts';
import { LOCATION, nameKey, parseName } from '../names.ts';
import type { RecordParts } from '../record-parts.ts';

const SETTINGS = z.strictObject({
  version: z.literal(1),
  /** Absent: the service's. */
  restoresAtOnce: z.int().min(1).optional(),
});

export type StorageAccountName = { readonly group: string; readonly name: string };

export type StorageAccount = StorageAccountName & {
  readonly location: string;
  /** Absolute. */
  readonly path: string;
  readonly restoresAtOnce: number | undefined;
};

export type NewStorageAccount = Pick<StorageAccount, 'group' | 'name' | 'path'> & {
  readonly restoresAtOnce?: number | undefined;
};

/**
 * Adds the account, or changes its limit; its folder is made, and goes again if that fails.
 *
 * @throws {HoldfastError} `ResourceGroupNotFound`, `InvalidResourceName`; `StorageAccountUnusable` for a path that
 *   is not absolute, no folder, or not writable; `ResourceExists` if the name or the folder is another's.
 */
export async function putStorageAccount(
  parts: RecordParts,
  account: NewStorageAccount,
): Promise<StorageAccount> {
  const name = parseName(account.name, 'storage account');
  const { name: group } = await getResourceGroup(parts.catalogue.read, account.group);
  const missing = isAbsolute(account.path) ? await missingFolders(account.path) : [];
  try {
    const path = await usableFolder(account.path);
    return await record(parts, { ...account, group, name, path });
  } catch (error) {
    for (const folder of missing) await rmdir(folder).catch(() => undefined); // Not made, or another's by now.
    throw error;
  }
}

/** The deepest first. */
async function missingFolders(path: string): Promise<readonly string[]> {
  const isThere = await access(path).then(
    () => true,
    (error: unknown) => (error as NodeJS.ErrnoException).code !== 'ENOENT',
  );
  const parent = dirname(path);
  return isThere || parent === path ? [] : [path, ...(await missingFolders(parent))];
}

async function record(
  parts: RecordParts,
  { group, name, path, restoresAtOnce }: NewStorageAccount,
): Promise<StorageAccount> {
  const { catalogue, clock } = parts;
  const limits = restoresAtOnce === undefined ? {} : { restoresAtOnce };
  const settings = JSON.stringify(SETTINGS.parse({ version: 1, ...limits }));
  const [groupKey, key] = [nameKey(group), nameKey(name)];
  return await catalogue.change(async (change) => {
    const others = await change.selectFrom('storageAccounts').selectAll().execute();
    const other = others.find(
      (known) =>
        !(known.key === key && known.groupKey === groupKey) &&
        (known.key === key || known.path === path),
    );
    if (other !== undefined) {
      const what = other.key === key ? `the name '${name}'` : path;
      throw new HoldfastError('ResourceExists', `The storage account '${other.name}' has ${what}.`);
    }
    const known = others.find((one) => one.key === key);
    if (known !== undefined && known.path !== path) {
      throw new HoldfastError(
        'ResourceExists',
        `The storage account '${name}' is at ${known.path}.`,
      );
    }
    const row = { groupKey, key, name, location: LOCATION, path, settings };
    await change
      .insertInto('storageAccounts')
      .values({ ...row, createdAt: clock.nowMs() })
      .onConflict((there) => there.column('key').doUpdateSet({ settings }))
      .execute();
    const detail = { path };
    await noteActivity(parts, change, { action: 'put storage account', target: name, detail });
    return await getStorageAccount(change, { group, name });
  });
}

/** @throws {HoldfastError} `ResourceNotFound`. */
export async function getStorageAccount(
  reader: CatalogueReader,
  { group, name }: StorageAccountName,
): Promise<StorageAccount> {
  const row = await accountRows(reader)
    .where('storageAccounts.groupKey', '=', nameKey(group))
    .where('storageAccounts.key', '=', nameKey(name))
    .executeTakeFirst();
  if (row !== undefined) return accountOf(row);
  throw new HoldfastError(
    'ResourceNotFound',
    `The storage account '${name}' in the resource group '${group}' was not found.`,
    { details: { type: 'Microsoft.Storage/storageAccounts', name, group } },
  );
}

/** Of one group, or all; by name. */
export async function listStorageAccounts(
  reader: CatalogueReader,
  group?: string,
): Promise<readonly StorageAccount[]> {
  const all = accountRows(reader).orderBy('storageAccounts.key');
  const query =
    group === undefined ? all : all.where('storageAccounts.groupKey', '=', nameKey(group));
  return (await query.execute()).map(accountOf);
}

/**
 * Forgets the account; what was restored to its folder stays.
 *
 * @throws {HoldfastError} `ResourceNotFound`; `StorageAccountInUse` while jobs write to it, or will.
 */
export async function removeStorageAccount(
  parts: RecordParts,
  account: StorageAccountName,
): Promise<void> {
  await parts.catalogue.change(async (change) => {
    const { name } = await getStorageAccount(change, account);
    await requireUnused(change, account);
    await change
      .deleteFrom('storageAccounts')
      .where('groupKey', '=', nameKey(account.group))
      .where('key', '=', nameKey(account.name))
      .execute();
    await noteActivity(parts, change, { action: 'remove storage account', target: name });
  });
}

const MOST_NAMED = 5;
/** Requests of jobs that write to an account name it. */
const USING = z.object({ account: z.object({ group: z.string(), name: z.string() }) });

async function requireUnused(
  change: CatalogueChange,
  { group, name }: StorageAccountName,
): Promise<void> {
  const open = await change
    .selectFrom('jobs')
    .select(['id', 'operation', 'entity', 'request'])
    .where('endedAt', 'is', null)
    .orderBy('place')
    .execute();
  const using = open.filter(({ request }) => {
    const { data } = USING.safeParse(JSON.parse(request));
    if (data === undefined) return false;
    const { account } = data;
    return nameKey(account.group) === nameKey(group) && nameKey(account.name) === nameKey(name);
  });
  if (using.length === 0) return;
  const jobs = using
    .slice(0, MOST_NAMED)
    .map(({ id, operation, entity }) => `${operation} of ${entity} (job ${id})`);
  if (using.length > MOST_NAMED) jobs.push(`${using.length - MOST_NAMED} more`);
  throw new HoldfastError(
    'StorageAccountInUse',
    `The storage account '${name}' is in use: ${jobs.join(', ')}. Wait for that, or cancel it.`,
  );
}

async function usableFolder(path: string): Promise<string> {
  if (!isAbsolute(path)) throw unusable(path, 'give an absolute path');
  try {
    await makeFolders(path);
    await access(path, constants.W_OK | constants.X_OK);
    return await realpath(path);
  } catch (error) {
    throw unusable(path, `${whyNoFolder(error)}; give one that the service can write to`, error);
  }
}

function unusable(path: string, why: string, cause?: unknown): HoldfastError {
  return new HoldfastError(
    'StorageAccountUnusable',
    `${path} cannot be the folder of a storage account: ${why}`,
    { cause },
  );
}

function accountRows(reader: CatalogueReader) {
  return reader
    .selectFrom('storageAccounts')
    .innerJoin('resourceGroups', 'resourceGroups.key', 'storageAccounts.groupKey')
    .selectAll('storageAccounts')
    .select('resourceGroups.name as group');
}

type AccountRow = Awaited<ReturnType<ReturnType<typeof accountRows>['execute']>>[number];

export function accountSettingsFromJson(json: string): Pick<StorageAccount, 'restoresAtOnce'> {
  const { restoresAtOnce } = SETTINGS.parse(JSON.parse(json));
  return { restoresAtOnce };
}

function accountOf({ group, name, location, path, settings }: AccountRow): StorageAccount {
  const { restoresAtOnce } = accountSettingsFromJson(settings);
  return { group, name, location, path, restoresAtOnce };
}
