import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import { listActivities } from '../activities/activities.ts';
import { testService, VAULT, withVault } from '../testing/test-service.ts';
import { vaultFromDocument } from '../vaults/vault-document.ts';
import {
  DEFAULT_VAULT_SETTINGS,
  vaultSettingsFromJson,
  vaultSettingsToJson,
} from '../vaults/vault-settings.ts';
import { getVault, updateVault } from '../vaults/vaults.ts';

test('a locked vault is locked for a service that has lost its catalogue; the log of activities tells who locked it', async (t) => {
  const made = await testService(t);
  await withVault(made);
  for (const immutability of ['Unlocked', 'Locked'] as const) {
    await updateVault(made.service(), VAULT, { settings: { immutability } });
  }
  const told = await listActivities(made.service().catalogue.read);
  assert.deepEqual(
    told.filter(({ action }) => action === 'change vault').map(({ detail }) => detail),
    [{ immutability: 'Locked' }, { immutability: 'Unlocked' }],
  );
  await made.service().close();
  for (const end of ['', '-wal', '-shm']) {
    rmSync(join(made.data, `catalogue.db${end}`), { force: true });
  }
  const service = await made.restart();
  assert.equal((await getVault(service.catalogue.read, VAULT)).settings.immutability, 'Locked');
  await assert.rejects(
    updateVault(service, VAULT, { settings: { immutability: 'Disabled' } }),
    (error) => isHoldfastError(error, 'UserErrorUnsupportedVaultImmutabilityStateChange'),
  );
});

test('a row and a document of a time without immutability are of vaults that are not immutable', () => {
  const { immutability: _, ...before } = vaultSettingsToJson(DEFAULT_VAULT_SETTINGS) as {
    readonly immutability: unknown;
  };
  assert.deepEqual(vaultSettingsFromJson(before), DEFAULT_VAULT_SETTINGS);
  const vault = { version: 1, id: 'i', group: 'g', name: 'v', tags: {}, createdAt: 0 };
  const { settings } = vaultFromDocument({ ...vault, settings: before });
  assert.equal(settings.immutability, 'Disabled');
});
