/**
 * Looks whether catalogue and repositories agree, and whether all is as it should be (`holdfast doctor`). Changes
 * nothing but a note of which documents disagree, for the next start to take them over, and tries again what could not
 * be opened; what it finds says where and what to do. What is changing meanwhile is looked at in its vault's turn.
 */
import { isHoldfastError, shellQuoted } from '#base';
import type { Row } from '../catalogue/schema.ts';
import { chargeDocuments } from '../charges/charge-rows.ts';
import { groupDocument } from '../consistency-groups/group-records.ts';
import { groupRows } from '../consistency-groups/group-rows.ts';
import { comparePoints } from '../items/agree-points.ts';
import { inOneOrder, itemDocument, itemIdOf } from '../items/item-documents.ts';
import { policyDocument } from '../policies/policy-records.ts';
import { readDocuments } from '../repositories/repository-pool.ts';
import type { OpenRepository } from '../repositories/repositories.ts';
import { failureFromJson } from '../jobs/job-records.ts';
import type { ServiceParts } from '../service-parts.ts';
import { listDeletedVaults, type DeletedVault } from '../vaults/deleted-vaults.ts';
import { vaultDocument, VAULT_DOCUMENT } from '../vaults/vault-document.ts';
import { reachNow } from '../vaults/reach-again.ts';
import { triedAgain, whyOutOfReach } from '../vaults/vault-reach.ts';
import { listVaults, type Vault } from '../vaults/vaults.ts';
import { accountFindings } from './account-findings.ts';
import { examineCatalogue } from './examine-catalogue.ts';
import { clockFinding } from './clock-finding.ts';
import type { Finding } from './finding.ts';
import { itemFindings } from './item-findings.ts';
import { strangeFolders } from './strange-folders.ts';

/** Errors first. What is out of reach is tried again before; rows that cannot be read hide the rest. */
export async function examine(parts: ServiceParts): Promise<readonly Finding[]> {
  const { findings, isReadable } = await examineCatalogue(parts);
  if (!isReadable) return findings;
  await reachNow(parts);
  return [...findings, ...(await examineContent(parts))].toSorted((a, b) =>
    a.severity.localeCompare(b.severity),
  );
}

async function examineContent(parts: ServiceParts): Promise<readonly Finding[]> {
  const vaults = await listVaults(parts.catalogue.read);
  const found: Finding[] = [];
  for (const vault of vaults) {
    found.push(...(await parts.turns(vault.id, async () => await examineVault(parts, vault))));
  }
  const deleted = await listDeletedVaults(parts.catalogue.read);
  found.push(...deleted.flatMap((vault) => lostAndDeleted(parts, vault)));
  const known = [...vaults, ...deleted].map(({ id }) => id);
  found.push(...(await strangeFolders(parts, new Set(known))));
  found.push(...(await clockFinding(parts)));
  found.push(...(await stuckJobs(parts)));
  found.push(...(await silentHosts(parts)));
  found.push(...(await itemFindings(parts)));
  found.push(...(await waitingJobs(parts)));
  found.push(...(await accountFindings(parts)));
  return found;
}

/** A soft-deleted vault that could not be undeleted. */
function lostAndDeleted(parts: ServiceParts, vault: DeletedVault): readonly Finding[] {
  const why = parts.reach.all().get(vault.id);
  if (why === undefined) return [];
  const until = new Date(vault.purgeAt).toISOString();
  return [
    {
      severity: 'warning',
      where: `soft-deleted vault ${calledOf(vault)}`,
      what: `its repository cannot be opened, so that it cannot be undeleted: ${whyOutOfReach(why)}`,
      advice: `${mending(why.code)}, ${triedAgain(why)}; from ${until} on the vault is forgotten, its repository left as it is`,
    },
  ];
}

/** Its name alone is not enough: another group may have a vault of the same. */
function calledOf({ group, name }: Pick<Vault, 'group' | 'name'>): string {
  return `${group}/${name}`;
}

