/** A catalogue of one vault at its limits, made by rows: no repository, no host. */
import { join } from 'node:path';
import { FakeClock } from '#base';
import { openCatalogue, type OpenCatalogue } from '../../src/service/catalogue/catalogue.ts';
import type { CatalogueChange } from '../../src/service/catalogue/catalogue.ts';
import { newDefaultPolicy } from '../../src/service/policies/policy-records.ts';
import { pointFactsToJson } from '../../src/service/points/point-facts.ts';
import { retentionToJson } from '../../src/service/retention/point-retention.ts';
import {
  DEFAULT_VAULT_SETTINGS,
  vaultSettingsToJson,
} from '../../src/service/vaults/vault-settings.ts';
import { tell } from '../measuring/tables.ts';
import { DAY_MS, pointOf, vmNameOf, type RulesScale } from './scale.ts';

export const VAULT = { group: 'lab', name: 'large' };
const VAULT_ID = 'large';
const GIB = 2 ** 30;
const MIB = 2 ** 20;
/** The newest point is a few hours old. */
const NOW = Date.UTC(2026, 10, 30, 12);

export type RulesPlace = {
  /** For what a part makes; emptied at the end. */
  readonly folder: string;
  readonly catalogue: OpenCatalogue;
  readonly clock: FakeClock;
  readonly scale: RulesScale;
  readonly vm: (number: number) => { readonly group: string; readonly name: string };
  /** Months with charges, the newest last. */
  readonly months: readonly string[];
};

export async function makeVault(folder: string, scale: RulesScale): Promise<RulesPlace> {
  const catalogue = await openCatalogue(join(folder, 'catalogue.db'));
  const months = Array.from({ length: 12 }, (_, at) => `2025-${String(at + 12)}`).map((_, at) => {
    const date = new Date(Date.UTC(2025, 11 + at, 1));
    return date.toISOString().slice(0, 7);
  });
  tell(`making ${scale.vms} VMs with ${scale.points} points`);
  await catalogue.change(async (change) => {
    await makeRows(change, scale);
    for (const month of months) await makeMonth(change, month, scale);
    await change
      .insertInto('chargeReadings')
      .values({ vaultId: VAULT_ID, day: Math.floor(NOW / DAY_MS) - 1, sizes: null })
      .execute();
    const sheet = {
      currency: 'USD',
      instance: { small: 5, standard: 10 },
      storage: { vault: { LocallyRedundant: 0.0224 } },
    };
    const row = { vaultId: VAULT_ID, month: '2020-01', sheet: JSON.stringify(sheet) };
    await change.insertInto('priceSheets').values(row).execute();
  });
  return { folder, catalogue, clock: new FakeClock(NOW), scale, months, vm: vmOf };
}

function vmOf(number: number): { readonly group: string; readonly name: string } {
  return { group: 'lab', name: vmNameOf(number) };
}

async function makeRows(change: CatalogueChange, { vms, points }: RulesScale): Promise<void> {
  const group = { key: 'lab', name: 'lab', location: 'local', tags: '{}', createdAt: 0 };
  await change.insertInto('resourceGroups').values(group).execute();
  const vault = {
    id: VAULT_ID,
    groupKey: 'lab',
    key: VAULT.name,
    name: VAULT.name,
    location: 'local',
    tags: '{}',
    repository: '/nowhere',
    repositoryId: '0'.repeat(32),
    settings: JSON.stringify(vaultSettingsToJson(DEFAULT_VAULT_SETTINGS)),
    recoveryKeyFetchedAt: null,
    revision: 1,
    createdAt: 0,
  };
  await change.insertInto('vaults').values(vault).execute();
  const of = { vaultId: VAULT_ID, now: 0, others: [] };
  const policy = newDefaultPolicy(of);
  await change.insertInto('policies').values(policy).execute();
  for (let vm = 0; vm < vms; vm += 1) {
    const { group: vmGroup, name: vmName } = vmOf(vm);
    const id = `item-${vm}`;
    const item = {
      id,
      vaultId: VAULT_ID,
      vmGroupKey: vmGroup,
      vmKey: vmName,
      vmGroup,
      vmName,
      repositoryItem: `${vmGroup}/${vmName}`,
      policyId: policy.id,
      lastPolicyId: null,
      state: 'Protected',
      stateSince: 0,
      diskSelection: null,
      lastBackup: null,
      purgeAt: null,
      deletedAt: null,
      lastRunAt: null,
      nextRunAt: null,
      revision: 1,
      createdAt: 0,
    };
    await change.insertInto('items').values(item).execute();
    for (let point = 0; point < points; point += 1) await makePoint(change, { vm, point, points });
  }
}

async function makePoint(
  change: CatalogueChange,
  { vm, point, points }: { readonly vm: number; readonly point: number; readonly points: number },
): Promise<void> {
  const takenAt = NOW - (points - point) * DAY_MS + 4 * 3_600_000;
  const ownedBytes = point === 0 ? 40 * GIB : (20 + (point % 7)) * MIB;
  const disk = {
    name: 'vda',
    sizeBytes: 100 * GIB,
    changedBytes: ownedBytes,
    storedBytes: ownedBytes,
  };
  const row = {
    id: pointOf(vm, point),
    itemId: `item-${vm}`,
    takenAt,
    consistency: 'CrashConsistent',
    origin: 'scheduled',
    jobId: null,
    expiresAt: null,
    retention: retentionToJson({ runAt: takenAt, tags: [{ class: 'daily' }] }),
    facts: pointFactsToJson({ vmState: 'off', disks: [disk], excluded: [] }),
  };
  await change.insertInto('points').values(row).execute();
  const owned = {
    vaultId: VAULT_ID,
    itemId: row.itemId,
    pointId: row.id,
    ownedBytes,
    usedBytes: null,
  };
  await change.insertInto('chargedPoints').values(owned).execute();
}

async function makeMonth(
  change: CatalogueChange,
  month: string,
  { vms, points }: RulesScale,
): Promise<void> {
  const days = Array.from({ length: 28 }, (_, at) => ({
    date: at + 1,
    instanceBytes: 60 * GIB,
    storedBytes: 42 * GIB,
    chargedBytes: 42 * GIB,
    isCharged: true,
    isEstimated: false,
  }));
  for (let vm = 0; vm < vms; vm += 1) {
    const owned = Array.from({ length: points }, (_, point) => [
      pointOf(vm, point),
      [[1, 28, 20 * MIB]],
    ]);
    const { group: vmGroup, name: vmName } = vmOf(vm);
    const row = {
      vaultId: VAULT_ID,
      itemId: `item-${vm}`,
      month,
      vmGroup,
      vmName,
      days: JSON.stringify(days),
      points: JSON.stringify(Object.fromEntries(owned)),
    };
    await change.insertInto('chargeMonths').values(row).execute();
  }
}
