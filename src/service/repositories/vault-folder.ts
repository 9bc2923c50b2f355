/**
 * A vault's folder in the data folder: the way into its repository, wherever that lies. It is there before the
 * repository and outlives the catalogue: whoever has it and `master.key` can take the vault over.
 *
 * ```
 *   vaults/<id>/vault.json    {version: 1, repository, sealedKey}
 *   vaults/<id>/repository/   unless the owner chose another place
 *   vaults/<id>/unfinished    while the vault is being made: only what has it is ever removed as a leftover
 *   vaults/<id>/forgotten     its repository was gone (vaults/forget-vault.ts): nobody takes the vault over
 * ```
 */
import { access, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { HoldfastError } from '#base';
import type { MasterKey } from '#keyvault';

/** The label of the service's own key in the vault's repository. */
export const OWN_KEY = 'service';

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

/** Of a vault that is being made (`vaultIsMade`). Durable on return. */
export async function writeVaultFolder(
  folder: string,
  vault: { readonly id: string; readonly masterKey: MasterKey; readonly access: VaultAccess },
): Promise<void> {
  const { id, masterKey, access } = vault;
  await mkdir(folder, { mode: 0o700 });
  await (await open(markOf(folder), 'wx', 0o600)).close();
  await syncFolder(folder);
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

/** From now on the folder is never taken for a leftover. Durable on return. */
export async function vaultIsMade(folder: string): Promise<void> {
  await rm(markOf(folder), { force: true });
  await syncFolder(folder);
}

export async function isUnfinished(folder: string): Promise<boolean> {
  return await isThere(markOf(folder));
}

/** From now on nobody takes the vault over, until the mark is removed by hand. Durable on return; no folder, no mark. */
export async function markForgotten(folder: string): Promise<void> {
  if (!(await isThere(folder))) return;
  await (await open(forgottenMarkOf(folder), 'w', 0o600)).close();
  await syncFolder(folder);
}

export async function isForgotten(folder: string): Promise<boolean> {
  return await isThere(forgottenMarkOf(folder));
}

/** @throws {HoldfastError} `ResourceNotFound` if there is none; `MasterKeyWrong`. */
export async function readVaultFolder(
  folder: string,
  vault: { readonly id: string; readonly masterKey: MasterKey },
): Promise<VaultAccess> {
  const { repository, sealedKey } = FILE.parse(await readJson(vaultFile(folder)));
  const key = vault.masterKey.unseal(sealedKey, purpose(vault.id)).toString();
  return { repository: isWithin(repository, vault.id) ? join(folder, INSIDE) : repository, key };
}

const INSIDE = 'repository';

/** Whether the repository lay in its vault's folder when that was made: wherever that is now, so it does. */
function isWithin(repository: string, vaultId: string): boolean {
  return basename(repository) === INSIDE && basename(dirname(repository)) === vaultId;
}

function markOf(folder: string): string {
  return join(folder, 'unfinished');
}

function forgottenMarkOf(folder: string): string {
  return join(folder, 'forgotten');
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
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
