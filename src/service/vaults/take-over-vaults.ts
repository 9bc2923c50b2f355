/**
 * Brings the catalogue to what the repositories remember: at every start, and for a repository that comes from a
 * lost server (DESIGN §3.4, promise 6). Documents win: they are written first (decision 0008, invariant 2).
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError } from '#base';
import { describeVmPoint, listKeys, type VmPointDescription } from '#backup';
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import { takeOverCharges } from '../charges/charge-rows.ts';
import { takeOverGroups } from '../consistency-groups/group-rows.ts';
import { agreePoints } from '../items/agree-points.ts';
import { changeItem } from '../items/change-item.ts';
import { takeOverItem } from '../items/take-over-item.ts';
import { itemIdOf } from '../items/item-documents.ts';
import { LOCATION, nameKey } from '../names.ts';
import { policyFromDocument, policyIdOf } from '../policies/policy-records.ts';
import type { OpenRepository } from '../repositories/repositories.ts';
import { readDocuments } from '../repositories/repository-pool.ts';
import {
  isForgotten,
  isUnfinished,
  listVaultFolders,
  OWN_KEY,
  vaultIsMade,
} from '../repositories/vault-folder.ts';
import type { ServiceParts } from '../service-parts.ts';
import { tagsToJson } from '../tags.ts';
import { forgetRows } from './forget-vault.ts';
import { putDeletedVault } from './deleted-vaults.ts';
import { VAULT_DOCUMENT, vaultFromDocument, type VaultDeletion } from './vault-document.ts';
import { deleteVaultRows } from './vault-rows.ts';
import { vaultSettingsToJson } from './vault-settings.ts';

export type TakenOver = {
  /** Documents that the catalogue did not have. */
  readonly applied: readonly string[];
  /** Vaults that could be looked at. */
  readonly reached: readonly string[];
  /** Vaults that could not, with the error. */
  readonly unreachable: ReadonlyMap<string, unknown>;
};

/** @param vaultIds the vaults to look at; absent: every one that has a folder, or is in the catalogue. */
export async function takeOverVaults(
  parts: ServiceParts,
  vaultIds?: readonly string[],
): Promise<TakenOver> {
  const applied: string[] = [];
  const reached: string[] = [];
  const unreachable = new Map<string, unknown>();
  for (const id of vaultIds ?? (await allVaults(parts))) {
    try {
      applied.push(...(await takeOverVault(parts, id)));
      reached.push(id);
    } catch (error) {
      unreachable.set(id, error);
    }
  }
  return { applied, reached, unreachable };
}

async function allVaults({ catalogue, dataFolder }: ServiceParts): Promise<readonly string[]> {
  const folders = await listVaultFolders(dataFolder.vaults);
  const { read } = catalogue;
  const known = [
    ...(await read.selectFrom('vaults').select('id').execute()),
    ...(await read.selectFrom('deletedVaults').select('id').execute()),
  ];
  return [...new Set([...folders, ...known.map(({ id }) => id)])];
}

async function takeOverVault(parts: ServiceParts, vaultId: string): Promise<readonly string[]> {
  const { isThere, changed, stale } = await parts.turns(
    vaultId,
    async () => await takeOverDocuments(parts, vaultId),
  );
  return isThere ? [...changed, ...(await agreed(parts, vaultId, stale))] : changed;
}

/** Points that differ are no reason to leave a vault closed: the doctor tells of them, too. */
async function agreed(
  parts: ServiceParts,
  vaultId: string,
  stale: readonly string[],
): Promise<readonly string[]> {
  try {
    for (const id of stale) await rememberAgain(parts, { id, vaultId });
    return await agreePoints(parts, vaultId);
  } catch (error) {
    const facts = { vault: vaultId, error: String(error) };
    parts.log.error(facts, 'the points of a vault could not be compared with its repository');
    return [];
  }
}

type Applied = {
  /** False: it was not finished, or deleted or forgotten but for its folder. */
  readonly isThere: boolean;
  readonly changed: readonly string[];
  /** Items whose documents name points that have gone. */
  readonly stale: readonly string[];
};

async function takeOverDocuments(parts: ServiceParts, vaultId: string): Promise<Applied> {
  const { repositories, catalogue } = parts;
  const known = await catalogue.read
    .selectFrom('documents')
    .select(['document', 'revision'])
    .where('vaultId', '=', vaultId)
    .execute();
  const revisions = new Map(known.map(({ document, revision }) => [document, revision]));
  const folder = join(parts.dataFolder.vaults, vaultId);
  if (await isForgotten(folder)) {
    await catalogue.change(async (change) => await forgetRows(parts, change, vaultId));
    return { isThere: false, changed: [], stale: [] };
  }
  const unfinished = await isUnfinished(folder);
  const found = await lookAt(repositories, vaultId, { revisions, isUnfinished: unfinished });
  if (unfinished && found.kind !== 'abandoned') await vaultIsMade(folder);
  if (found.kind === 'known') {
    await catalogue.change(async (change) => await noteLocation(change, vaultId, found.repository));
    return { isThere: true, changed: [], stale: [] };
  }
  if (found.kind === 'deleted') return await takeOverDeleted(parts, vaultId, found);
  if (found.kind === 'abandoned') {
    await catalogue.change(async (change) => await deleteVaultRows(change, vaultId));
    if (!found.hasPoints) await removeFolder(parts, vaultId);
    return { isThere: false, changed: [VAULT_DOCUMENT], stale: [] };
  }
  const stale = await catalogue.change(
    async (change) => await apply(change, { vaultId, ...found }),
  );
  const changed = found.documents
    .filter((one) => revisions.get(one.id) !== one.revision)
    .map((one) => one.id);
  return { isThere: true, changed, stale };
}

