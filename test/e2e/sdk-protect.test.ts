/**
 * Protection, backups, restores and their ends by Azure's own SDKs for JavaScript against `holdfast serve`: signed in
 * by @azure/identity, followed by the SDK's pollers where it has them and by the headers where it has not.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { RecoveryServicesClient } from '@azure/arm-recoveryservices';
import {
  RecoveryServicesBackupClient,
  type AzureIaaSVMJob,
  type AzureIaaSVMProtectedItem,
  type IaasVMRestoreRequest,
  type OperationStatusJobExtendedInfo,
} from '@azure/arm-recoveryservicesbackup';
import { ClientSecretCredential } from '@azure/identity';
import { json } from '../cli/holdfast.ts';
import { Serving } from './serving.ts';

const GROUP = 'lab';
const VAULT = 'v1';
const PLAIN = `iaasvmcontainerv2;${GROUP};web`;
const NAMES = [VAULT, GROUP, 'Azure', `IaasVMContainer;${PLAIN}`, `VM;${PLAIN}`] as const;
const DISKS = ['a', 'b'];

const serving = new Serving();
let images = '';
let client: RecoveryServicesBackupClient;
let vaults: RecoveryServicesClient;
let group = '';

before(async () => {
  images = join(serving.folder, 'images', 'web');
  mkdirSync(images, { recursive: true });
  for (const name of DISKS) writeFileSync(join(images, `${name}.raw`), randomBytes(1 << 20));
  await serving.start();
  const { caFile, url, tenantId, clientId, clientSecret, subscriptionId } = serving.account;
  const authority = readFileSync(caFile, 'utf8');
  tls.setDefaultCACertificates([...tls.getCACertificates('default'), authority]);
  const variables = { HOLDFAST_DATA: serving.data };
  const connect = `images:${join(serving.folder, 'images')}`;
  await json(['host', 'add', GROUP, '--connect', connect], { variables });
  const account = ['sa1', '--group', GROUP, '--path', join(serving.folder, 'restored')];
  await json(['storage-account', 'add', ...account], { variables });
  const options = { authorityHost: url, disableInstanceDiscovery: true };
  const credential = new ClientSecretCredential(tenantId, clientId, clientSecret, options);
  client = new RecoveryServicesBackupClient(credential, subscriptionId, { endpoint: url });
  vaults = new RecoveryServicesClient(credential, subscriptionId, { endpoint: url });
  group = `/subscriptions/${subscriptionId}/resourceGroups/${GROUP}`;
  await vaults.vaults.beginCreateOrUpdateAndWait(GROUP, VAULT, {
    location: 'local',
    sku: { name: 'Standard' },
    properties: {},
  });
});

const vmId = (): string => `${group}/providers/Microsoft.Compute/virtualMachines/web`;
const policyId = (name = 'DefaultPolicy'): string =>
  `${group}/providers/Microsoft.RecoveryServices/vaults/${VAULT}/backupPolicies/${name}`;

type Answered = {
  readonly onResponse: (raw: {
    readonly headers: { get(name: string): string | undefined };
  }) => void;
};

/** The operation of a request that the SDK has no poller for: the last segment of a header. */
async function accepted(ask: (options: Answered) => Promise<unknown>): Promise<string> {
  let header = '';
  await ask({
    onResponse: ({ headers }) => {
      header = headers.get('azure-asyncoperation') ?? headers.get('location') ?? '';
    },
  });
  return new URL(header).pathname.split('/').at(-1)!;
}

/** The job of an accepted request, when it has ended. */
async function jobOf(ask: (options: Answered) => Promise<unknown>): Promise<AzureIaaSVMJob> {
  const operation = await accepted(ask);
  const status = await client.backupOperationStatuses.get(VAULT, GROUP, operation);
  assert.equal(status.status, 'Succeeded');
  return await ended((status.properties as OperationStatusJobExtendedInfo).jobId!);
}

async function ended(id: string): Promise<AzureIaaSVMJob> {
  for (;;) {
    const { properties } = await client.jobDetails.get(VAULT, GROUP, id);
    if (properties?.status !== 'InProgress') return properties as AzureIaaSVMJob;
    await sleep(50);
  }
}

/** Changes the item by its whole resource. */
async function put(properties: Partial<AzureIaaSVMProtectedItem>): Promise<AzureIaaSVMJob> {
  return await jobOf(async (options) =>
    client.protectedItems.createOrUpdate(
      ...NAMES,
      {
        properties: {
          protectedItemType: 'Microsoft.Compute/virtualMachines',
          sourceResourceId: vmId(),
          ...properties,
        } as AzureIaaSVMProtectedItem,
      },
      options,
    ),
  );
}

async function item(): Promise<AzureIaaSVMProtectedItem> {
  return (await client.protectedItems.get(...NAMES)).properties as AzureIaaSVMProtectedItem;
}

async function pointNames(): Promise<readonly string[]> {
  const points = await Array.fromAsync(client.recoveryPoints.list(...NAMES));
  return points.map(({ name }) => name!);
}

const backUp = async (): Promise<AzureIaaSVMJob> =>
  await jobOf(async (options) =>
    client.backups.trigger(
      ...NAMES,
      { properties: { objectType: 'IaasVMBackupRequest' } },
      options,
    ),
  );

