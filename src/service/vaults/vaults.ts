/**
 * Vaults as they are read and changed. Each owns one repository, its policies and its items; how one begins and
 * ends is in create-vault.ts and delete-vault.ts.
 */
import { HoldfastError } from '#base';
import { addRecoveryKey } from '#backup';
import { noteActivity } from '../activities/activities.ts';
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import { nameKey } from '../names.ts';
import { changeVault } from '../repositories/change-vault.ts';
import type { ServiceParts } from '../service-parts.ts';
import { parseTags, tagsToJson, type Tags } from '../tags.ts';
import { vaultDocument, type RememberedVault } from './vault-document.ts';
import {
  changedSettings,
  vaultSettingsFromJson,
  vaultSettingsToJson,
  type VaultSettings,
} from './vault-settings.ts';

export type VaultName = { readonly group: string; readonly name: string };

export type Vault = RememberedVault & {
  readonly location: string;
  /** Where its repository lies, for `holdfast repo`. */
  readonly repository: string;
  readonly repositoryId: string;
  readonly hasRecoveryKey: boolean;
  /** Grows with every change. */
  readonly revision: number;
};

/** @throws {HoldfastError} `ResourceNotFound`. */
export async function getVault(reader: CatalogueReader, name: VaultName): Promise<Vault> {
  const found = await vaultRows(reader)
    .where('vaults.groupKey', '=', nameKey(name.group))
    .where('vaults.key', '=', nameKey(name.name))
    .executeTakeFirst();
  if (found === undefined) throw vaultNotFound(name);
  return vaultOf(found);
}

/** Of one group, or all; by name. */
export async function listVaults(
  reader: CatalogueReader,
  group?: string,
): Promise<readonly Vault[]> {
  const all = vaultRows(reader).orderBy('vaults.key');
  const query = group === undefined ? all : all.where('vaults.groupKey', '=', nameKey(group));
  return (await query.execute()).map(vaultOf);
}

/**
 * @param revision where given, the change is refused if the vault is not at it any more.
 * @throws {HoldfastError} `ResourceNotFound`, `PreconditionFailed`, `InvalidTags`,
 *   `BMSUserErrorInvalidVaultConfig`, `BMSUserErrorSoftDeleteAlwaysOn`,
 *   `UserErrorUnsupportedVaultImmutabilityStateChange`.
 */
export async function updateVault(
  parts: ServiceParts,
  name: VaultName,
  wanted: {
    readonly tags?: Tags | undefined;
    readonly settings?: Partial<VaultSettings>;
    readonly revision?: number | undefined;
  },
): Promise<Vault> {
  const { catalogue } = parts;
  const { id } = await getVault(catalogue.read, name);
  return await changeVault(parts, id, async () => {
    const before = await getVault(catalogue.read, name);
    requireRevision(before, wanted.revision);
    const settings = changedSettings(before.settings, wanted.settings ?? {});
    const vault = { ...before, settings, tags: wanted.tags ?? before.tags };
    const row = {
      tags: tagsToJson(vault.tags),
      settings: JSON.stringify(vaultSettingsToJson(settings)),
      revision: before.revision + 1,
    };
    return {
      documents: [vaultDocument(vault)],
      apply: async (change) => {
        await change.updateTable('vaults').set(row).where('id', '=', id).execute();
        await noteActivity(parts, change, {
          action: 'change vault',
          target: `${vault.group}/${vault.name}`,
          ...immutabilityChanged(before.settings, settings),
        });
        return await getVault(change, name);
      },
    };
  });
}

/** For the activity log: who turned it off, who locked it. */
function immutabilityChanged(
  { immutability: before }: VaultSettings,
  { immutability }: VaultSettings,
): { readonly detail?: object } {
  return before === immutability ? {} : { detail: { immutability } };
}

/**
 * Makes another way into the vault's repository; from then on nobody is warned that there is none.
 *
 * @returns the key, which is kept nowhere: a `--password-file` of `holdfast repo`.
 */
export async function makeVaultRecoveryKey(parts: ServiceParts, name: VaultName): Promise<string> {
  const { catalogue, repositories, clock } = parts;
  const { id, group, name: own } = await getVault(catalogue.read, name);
  const { recoveryKey } = await repositories.use(
    id,
    async (repository) => await addRecoveryKey(repository, 'recovery'),
  );
  await catalogue.change(async (change) => {
    const now = clock.nowMs();
    await change
      .updateTable('vaults')
      .set({ recoveryKeyFetchedAt: now })
      .where('id', '=', id)
      .execute();
    await noteActivity(parts, change, { action: 'make recovery key', target: `${group}/${own}` });
  });
  return recoveryKey;
}

/** @throws {HoldfastError} `PreconditionFailed` if `revision` is given and is not that of `resource`. */
export function requireRevision(
  resource: { readonly name: string; readonly revision: number },
  revision: number | undefined,
): void {
  if (revision === undefined || revision === resource.revision) return;
  throw new HoldfastError(
    'PreconditionFailed',
    `'${resource.name}' was changed meanwhile: read it again, then repeat the change.`,
  );
}

function vaultNotFound({ group, name }: VaultName): HoldfastError {
  return new HoldfastError(
    'ResourceNotFound',
    `The vault '${name}' in the resource group '${group}' was not found.`,
    { details: { type: 'Microsoft.RecoveryServices/vaults', name, group } },
  );
}

function vaultRows(reader: CatalogueReader) {
  return reader
    .selectFrom('vaults')
    .innerJoin('resourceGroups', 'resourceGroups.key', 'vaults.groupKey')
    .selectAll('vaults')
    .select('resourceGroups.name as group');
}

type VaultRow = Awaited<ReturnType<ReturnType<typeof vaultRows>['execute']>>[number];

function vaultOf({ tags, settings, recoveryKeyFetchedAt, ...row }: VaultRow): Vault {
  const { id, group, name, location, repository, repositoryId, revision, createdAt } = row;
  return {
    id,
    group,
    name,
    location,
    repository,
    repositoryId,
    revision,
    createdAt,
    tags: parseTags(tags),
    settings: vaultSettingsFromJson(JSON.parse(settings)),
    hasRecoveryKey: recoveryKeyFetchedAt !== null,
  };
}
