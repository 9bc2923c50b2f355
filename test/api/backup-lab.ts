/**
 * The API over https on a service of its own, with a host `lab` of image folders, a vault `v1` in its group and a
 * storage account `sa1`; driven by Azure's own SDK, which judges what it is told by its models.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  RecoveryServicesBackupClient,
  type AzureIaaSVMJob,
  type AzureIaaSVMProtectedItem,
  type IaasVMRecoveryPoint,
  type IaasVMRestoreRequest,
  type OperationStatusJobExtendedInfo,
} from '@azure/arm-recoveryservicesbackup';
import { startApi } from '#api';
import { discoverHost, putStorageAccount } from '#service';
import {
  GROUP,
  testService,
  withVault,
  type TestOptions,
  type TestService,
} from '../../src/service/testing/test-service.ts';
import type { AnyJson } from '../../src/api/testing/any-json.ts';

export const VAULT = 'v1';
const DAY_MS = 86_400_000;

export type Told = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: AnyJson;
};

export type BackupLab = Awaited<ReturnType<typeof backupLab>>;

/** Ends with the test. @param fill makes VMs before they are discovered. */
export async function backupLab(
  t: TestContext,
  fill: (made: TestService) => void,
  options: TestOptions = {},
) {
  const made = await testService(t, options);
  fill(made);
  await withVault(made);
  const service = made.service();
  const accountFolder = join(dirname(made.data), 'restored');
  mkdirSync(accountFolder);
  await putStorageAccount(service, { group: GROUP, name: 'sa1', path: accountFolder });
  const place = { host: '127.0.0.1', port: 0, machine: 'test' };
  const api = await startApi(service, { ...place, hasManagedIdentity: false });
  t.after(api.close);
  const ca = readFileSync(api.caFile!);
  const admin = JSON.parse(readFileSync(api.adminFile, 'utf8')) as {
    readonly clientId: string;
    readonly clientSecret: string;
  };
  const form = new URLSearchParams({
    client_id: admin.clientId,
    client_secret: admin.clientSecret,
    grant_type: 'client_credentials',
    scope: `${api.url}/.default`,
  });
  const raw = async (method: string, path: string, sent: Sent = {}): Promise<Told> =>
    await exchange(`${api.url}${path}`, { method, ca, ...sent });
  let tokenAt = -DAY_MS;
  let kept = '';
  // Time may have been moved since the last one.
  const getToken = async () => {
    const now = service.clock.nowMs();
    if (Math.abs(now - tokenAt) > 600_000) {
      const signedIn = await raw('POST', '/adfs/oauth2/token', {
        text: form.toString(),
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      });
      assert.equal(signedIn.status, 200, JSON.stringify(signedIn.body));
      [kept, tokenAt] = [signedIn.body.access_token as string, now];
    }
    return { token: kept, expiresOnTimestamp: Date.now() + 1 };
  };
  const credential = { getToken };
  const client = new RecoveryServicesBackupClient(credential, api.subscriptionId, {
    endpoint: api.url,
    tlsOptions: { ca },
    retryOptions: { maxRetries: 0 },
  });
  const group = `/subscriptions/${api.subscriptionId}/resourceGroups/${GROUP}`;
  const vault = `${group}/providers/Microsoft.RecoveryServices/vaults/${VAULT}`;
  /** A request with the token; the api-version is added. */
  const call = async (method: string, path: string, body?: unknown): Promise<Told> => {
    const url = `${path}${path.includes('?') ? '&' : '?'}api-version=2023-06-01`;
    return await raw(method, url, {
      headers: {
        authorization: `Bearer ${(await getToken()).token}`,
        'content-type': 'application/json',
      },
      ...(body === undefined ? {} : { text: JSON.stringify(body) }),
    });
  };
  const names = (vm: string) => {
    const plain = `iaasvmcontainerv2;${GROUP};${vm.toLowerCase()}`;
    return [VAULT, GROUP, 'Azure', `IaasVMContainer;${plain}`, `VM;${plain}`] as const;
  };
  const vmId = (vm: string): string => `${group}/providers/Microsoft.Compute/virtualMachines/${vm}`;
  const itemPath = (vm: string): string => {
    const [, , , container, item] = names(vm);
    return `${vault}/backupFabrics/Azure/protectionContainers/${container}/protectedItems/${item}`;
  };
  const job = async (id: string): Promise<AzureIaaSVMJob> => {
    const { properties } = await client.jobDetails.get(VAULT, GROUP, id);
    assert.equal(properties?.jobType, 'AzureIaaSVMJob');
    return properties as AzureIaaSVMJob;
  };
  const ended = async (id: string): Promise<AzureIaaSVMJob> => {
    for (;;) {
      const seen = await job(id);
      if (seen.status !== 'InProgress' && seen.status !== 'Cancelling') return seen;
      await sleep(30);
    }
  };
  /** The job of an accepted request, as `az` finds it: by the last segment of the first header. */
  const jobOf = async (answer: Told): Promise<string> => {
    assert.equal(answer.status, 202, JSON.stringify(answer.body));
    assert.equal(answer.body, undefined);
    const header = new URL(String(answer.headers['azure-asyncoperation']));
    const operation = header.pathname.split('/').at(-1)!;
    const status = await client.backupOperationStatuses.get(VAULT, GROUP, operation);
    assert.equal(status.status, 'Succeeded');
    assert.equal(status.properties?.objectType, 'OperationStatusJobExtendedInfo');
    return (status.properties as OperationStatusJobExtendedInfo).jobId!;
  };
  const put = async (vm: string, properties: object): Promise<Told> =>
    await call('PUT', itemPath(vm), {
      properties: {
        protectedItemType: 'Microsoft.Compute/virtualMachines',
        sourceResourceId: vmId(vm),
        ...properties,
      },
    });
  const policyId = `${vault}/backupPolicies/DefaultPolicy`;
  return {
    made,
    service,
    client,
    call,
    raw,
    put,
    getToken,
    url: api.url,
    ca,
    account: { ...admin, subscriptionId: api.subscriptionId },
    group,
    vault,
    accountFolder,
    accountId: `${group}/providers/Microsoft.Storage/storageAccounts/sa1`,
    names,
    vmId,
    itemPath,
    policyId,
    job,
    ended,
    jobOf,
    protect: async (vm: string, more: object = {}): Promise<void> => {
      await jobOf(await put(vm, { policyId, ...more }));
    },
    item: async (vm: string): Promise<AzureIaaSVMProtectedItem> => {
      const { properties } = await client.protectedItems.get(...names(vm));
      assert.equal(properties?.protectedItemType, 'Microsoft.Compute/virtualMachines');
      return properties as AzureIaaSVMProtectedItem;
    },
    /** Accepts a backup. @returns the job's id. */
    startBackup: async (vm: string, expiry?: string): Promise<string> => {
      const properties = {
        objectType: 'IaasVMBackupRequest',
        ...(expiry === undefined ? {} : { recoveryPointExpiryTimeInUTC: expiry }),
      };
      return await jobOf(await call('POST', `${itemPath(vm)}/backup`, { properties }));
    },
    points: async (vm: string) => {
      const found: { readonly name: string; readonly point: IaasVMRecoveryPoint }[] = [];
      for await (const { name, properties } of client.recoveryPoints.list(...names(vm))) {
        assert.equal(properties?.objectType, 'IaasVMRecoveryPoint');
        found.push({ name: name!, point: properties as IaasVMRecoveryPoint });
      }
      return found;
    },
    restore: async (
      vm: string,
      point: string,
      properties: Partial<IaasVMRestoreRequest>,
    ): Promise<Told> =>
      await call('POST', `${itemPath(vm)}/recoveryPoints/${point}/restore`, {
        properties: {
          objectType: 'IaasVMRestoreRequest',
          recoveryPointId: point,
          recoveryType: 'RestoreDisks',
          sourceResourceId: vmId(vm),
          storageAccountId: `${group}/providers/Microsoft.Storage/storageAccounts/sa1`,
          region: 'local',
          createNewCloudService: false,
          originalStorageAccountOption: false,
          ...properties,
        },
      }),
    discover: async (): Promise<void> => await discoverHost(service, GROUP),
  };
}

type Sent = {
  readonly text?: string;
  readonly headers?: Readonly<Record<string, string>>;
};

async function exchange(
  url: string,
  { method, ca, text, headers }: Sent & { readonly method: string; readonly ca: Buffer },
): Promise<Told> {
  return await new Promise((resolve, reject) => {
    const sent = httpsRequest(url, { method, ca, headers: headers ?? {} }, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('error', reject);
      answer.on('end', () => {
        const body = Buffer.concat(parts).toString();
        resolve({
          status: answer.statusCode!,
          headers: answer.headers,
          body: body === '' ? undefined : JSON.parse(body),
        });
      });
    });
    sent.on('error', reject);
    sent.end(text);
  });
}
