/**
 * A vault's folder in the data folder: the way into its repository, wherever that lies. It is there before the
 * repository and outlives the catalogue: whoever has it and `master.key` can take the vault over.
 *
 * ```
 *   vaults/<id>/vault.json    {version: 1, repository, sealedKey}
 *   vaults/<id>/repository/   unless the owner chose another place
 * ```
 */
import { mkdir, open, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { HoldfastError } from '#base';
import type { MasterKey } from '#keyvault';

export type VaultAccess = {
  /** Absolute. */
  readonly repository: string;
  /** Opens the repository, as a recovery key does. */
  readonly key: string;
};

const FILE = z.strictObject({
  version: z.literal(1),
  repository: z.string(),
  sealedKey: z.string(),
});

const purpose = (vaultId: string): string => `vault ${vaultId}`;

/** Durable on return. */
export async function writeVaultFolder(
  folder: string,
  vault: { readonly id: string; readonly masterKey: MasterKey; readonly access: VaultAccess },
): Promise<void> {
  const { id, masterKey, access } = vault;
  await mkdir(folder, { mode: 0o700 });
  const content = {
    version: 1,
    repository: access.repository,
    sealedKey: masterKey.seal(Buffer.from(access.key), purpose(id)),
  };
  const draft = join(folder, 'vault.json.new');
  const file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(JSON.stringify(content));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, vaultFile(folder));
  for (const path of [folder, join(folder, '..')]) await syncFolder(path);
}

/** @throws {HoldfastError} `ResourceNotFound` if there is none; `MasterKeyWrong`. */
export async function readVaultFolder(
  folder: string,
  vault: { readonly id: string; readonly masterKey: MasterKey },
): Promise<VaultAccess> {
  const { repository, sealedKey } = FILE.parse(await readJson(vaultFile(folder)));
  return { repository, key: vault.masterKey.unseal(sealedKey, purpose(vault.id)).toString() };
}

/** The ids of vaults that have a folder. */
export async function listVaultFolders(vaults: string): Promise<readonly string[]> {
  return (await readdir(vaults, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
}

function vaultFile(folder: string): string {
  return join(folder, 'vault.json');
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw new HoldfastError('ResourceNotFound', `${path} cannot be read`, { cause: error });
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