/** A soft-deleted one is in the catalogue as that, and nothing else of it. */
async function takeOverDeleted(
  { catalogue }: ServiceParts,
  id: string,
  { vault, deletion }: Extract<Found, { readonly kind: 'deleted' }>,
): Promise<Applied> {
  const known = await catalogue.read
    .selectFrom('deletedVaults')
    .select('id')
    .where('id', '=', id)
    .executeTakeFirst();
  await catalogue.change(async (change) => await putDeletedVault(change, vault, deletion));
  return { isThere: false, changed: known === undefined ? [VAULT_DOCUMENT] : [], stale: [] };
}

type Documents = Awaited<ReturnType<typeof readDocuments>>;

type Found =
  | { readonly kind: 'known'; readonly repository: string }
  /** Never finished, or deleted but for its folder. */
  | { readonly kind: 'abandoned'; readonly hasPoints: boolean }
  | {
      readonly kind: 'deleted';
      readonly vault: Parameters<typeof putDeletedVault>[1];
      readonly deletion: VaultDeletion;
    }
  | {
      readonly kind: 'newer';
      readonly repository: string;
      readonly repositoryId: string;
      readonly documents: Documents;
      readonly points: ReadonlyMap<string, VmPointDescription>;
      /** When the first key that is not the service's own was made; null: there is none. */
      readonly keyMadeAt: number | null;
    };

async function lookAt(
  repositories: ServiceParts['repositories'],
  vaultId: string,
  {
    revisions,
    isUnfinished: unfinished,
  }: { readonly revisions: ReadonlyMap<string, number>; readonly isUnfinished: boolean },
): Promise<Found> {
  try {
    // As a reader: on a disk that is full or read-only the points can be restored all the same.
    return await repositories.read(vaultId, async (repository) => {
      const { documents } = repository.state;
      const changed = [...documents].filter(([id, { revision }]) => revisions.get(id) !== revision);
      const { store, keyring } = repository.parts;
      if (documents.size > 0 && changed.length === 0) {
        return { kind: 'known', repository: store.location };
      }
      const read = await readDocuments(repository);
      const own = read.find(({ id }) => id === VAULT_DOCUMENT);
      if (own === undefined) {
        return { kind: 'abandoned', hasPoints: repository.state.points.size > 0 };
      }
      const { deleted, group, name } = vaultFromDocument(own.value);
      if (deleted !== undefined) {
        const vault = { id: vaultId, group, name, repository: store.location };
        return { kind: 'deleted', vault, deletion: deleted };
      }
      return {
        kind: 'newer',
        repository: store.location,
        repositoryId: keyring.repositoryId.toString('hex'),
        documents: read,
        points: await describeAll(repository),
        keyMadeAt: await keyMadeAt(repository),
      };
    });
  } catch (error) {
    // Killed while it was made. Any other that is not found may be on a disk that is not mounted.
    const isAbsent =
      isHoldfastError(error, 'RepositoryNotFound') || isHoldfastError(error, 'ResourceNotFound');
    if (isAbsent && unfinished && revisions.size === 0) {
      return { kind: 'abandoned', hasPoints: false };
    }
    throw error;
  }
}

/** A recovery key that somebody has outlives the catalogue: nobody is warned that there is none. */
async function keyMadeAt(repository: OpenRepository): Promise<number | null> {
  const { slots } = await listKeys(repository);
  const times = slots
    .filter(({ label }) => label !== OWN_KEY)
    .map(({ created }) => Date.parse(created));
  return times.length === 0 ? null : Math.min(...times);
}

/** Points of VMs; those of `holdfast repo` belong to no item. */
async function describeAll(
  repository: OpenRepository,
): Promise<ReadonlyMap<string, VmPointDescription>> {
  const all = new Map<string, VmPointDescription>();
  for (const { point, visible } of repository.state.points.values()) {
    if (!visible) continue;
    try {
      all.set(point, await describeVmPoint(repository, point));
    } catch (error) {
      if (!isHoldfastError(error, 'DefinitionUnsupported')) throw error;
    }
  }
  return all;
}

type Remembered = Extract<Found, { readonly kind: 'newer' }> & { readonly vaultId: string };

/**
 * The rows of the vault become what its documents say.
 *
 * @returns items whose documents name points that have gone; unless these are written anew, they are taken over again.
 */