async function examineVault(parts: ServiceParts, vault: Vault): Promise<readonly Finding[]> {
  const where = `vault ${calledOf(vault)}`;
  const found: Finding[] = [];
  if (!vault.hasRecoveryKey) {
    found.push({
      severity: 'warning',
      where,
      what: 'nobody has fetched its recovery key: without master.key its data would be lost',
      advice: `run holdfast vault recovery-key ${shellQuoted(calledOf(vault))}, and keep what it prints elsewhere`,
    });
  }
  const why = parts.reach.all().get(vault.id);
  if (why !== undefined) {
    const what = `its repository cannot be opened: ${whyOutOfReach(why)}`;
    const advice =
      `${mending(why.code)}; nothing can be done with the vault until then, and ${triedAgain(why)}; if it is gone for ` +
      `good: ${forgetting(vault)}`;
    return [...found, { severity: 'error', where, what, advice }];
  }
  try {
    const differing = await parts.repositories.read(vault.id, async (repository) => [
      ...(await differingDocuments(parts, vault, repository)),
      ...(await differingPoints(parts, vault, repository)),
    ]);
    found.push(...differing);
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    const what = `its repository cannot be opened: ${error.message} [${error.code}]`;
    const until = 'nothing can be backed up or restored until then';
    const otherwise =
      error.code === 'RepositoryNotFound' ? `; if it is gone for good: ${forgetting(vault)}` : '';
    const advice = `${mending(error.code)}; ${until}${otherwise}`;
    return [...found, { severity: 'error', where, what, advice }];
  }
  return [...found, ...(await notWritable(parts, vault.id, where))];
}

function mending(code: string | undefined): string {
  return code === 'RepositoryNotFound'
    ? 'mount its disk, or put its folder back'
    : 'mend what the message names';
}

function forgetting(vault: Vault): string {
  return `holdfast vault delete ${shellQuoted(calledOf(vault))} --forget-repository`;
}

/** Points of a repository that takes none can be restored all the same. */
async function notWritable(
  { repositories }: ServiceParts,
  vaultId: string,
  where: string,
): Promise<readonly Finding[]> {
  try {
    await repositories.use(vaultId, async () => undefined);
    return [];
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    const what = `nothing can be written to its repository: ${error.message} [${error.code}]`;
    const advice =
      'mend what the message names; its points can be restored, and nothing backed up until then';
    return [{ severity: 'error', where, what, advice }];
  }
}

const TAKE_OVER = 'restart the service: it takes over what the repository remembers';

async function differingDocuments(
  parts: ServiceParts,
  vault: Vault,
  repository: OpenRepository,
): Promise<readonly Finding[]> {
  const remembered = new Map(
    (await readDocuments(repository)).map(({ id, value }) => [
      id,
      JSON.stringify(itemIdOf(id) === undefined ? value : inOneOrder(value)),
    ]),
  );
  const expected = await expectedDocuments(parts, vault);
  const names = new Set([...remembered.keys(), ...expected.keys()]);
  const differing = [...names].filter((name) => remembered.get(name) !== expected.get(name)?.value);
  if (differing.length > 0) await forgetRevisions(parts, vault, differing);
  return differing.map((name) => ({
    severity: 'error',
    where: expected.get(name)?.where ?? `vault ${calledOf(vault)}`,
    what: `the catalogue and the document ${name} of the repository disagree`,
    advice: TAKE_OVER,
  }));
}

/** The next start sees that the catalogue does not hold them, and takes them over. */
async function forgetRevisions(
  { catalogue }: ServiceParts,
  { id }: Vault,
  documents: readonly string[],
): Promise<void> {
  await catalogue.change(async (change) => {
    const known = change.deleteFrom('documents').where('vaultId', '=', id);
    await known.where('document', 'in', documents).execute();
  });
}

type Expected = ReadonlyMap<string, { readonly value: string; readonly where: string }>;

