/** `holdfast storage-account …`: folders of the service's machine that disks are restored to. */
import { formatTable, left, right } from '../output/table.ts';
import { formatBytes } from '../output/units.ts';
import { findNamed, fullName, namedBy, type Named } from './names.ts';
import { inGroup } from './resources.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';

type WireAccount = {
  readonly name: string;
  readonly properties: {
    readonly path: string;
    readonly restoresAtOnce: number | null;
    readonly storageAccountId: string;
    readonly load: AccountLoad;
  };
};

type AccountLoad = {
  /** Running or waiting. */
  readonly restores: number;
  readonly restoresAtOnce: number;
  readonly boots: number;
  /** Null: its folder cannot be used. */
  readonly freeBytes: number | null;
};

export type AccountFacts = Named & {
  readonly id: string;
  readonly path: string;
  readonly restoresAtOnce: number | null;
  readonly load: AccountLoad;
};

export async function addAccount(
  { service, terminal }: ServiceContext,
  name: string,
  options: { readonly group?: string; readonly path: string; readonly restoresAtOnce?: number },
): Promise<void> {
  const { path, restoresAtOnce } = options;
  const limit = restoresAtOnce === undefined ? {} : { restoresAtOnce };
  const body = { properties: { path, ...limit } };
  const made = await inGroup(service, options.group, async (group) => {
    return await service.http.json('PUT', pathOf(service, { group, name }), { body });
  });
  const account = factsOf(made);
  terminal.result(
    account,
    () => `Storage account ${fullName(account)} is the folder ${account.path}.`,
  );
}

export async function showAccounts({ service, terminal }: ServiceContext): Promise<void> {
  const accounts = await listAccounts(service);
  terminal.result({ storageAccounts: accounts }, () => {
    if (accounts.length === 0) {
      return 'There are no storage accounts: holdfast storage-account add NAME --path DIR';
    }
    return formatTable(
      [left('STORAGE ACCOUNT'), left('GROUP'), left('RESTORES'), right('FREE'), left('FOLDER')],
      accounts.map(({ name, group, path, load }) => [
        name,
        group,
        restoresText(load),
        load.freeBytes === null ? 'unusable' : formatBytes(load.freeBytes),
        path,
      ]),
    );
  });
}

function restoresText({ restores, restoresAtOnce }: AccountLoad): string {
  if (restores === 0) return 'idle';
  return restores > restoresAtOnce ? `${restores}, ${restoresAtOnce} at once` : `${restores}`;
}

export async function removeAccount(
  { service, terminal }: ServiceContext,
  name: string,
): Promise<void> {
  const account = await findAccount(service, name);
  await service.http.json('DELETE', pathOf(service, account));
  terminal.result(
    { removed: fullName(account) },
    () => `Storage account ${fullName(account)} is removed; what is in ${account.path} stays.`,
  );
}

async function findAccount(service: Service, name: string): Promise<AccountFacts> {
  return findNamed(await listAccounts(service), name, 'storage account');
}

/** Azure's list says which there are, Holdfast's own which folders they are. */
export async function listAccounts(service: Service): Promise<readonly AccountFacts[]> {
  const { storageAccounts } = await service.storage();
  const known = await service.all(storageAccounts.list());
  const groups = new Set(known.map(({ id }) => namedBy(id).group));
  const lists = await Promise.all(
    [...groups].map(
      async (group) => await service.allOf<WireAccount>(accountsPath(service, group)),
    ),
  );
  return lists.flat().map(factsOf);
}

function accountsPath(service: Service, group: string): string {
  const at = `${service.root}/resourceGroups/${encodeURIComponent(group)}`;
  return `${at}/providers/Holdfast.Backup/storageAccounts`;
}

function pathOf(service: Service, { group, name }: Named): string {
  return `${accountsPath(service, group)}/${encodeURIComponent(name)}`;
}

function factsOf(wire: unknown): AccountFacts {
  const { storageAccountId: id, path, restoresAtOnce, load } = (wire as WireAccount).properties;
  return { ...namedBy(id), id, path, restoresAtOnce, load };
}
