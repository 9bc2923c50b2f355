/** Whether the catalogue itself is whole: its file, its tables, and what its rows hold as JSON. */
import { shellQuoted } from '#base';
import type { Catalogue } from '../catalogue/schema.ts';
import { integrityFaults, schemaFaults } from '../catalogue/schema-check.ts';
import { groupGone } from '../consistency-groups/group-records.ts';
import { itemGone } from '../items/item-documents.ts';
import { policyGone } from '../policies/policy-records.ts';
import type { ServiceParts } from '../service-parts.ts';
import { VAULT_DOCUMENT } from '../vaults/vault-document.ts';
import type { Finding } from './finding.ts';
import { unreadableRows, type UnreadableRow } from './json-columns.ts';

const PUT_BACK =
  'stop the service and put a copy of the catalogue back; without one move it away: the next start takes the vaults ' +
  'over from their repositories';

/** `isReadable`: whether every row can be read; where one cannot, nothing that reads it can be examined. */
export async function examineCatalogue(
  parts: ServiceParts,
): Promise<{ readonly findings: readonly Finding[]; readonly isReadable: boolean }> {
  const { read } = parts.catalogue;
  const where = parts.dataFolder.catalogue;
  const of = (what: string): Finding => ({ severity: 'error', where, what, advice: PUT_BACK });
  const damaged = (await integrityFaults(read)).map((fault) => of(`the file is damaged: ${fault}`));
  const strange = (await schemaFaults(read)).map((fault) =>
    of(`its tables are not those that this Holdfast makes: ${fault}`),
  );
  const unreadable = await unreadableRows(read);
  const told: Finding[] = [];
  for (const one of unreadable) told.push(await tellOf(parts, one));
  return { findings: [...damaged, ...strange, ...told], isReadable: unreadable.length === 0 };
}

async function tellOf(parts: ServiceParts, of: UnreadableRow): Promise<Finding> {
  const { table, column, row, reason } = of;
  const name = row['vmName'] ?? row['name'] ?? row['id'] ?? row['key'] ?? '';
  const group = row['vmGroup'] ?? row['groupKey'] ?? row['hostKey'];
  const called = [group, name]
    .filter((part) => part !== undefined)
    .map(String)
    .join('/');
  const where = `${WORDS[table] ?? table} ${called}`;
  const what = `the catalogue holds what cannot be read in ${table}.${column}: ${reason}`;
  return { severity: 'error', where, what, advice: await adviceFor(parts, of) };
}

const WORDS: Partial<Record<keyof Catalogue, string>> = {
  resourceGroups: 'resource group',
  vaults: 'vault',
  deletedVaults: 'soft-deleted vault',
  policies: 'policy',
  consistencyGroups: 'consistency group',
  hosts: 'host',
  vms: 'VM',
  storageAccounts: 'storage account',
  items: 'item',
  points: 'recovery point',
  jobs: 'job',
  operations: 'operation',
  activities: 'activity',
};

async function adviceFor(parts: ServiceParts, { table, row }: UnreadableRow): Promise<string> {
  const remembered = await documentOf(parts, table, row);
  if (remembered !== undefined) {
    await forgetRevision(parts, remembered);
    return 'restart the service: it takes over what the repository remembers';
  }
  if (table === 'vms') return `run holdfast host refresh ${shellQuoted(String(row['hostKey']))}`;
  if (table === 'hosts') {
    const [name, uri] = [String(row['name']), String(row['uri'])].map(shellQuoted);
    return `add it again: holdfast host add ${name} --connect ${uri}`;
  }
  return PUT_BACK;
}

type Remembered = { readonly vaultId: string; readonly document: string };

/** Which document of which repository says the same. */
async function documentOf(
  { catalogue }: ServiceParts,
  table: keyof Catalogue,
  row: UnreadableRow['row'],
): Promise<Remembered | undefined> {
  const [id, vaultId, itemId] = [row['id'], row['vaultId'], row['itemId']].map(String);
  if (table === 'vaults') return { vaultId: id!, document: VAULT_DOCUMENT };
  if (table === 'policies') return { vaultId: vaultId!, document: policyGone(id!).id };
  if (table === 'items') return { vaultId: vaultId!, document: itemGone(id!).id };
  if (table === 'consistencyGroups') return { vaultId: vaultId!, document: groupGone(id!).id };
  if (table !== 'points') return undefined;
  const items = catalogue.read.selectFrom('items').select('vaultId').where('id', '=', itemId!);
  const item = await items.executeTakeFirst();
  return item === undefined ? undefined : { vaultId: item.vaultId, document: itemGone(itemId!).id };
}

/** The next start sees that the catalogue does not hold it, and takes it over. */
async function forgetRevision(
  { catalogue }: ServiceParts,
  { vaultId, document }: Remembered,
): Promise<void> {
  await catalogue.change(async (change) => {
    const known = change.deleteFrom('documents').where('vaultId', '=', vaultId);
    await known.where('document', '=', document).execute();
  });
}