async function apply(change: CatalogueChange, remembered: Remembered): Promise<readonly string[]> {
  const { vaultId, documents } = remembered;
  await putVaultRow(change, remembered);
  const items = documents.flatMap(({ id, value }) => {
    const item = itemIdOf(id);
    return item === undefined ? [] : [{ id: item, value }];
  });
  const policies = documents.flatMap(({ id, value }) => {
    const policy = policyIdOf(id);
    return policy === undefined ? [] : [policyFromDocument({ vaultId, id: policy, value })];
  });
  // First what is gone: a catalogue that was put back from a copy may have its names.
  await deleteOthers(change, vaultId, {
    items: items.map(({ id }) => id),
    policies: policies.map(({ id }) => id),
  });
  for (const policy of policies) {
    await change
      .insertInto('policies')
      .values(policy)
      .onConflict((known) => known.column('id').doUpdateSet(policy))
      .execute();
  }
  const stale: string[] = [];
  for (const item of items) {
    const { isStale } = await takeOverItem(change, {
      vaultId,
      ...item,
      points: remembered.points,
    });
    if (isStale) stale.push(item.id);
  }
  await takeOverCharges(change, vaultId, documents);
  await takeOverGroups(change, vaultId, documents);
  await change.deleteFrom('documents').where('vaultId', '=', vaultId).execute();
  for (const { id: document, revision } of documents) {
    if (stale.includes(itemIdOf(document) ?? '')) continue;
    await change.insertInto('documents').values({ vaultId, document, revision }).execute();
  }
  return stale;
}

/** Its document as the catalogue has it, without points that expired in the repository before a kill. */
async function rememberAgain(
  parts: ServiceParts,
  item: { readonly id: string; readonly vaultId: string },
): Promise<void> {
  await changeItem(parts, item, async () => ({ item: {}, also: async () => undefined }));
}

/** A data folder may have been moved, its catalogue with it. */
async function noteLocation(
  change: CatalogueChange,
  vaultId: string,
  repository: string,
): Promise<void> {
  await change.updateTable('vaults').set({ repository }).where('id', '=', vaultId).execute();
}

async function putVaultRow(change: CatalogueChange, of: Remembered): Promise<void> {
  await change.deleteFrom('deletedVaults').where('id', '=', of.vaultId).execute();
  const value = of.documents.find(({ id }) => id === VAULT_DOCUMENT)!.value;
  const { group, name, tags, settings, createdAt } = vaultFromDocument(value);
  const groupKey = nameKey(group);
  await requireNameFree(change, { id: of.vaultId, group, name });
  await change
    .insertInto('resourceGroups')
    .values({ key: groupKey, name: group, location: LOCATION, tags: '{}', createdAt })
    .onConflict((known) => known.doNothing())
    .execute();
  const told = {
    groupKey,
    key: nameKey(name),
    name,
    tags: tagsToJson(tags),
    repository: of.repository,
    repositoryId: of.repositoryId,
    settings: JSON.stringify(vaultSettingsToJson(settings)),
    createdAt,
  };
  await change
    .insertInto('vaults')
    .values({
      id: of.vaultId,
      ...told,
      location: LOCATION,
      recoveryKeyFetchedAt: of.keyMadeAt,
      revision: 1,
    })
    .onConflict((known) => known.column('id').doUpdateSet(told))
    .execute();
}

/** A vault that comes back may find its name taken. */
async function requireNameFree(
  change: CatalogueChange,
  { id, group, name }: { readonly id: string; readonly group: string; readonly name: string },
): Promise<void> {
  const query = change.selectFrom('vaults').select('id').where('groupKey', '=', nameKey(group));
  const other = await query.where('key', '=', nameKey(name)).executeTakeFirst();
  if (other === undefined || other.id === id) return;
  throw new HoldfastError(
    'ResourceExists',
    `it is the vault '${name}' of '${group}', and there is another one of that name (${other.id}): its repository can ` +
      'be used by holdfast repo meanwhile, or delete the other one',
  );
}

/** What the documents do not name any more. */
async function deleteOthers(
  change: CatalogueChange,
  vaultId: string,
  named: { readonly items: readonly string[]; readonly policies: readonly string[] },
): Promise<void> {
  const all = await change
    .selectFrom('items')
    .select('id')
    .where('vaultId', '=', vaultId)
    .execute();
  for (const { id } of all.filter((item) => !named.items.includes(item.id))) {
    await change.deleteFrom('points').where('itemId', '=', id).execute();
    await change.deleteFrom('items').where('id', '=', id).execute();
  }
  // Their documents say below which policy they have.
  await change
    .updateTable('items')
    .set({ policyId: null })
    .where('vaultId', '=', vaultId)
    .execute();
  let policies = change.deleteFrom('policies').where('vaultId', '=', vaultId);
  if (named.policies.length > 0) policies = policies.where('id', 'not in', named.policies);
  await policies.execute();
}

async function removeFolder({ repositories, dataFolder }: ServiceParts, id: string): Promise<void> {
  await repositories.release(id);
  await rm(join(dataFolder.vaults, id), { recursive: true, force: true });
}
