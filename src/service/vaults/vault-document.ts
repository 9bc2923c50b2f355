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

export function vaultDocument(vault: RememberedVault): VaultDocument {
  const { id, group, name, tags, createdAt } = vault;
  const settings = vaultSettingsToJson(vault.settings);
  return { id: VAULT_DOCUMENT, value: { version: 1, id, group, name, tags, settings, createdAt } };
}

export function vaultFromDocument(value: unknown): RememberedVault {
  const { version: _, settings, ...vault } = DOCUMENT.parse(value);
  return { ...vault, settings: vaultSettingsFromJson(settings) };
}