test('a VM is found by a refresh, protected and backed up', async () => {
  const refresh = await accepted(async (options) =>
    client.protectionContainers.refresh(VAULT, GROUP, 'Azure', options),
  );
  await client.protectionContainerRefreshOperationResults.get(VAULT, GROUP, 'Azure', refresh);
  const [found] = await Array.fromAsync(client.backupProtectableItems.list(VAULT, GROUP));
  assert.equal(found?.name, PLAIN);
  assert.equal((await put({ policyId: policyId() })).operation, 'ConfigureBackup');
  assert.equal((await item()).protectionState, 'IRPending');
  const job = await backUp();
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  assert.equal((await item()).protectionState, 'Protected');
  assert.equal((await pointNames()).length, 1);
  const jobs = await Array.fromAsync(client.backupJobs.list(VAULT, GROUP));
  assert.deepEqual(
    jobs.map(({ properties }) => properties?.operation),
    ['Backup', 'ConfigureBackup'],
  );
});

test('its disks are restored by the poller of the SDK, byte for byte', async () => {
  const [point] = await pointNames();
  const request: IaasVMRestoreRequest = {
    objectType: 'IaasVMRestoreRequest',
    recoveryPointId: point!,
    recoveryType: 'RestoreDisks',
    sourceResourceId: vmId(),
    storageAccountId: `${group}/providers/Microsoft.Storage/storageAccounts/sa1`,
    region: 'local',
    createNewCloudService: false,
    originalStorageAccountOption: false,
  };
  await client.restores.beginTriggerAndWait(...NAMES, point!, { properties: request });
  const options = { filter: "operation eq 'Restore'" };
  const [restore] = await Array.fromAsync(client.backupJobs.list(VAULT, GROUP, options));
  const job = await ended(restore!.name!);
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  const files = job.extendedInfo!.propertyBag!['Restored Files']!.split(', ');
  const restored = files.filter((path) => path.endsWith('.qcow2'));
  assert.equal(restored.length, DISKS.length);
  for (const [index, name] of DISKS.entries()) {
    const original = join(images, `${name}.raw`);
    execFileSync('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', original, restored[index]!]);
  }
  const unknown = client.restores.beginTriggerAndWait(...NAMES, '123456789012345', {
    properties: request,
  });
  await assert.rejects(unknown, { statusCode: 404, code: 'BMSUserErrorRecoveryPointNotFound' });
});

test('an operation is told by every group of the SDK that asks for one; what is unknown or missing is refused', async () => {
  const [point] = await pointNames();
  const trigger = { properties: { objectType: 'IaasVMBackupRequest' } } as const;
  const operation = await accepted(async (options) =>
    client.backups.trigger(...NAMES, trigger, options),
  );
  const status = await client.protectedItemOperationStatuses.get(...NAMES, operation);
  assert.equal(status.status, 'Succeeded');
  await client.protectedItemOperationResults.get(...NAMES, operation);
  await client.backupOperationResults.get(VAULT, GROUP, operation);
  await ended((status.properties as OperationStatusJobExtendedInfo).jobId!);
  const of = { filter: "operation eq 'Backup'" };
  const exported = await accepted(async (options) =>
    client.jobs.export(VAULT, GROUP, { ...of, ...options }),
  );
  const { operation: told } = await client.exportJobsOperationResults.get(VAULT, GROUP, exported);
  assert.equal(told?.objectType, 'ExportJobsOperationResultInfo');

  const none = '00000000-0000-0000-0000-000000000000';
  const unknown = [
    async () => await client.backupOperationStatuses.get(VAULT, GROUP, none),
    async () => await client.protectedItemOperationStatuses.get(...NAMES, none),
    async () =>
      await client.protectionPolicyOperationStatuses.get(VAULT, GROUP, 'DefaultPolicy', none),
    async () => await client.jobDetails.get(VAULT, GROUP, none),
    async () => await client.jobCancellations.trigger(VAULT, GROUP, none),
  ];
  for (const ask of unknown) await assert.rejects(ask, { statusCode: 404 });
  const connection = client.itemLevelRecoveryConnections.revoke(...NAMES, point!);
  await assert.rejects(connection, { statusCode: 400, code: 'NotSupported' });
});

test('protection is stopped in both ways, resumed, its data deleted and undeleted', async () => {
  await put({ policyId: '', protectionState: 'ProtectionStopped' });
  assert.equal((await item()).protectionState, 'ProtectionStopped');
  const refused = client.backups.trigger(...NAMES, {
    properties: { objectType: 'IaasVMBackupRequest' },
  });
  await assert.rejects(refused, { code: 'UserErrorProtectionStopped' });
  await put({ policyId: policyId() });
  assert.equal((await item()).protectionState, 'Protected');
  // Debian's az cannot ask for this one.
  await put({ policyId: policyId(), protectionState: 'BackupsSuspended' });
  assert.equal((await item()).protectionState, 'BackupsSuspended');
  await put({ policyId: policyId() });
  const deleted = await jobOf(async (options) => client.protectedItems.delete(...NAMES, options));
  assert.equal(deleted.operation, 'DeleteBackupData');
  assert.equal((await item()).isScheduledForDeferredDelete, true);
  // Its vault can go and come back then, with what is soft-deleted in it.
  await vaults.vaults.beginDeleteAndWait(GROUP, VAULT);
  await assert.rejects(item(), { statusCode: 404 });
  const [gone] = await Array.fromAsync(vaults.deletedVaults.listBySubscriptionId('local'));
  const recoveryResourceGroupId = gone!.properties!.vaultId!.split('/providers/')[0]!;
  const into = { properties: { recoveryResourceGroupId } };
  await vaults.deletedVaults.undelete('local', gone!.name!, into).pollUntilDone();
  assert.equal((await item()).isScheduledForDeferredDelete, true);
  await put({ policyId: '', isRehydrate: true, protectionState: 'ProtectionStopped' });
  await put({ policyId: policyId() });
  const kept = await pointNames();
  assert.equal((await backUp()).status, 'Completed');
  assert.deepEqual((await pointNames()).slice(1), kept);
});