async function expectedDocuments({ catalogue }: ServiceParts, vault: Vault): Promise<Expected> {
  const { read } = catalogue;
  const expected = new Map<string, { readonly value: string; readonly where: string }>();
  const add = (where: string, { id, value }: { readonly id: string; readonly value: unknown }) => {
    expected.set(id, { value: JSON.stringify(value), where });
  };
  const called = calledOf(vault);
  add(`vault ${called}`, { ...vaultDocument(vault), id: VAULT_DOCUMENT });
  const policies = read.selectFrom('policies').selectAll().where('vaultId', '=', vault.id);
  for (const policy of await policies.execute())
    add(`policy ${policy.name} of the vault ${called}`, policyDocument(policy));
  for (const group of await groupRows(read, vault.id))
    add(`consistency group ${group.name} of the vault ${called}`, groupDocument(group));
  const items = read.selectFrom('items').selectAll().where('vaultId', '=', vault.id);
  for (const item of await items.execute()) {
    const points = read.selectFrom('points').select(['id', 'origin', 'expiresAt', 'retention']);
    const ofItem = points.where('itemId', '=', item.id);
    add(`item ${item.vmGroup}/${item.vmName}`, itemDocument(item, await ofItem.execute()));
  }
  for (const document of await chargeDocuments(read, vault.id)) add(`vault ${called}`, document);
  return expected;
}

async function differingPoints(
  parts: ServiceParts,
  vault: Vault,
  repository: OpenRepository,
): Promise<readonly Finding[]> {
  const differing = await comparePoints(parts, vault.id, repository);
  return differing.flatMap(({ item, come, gone, strangers }) => {
    const where = `item ${item.vmGroup}/${item.vmName}`;
    const say = (what: string, ids: readonly string[], rest: Omit<Finding, 'where' | 'what'>) =>
      ids.length === 0 ? [] : [{ ...rest, where, what: `${what}: ${ids.join(', ')}` }];
    const mended = { severity: 'error', advice: TAKE_OVER } as const;
    const theirs = {
      severity: 'warning',
      advice: 'whoever made them with holdfast repo restores and expires them with it',
    } as const;
    return [
      ...say('points of the catalogue that the repository does not have', gone, mended),
      ...say(
        'points of the repository that the catalogue does not have',
        come.map(({ point }) => point),
        mended,
      ),
      ...say(
        'points under its name in the repository that are no points of a VM',
        strangers,
        theirs,
      ),
    ];
  });
}

async function stuckJobs({ catalogue, clock }: ServiceParts): Promise<readonly Finding[]> {
  const rows = await catalogue.read
    .selectFrom('jobs')
    .selectAll()
    .where('endedAt', 'is', null)
    .where('leaseUntil', '<', clock.nowMs())
    .execute();
  return rows.map(({ id, entity, operation }: Row<'jobs'>) => ({
    severity: 'error',
    where: `job ${id}`,
    what: `${operation} of ${entity} runs, and nobody works at it`,
    advice: 'restart the service: it takes the job up again, or ends it with the reason',
  }));
}

async function silentHosts({ catalogue }: ServiceParts): Promise<readonly Finding[]> {
  const query = catalogue.read.selectFrom('hosts').select(['name', 'failure']);
  return (await query.where('failure', 'is not', null).execute()).map(({ name, failure }) => ({
    severity: 'warning',
    where: `host ${name}`,
    what: `its VMs cannot be listed: ${failure}`,
    advice: 'mend what the message names; its VMs are not backed up until then',
  }));
}

async function waitingJobs({ catalogue, clock }: ServiceParts): Promise<readonly Finding[]> {
  const rows = await catalogue.read
    .selectFrom('jobs')
    .selectAll()
    .where('endedAt', 'is', null)
    .where('notBefore', '>', clock.nowMs())
    .where('failure', 'is not', null)
    .execute();
  return rows.map(({ id, entity, operation, failure, notBefore }: Row<'jobs'>) => ({
    severity: 'warning',
    where: `job ${id}`,
    what: `${operation} of ${entity} cannot go on: ${failureFromJson(failure!).message}`,
    advice: `mend what the message names; it is tried again at ${new Date(notBefore).toISOString()}`,
  }));
}
