/** The document `vault` of a repository: whose it is. */
import { z } from 'zod';
import type { VaultDocument } from '../repositories/change-vault.ts';
import {
  vaultSettingsFromJson,
  vaultSettingsToJson,
  type VaultSettings,
} from './vault-settings.ts';

const DOCUMENT = z.strictObject({
  version: z.literal(1),
  id: z.string(),
  group: z.string(),
  name: z.string(),
  tags: z.record(z.string(), z.string()),
  settings: z.unknown(),
  createdAt: z.number(),
  /** Absent: it is not soft-deleted. */
  deleted: z.strictObject({ at: z.number(), purgeAt: z.number() }).optional(),
});

export const VAULT_DOCUMENT = 'vault';

export type RememberedVault = {
  readonly id: string;
  readonly group: string;
  readonly name: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly settings: VaultSettings;
  readonly createdAt: number;
};

/** Since when a vault is soft-deleted, and when it goes for good; ms. */
export type VaultDeletion = { readonly at: number; readonly purgeAt: number };

/** @param deleted absent: it is not soft-deleted. */
export function vaultDocument(vault: RememberedVault, deleted?: VaultDeletion): VaultDocument {
  const { id, group, name, tags, createdAt } = vault;
  const settings = vaultSettingsToJson(vault.settings);
  const value = { version: 1, id, group, name, tags, settings, createdAt };
  return {
    id: VAULT_DOCUMENT,
    value: deleted === undefined ? value : { ...value, deleted },
  };
}

export function vaultFromDocument(
  value: unknown,
): RememberedVault & { readonly deleted?: VaultDeletion | undefined } {
  const { version: _, settings, ...vault } = DOCUMENT.parse(value);
  return { ...vault, settings: vaultSettingsFromJson(settings) };
}
