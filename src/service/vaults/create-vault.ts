/**
 * A vault's beginning:
 *
 * ```
 *   its folder with the key ─► repository ─► documents ─► catalogue ─► answer
 * ```
 * Killed before the first document, a folder is left that holds no point; the next start removes it
 * (take-over-vaults.ts).
 */
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { HoldfastError } from '#base';
import { createRepository, DEFAULT_BLOCK_SIZE, makeRecoveryKey } from '#backup';
import { noteActivity } from '../activities/activities.ts';
import { getResourceGroup } from '../groups/resource-groups.ts';
import { LOCATION, nameKey, parseName } from '../names.ts';
import { policyFromJson } from '../policy/policy-json.ts';
import { newDefaultPolicy, policyDocument } from '../policies/policy-records.ts';
import { changeVault } from '../repositories/change-vault.ts';
import { OWN_KEY, vaultIsMade, writeVaultFolder } from '../repositories/vault-folder.ts';
import type { ServiceParts } from '../service-parts.ts';
import { tagsToJson, type Tags } from '../tags.ts';
import { vaultDocument } from './vault-document.ts';
import {
  changedSettings,
  DEFAULT_VAULT_SETTINGS,
  vaultSettingsToJson,
  type VaultSettings,
} from './vault-settings.ts';
import { inTurnOfVaults } from './vault-quota.ts';
import { getVault, listVaults, type Vault, type VaultName } from './vaults.ts';

export type NewVault = VaultName & {
  readonly tags: Tags;
  readonly settings: Partial<VaultSettings>;
  /** An empty folder or one that is not there; absent: within the data folder. */
  readonly repository?: string | undefined;
};

/**
 * Makes the vault with its repository and `DefaultPolicy` (R7). Two that make the same vault come one after
 * another; the second is refused.
 *
 * @throws {HoldfastError} `ResourceGroupNotFound`, `InvalidResourceName`, `InvalidTags`, `ResourceExists`,
 *   `RepositoryExists`, `BMSUserErrorInvalidVaultConfig`, `UserErrorUnsupportedVaultImmutabilityStateChange`;
 *   `UserErrorQuotaExceeded` (R1); the store's.
 */
export async function createVault(parts: ServiceParts, wanted: NewVault): Promise<Vault> {
  const name = parseName(wanted.name, 'vault');
  const { name: group } = await getResourceGroup(parts.catalogue.read, wanted.group);
  const settings = changedSettings(DEFAULT_VAULT_SETTINGS, wanted.settings);
  const { tags } = wanted;
  tagsToJson(tags);
  return await inTurnOfVaults(parts, { group, name }, async () => {
    const known = await listVaults(parts.catalogue.read, group);
    if (known.some((vault) => nameKey(vault.name) === nameKey(name))) {
      throw new HoldfastError('ResourceExists', `The vault '${name}' is there already.`);
    }
    const createdAt = parts.clock.nowMs();
    const made = await makeRepository(parts, wanted.repository);
    const vault = { id: made.id, group, name, tags, settings, createdAt };
    const recorded = await record(parts, vault, made);
    await vaultIsMade(join(parts.dataFolder.vaults, made.id));
    return recorded;
  });
}

type MadeRepository = {
  /** The vault's. */
  readonly id: string;
  readonly repository: string;
  readonly repositoryId: string;
};

async function makeRepository(
  parts: ServiceParts,
  chosen: string | undefined,
): Promise<MadeRepository> {
  const { dataFolder, masterKey, random, caller } = parts;
  const id = randomUUID();
  const folder = join(dataFolder.vaults, id);
  const location = resolve(chosen ?? join(folder, 'repository'));
  const key = makeRecoveryKey(random);
  await writeVaultFolder(folder, { id, masterKey, access: { repository: location, key } });
  try {
    const made = await createRepository({
      location,
      blockSize: DEFAULT_BLOCK_SIZE,
      access: { kdf: 'recovery', recoveryKey: key },
      label: OWN_KEY,
      caller,
    });
    return { id, repository: made.location, repositoryId: made.id };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function record(
  parts: ServiceParts,
  vault: Parameters<typeof vaultDocument>[0],
  { repository, repositoryId }: MadeRepository,
): Promise<Vault> {
  const { id, group, name, tags, createdAt } = vault;
  const rows = await parts.catalogue.read.selectFrom('policies').select('body').execute();
  const others = rows.map(({ body }) => policyFromJson(body));
  const policy = newDefaultPolicy({ vaultId: id, now: createdAt, others });
  return await changeVault(parts, id, async () => ({
    // The vault's own last: without it the next start takes the folder for one that was not finished.
    documents: [policyDocument(policy), vaultDocument(vault)],
    apply: async (change) => {
      const row = {
        id,
        groupKey: nameKey(group),
        key: nameKey(name),
        name,
        location: LOCATION,
        tags: tagsToJson(tags),
        repository,
        repositoryId,
        settings: JSON.stringify(vaultSettingsToJson(vault.settings)),
        recoveryKeyFetchedAt: null,
        revision: 1,
        createdAt,
      };
      await change.insertInto('vaults').values(row).execute();
      await change.insertInto('policies').values(policy).execute();
      await noteActivity(parts, change, { action: 'create vault', target: `${group}/${name}` });
      return await getVault(change, vault);
    },
  }));
}
