import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import { AZURE_QUOTAS, checkQuota, checkVmSize, type CountedQuota } from './quotas.ts';

const exceeded = (error: unknown): boolean => isHoldfastError(error, 'UserErrorQuotaExceeded');

test('no quota holds unless it is set', () => {
  checkQuota({}, 'policiesPerVault', 1e6);
  checkVmSize({}, { cores: 1, memoryBytes: 1 });
});

test('R1 R14 at Azure’s values the last that fits is let through, and the next refused', () => {
  const limits: [CountedQuota, number][] = [
    ['vaultsPerSubscription', 500],
    ['vmsPerVault', 1000],
    ['policiesPerVault', 200],
    ['policyChangesPerDay', 50],
    ['vmsPerPolicy', 100],
    ['protectionChangesPerDay', 1000],
    ['onDemandBackupsPerDay', 9],
  ];
  for (const [quota, limit] of limits) {
    checkQuota(AZURE_QUOTAS, quota, limit - 1);
    assert.throws(() => checkQuota(AZURE_QUOTAS, quota, limit), exceeded, quota);
  }
});

test('R6 at Azure’s values a VM has 2 cores and 1 GiB', () => {
  const memoryBytes = 1024 ** 3;
  checkVmSize(AZURE_QUOTAS, { cores: 2, memoryBytes });
  assert.throws(() => checkVmSize(AZURE_QUOTAS, { cores: 1, memoryBytes }), exceeded);
  assert.throws(
    () => checkVmSize(AZURE_QUOTAS, { cores: 2, memoryBytes: memoryBytes - 1 }),
    exceeded,
  );
});
