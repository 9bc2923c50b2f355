/** Which vaults are immutable (R62): as whoever changes something of theirs has to know it, in the turn of the vault. */
import type { CatalogueReader } from '../catalogue/catalogue.ts';
import { isImmutable, vaultSettingsFromJson } from '../vaults/vault-settings.ts';

export type ImmutableVault = {
  readonly name: string;
  /** For ever. */
  readonly isLocked: boolean;
};

/** Undefined: it is not immutable. */
export async function immutableVault(
  reader: CatalogueReader,
  vaultId: string,
): Promise<ImmutableVault | undefined> {
  const query = reader.selectFrom('vaults').select(['name', 'settings']).where('id', '=', vaultId);
  const { name, settings: json } = await query.executeTakeFirstOrThrow();
  const settings = vaultSettingsFromJson(JSON.parse(json));
  if (!isImmutable(settings)) return undefined;
  return { name, isLocked: settings.immutability === 'Locked' };
}
