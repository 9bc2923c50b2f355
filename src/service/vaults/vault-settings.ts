/** What can be set of a vault. */
import { z } from 'zod';
import { HoldfastError } from '#base';

const SETTINGS = z.strictObject({
  version: z.literal(1),
  /** R58: the days count from the deletion's own setting. */
  softDelete: z.enum(['Enabled', 'Disabled', 'AlwaysON']),
  softDeleteDays: z.int().min(14).max(180),
  /** R62 (decision 0016); absent in what was written before there was such a thing. */
  immutability: z.enum(['Disabled', 'Unlocked', 'Locked']).default('Disabled'),
  enhancedSecurity: z.enum(['Enabled', 'Disabled']),
  jobFailureAlerts: z.enum(['Enabled', 'Disabled']),
  classicAlerts: z.enum(['Enabled', 'Disabled']),
  publicNetworkAccess: z.enum(['Enabled', 'Disabled']),
});

export type VaultSettings = Readonly<Omit<z.infer<typeof SETTINGS>, 'version'>>;

export const DEFAULT_VAULT_SETTINGS: VaultSettings = {
  softDelete: 'Enabled',
  softDeleteDays: 14,
  immutability: 'Disabled',
  enhancedSecurity: 'Enabled',
  jobFailureAlerts: 'Enabled',
  classicAlerts: 'Enabled',
  publicNetworkAccess: 'Enabled',
};

export function vaultSettingsFromJson(value: unknown): VaultSettings {
  const { version: _, ...settings } = SETTINGS.parse(value);
  return settings;
}

/** As it was written before there were immutable vaults, where it is none: documents are compared. */
export function vaultSettingsToJson({ immutability, ...settings }: VaultSettings): unknown {
  const told = { version: 1, ...settings };
  return immutability === 'Disabled' ? told : { ...told, immutability };
}

/**
 * @throws {HoldfastError} `BMSUserErrorInvalidVaultConfig` for days out of range;
 *   `BMSUserErrorSoftDeleteAlwaysOn` where always-on would be undone or its days made fewer;
 *   `UserErrorUnsupportedVaultImmutabilityStateChange`.
 */
export function changedSettings(
  before: VaultSettings,
  change: Partial<VaultSettings>,
): VaultSettings {
  const after = { ...before, ...change };
  const { softDeleteDays: days } = after;
  if (!Number.isInteger(days) || days < 14 || days > 180) {
    throw new HoldfastError(
      'BMSUserErrorInvalidVaultConfig',
      `softDeleteRetentionPeriodInDays is ${days}; it must be a whole number of days from 14 to 180.`,
    );
  }
  if (before.softDelete === 'AlwaysON' && after.softDelete !== 'AlwaysON') {
    throw new HoldfastError(
      'BMSUserErrorSoftDeleteAlwaysOn',
      'Soft delete of this vault is always on: that cannot be undone.',
    );
  }
  requireImmutabilityChange(before, after);
  return after;
}

/** Whether points of the vault stay for as long as was promised (R62). */
export function isImmutable({ immutability }: VaultSettings): boolean {
  return immutability !== 'Disabled';
}

/**
 * ```
 *   Disabled ◄──► Unlocked ───► Locked
 * ```
 * As in Azure: what cannot be undone is asked for in two steps.
 */
function requireImmutabilityChange(
  { immutability: before }: VaultSettings,
  { immutability: after }: VaultSettings,
): void {
  const isLost = before === 'Locked' && after !== 'Locked';
  if (!isLost && !(before === 'Disabled' && after === 'Locked')) return;
  throw new HoldfastError(
    'UserErrorUnsupportedVaultImmutabilityStateChange',
    isLost
      ? `The immutability of this vault is locked: it cannot be made ${after} any more.`
      : 'Immutability is locked only where it is enabled: make the vault Unlocked first. Locked, it stays so for ever.',
  );
}
