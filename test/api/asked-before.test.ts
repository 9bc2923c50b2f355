/** What clients ask beside the work itself: refreshes, validations, features, counts, PINs. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import type { OperationStatusValidateOperationExtendedInfo } from '@azure/arm-recoveryservicesbackup';
import { addImages, GROUP, type TestService } from '../../src/service/testing/test-service.ts';
import { backupLab, VAULT } from './backup-lab.ts';

const oneVm = (made: TestService): void =>
  void addImages(made, 'web', [{ name: 'a', sizeBytes: 65_536 }]);

test('a refresh finds a VM that has come, 202 until it has, 204 then', async (t) => {
  const lab = await backupLab(t, oneVm);
  addImages(lab.made, 'late', [{ name: 'a', sizeBytes: 65_536 }]);
  const path = `${lab.vault}/backupFabrics/Azure/refreshContainers`;
  const answer = await lab.call('POST', path);
  assert.equal(answer.status, 202);
  const location = new URL(String(answer.headers['location'])).pathname;
  let { status } = await lab.call('GET', location);
  while (status === 202) {
    await sleep(20);
    ({ status } = await lab.call('GET', location));
  }
  assert.equal(status, 204);
  const list = lab.client.backupProtectableItems.list(VAULT, GROUP, {
    filter: "backupManagementType eq 'AzureIaasVM'",
  });
  const names = [];
  for await (const { properties } of list) names.push(properties?.friendlyName);
  assert.deepEqual(names, ['late', 'web']);
});

test('a container is shown under the name that its item has', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  const [, , , container] = lab.names('web');
  const { properties, name } = await lab.client.protectionContainers.get(
    VAULT,
    GROUP,
    'Azure',
    container,
  );
  assert.equal(name, container);
  assert.equal(properties?.containerType, 'Microsoft.Compute/virtualMachines');
  assert.equal(properties.registrationStatus, 'Registered');
  const list = lab.client.backupProtectionContainers.list(VAULT, GROUP, {
    filter:
      "backupManagementType eq 'AzureIaasVM' and friendlyName eq 'WEB' and status eq 'Registered'",
  });
  const found = [];
  for await (const one of list) found.push(one.name);
  assert.deepEqual(found, [container]);
});

test('features, counts and usages are told; a security PIN is refused', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  const features = await lab.client.featureSupport.validate('local', {
    featureType: 'AzureVMResourceBackup',
    vmSize: 'Holdfast',
  });
  assert.equal(features.supportStatus, 'Supported');
  const counts = [];
  const filter = "type eq 'BackupProtectedItemCountSummary'";
  for await (const one of lab.client.backupUsageSummaries.list(VAULT, GROUP, { filter })) {
    counts.push(one.currentValue);
  }
  assert.deepEqual(counts, [1]);
  await assert.rejects(lab.client.securityPINs.get(VAULT, GROUP), { code: 'NotSupported' });
  const elsewhere = { resourceType: 'VM', resourceId: lab.vmId('web') };
  await assert.rejects(lab.client.backupStatus.get('westeurope', elsewhere), { statusCode: 400 });
});

test('a restore is validated without being started, and started by the poller of the SDK', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  await lab.ended(await lab.startBackup('web'));
  const [point] = await lab.points('web');
  const properties = {
    objectType: 'ValidateIaasVMRestoreOperationRequest',
    restoreRequest: {
      objectType: 'IaasVMRestoreRequest',
      recoveryPointId: point!.name,
      recoveryType: 'RestoreDisks',
      sourceResourceId: lab.vmId('web'),
      storageAccountId: lab.accountId.replace(/sa1$/, 'none'),
    },
  } as const;
  const { status, headers } = await lab.call(
    'POST',
    `${lab.vault}/backupTriggerValidateOperation`,
    { id: lab.vault, properties },
  );
  assert.equal(status, 202);
  const id = new URL(String(headers['location'])).pathname.split('/').at(-1)!;
  const told = await lab.client.validateOperationStatuses.get(VAULT, GROUP, id);
  assert.equal(told.properties?.objectType, 'OperationStatusValidateOperationExtendedInfo');
  const { validateOperationResponse: found } =
    told.properties as OperationStatusValidateOperationExtendedInfo;
  assert.equal(found?.validationResults?.[0]?.code, 'ResourceNotFound');
  await lab.client.restores.beginTriggerAndWait(
    ...lab.names('web'),
    point!.name,
    {
      properties: {
        objectType: 'IaasVMRestoreRequest',
        recoveryPointId: point!.name,
        recoveryType: 'RestoreDisks',
        sourceResourceId: lab.vmId('web'),
        storageAccountId: lab.accountId,
        region: 'local',
      },
    },
    { updateIntervalInMs: 10 },
  );
});
