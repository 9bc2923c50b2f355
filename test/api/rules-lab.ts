/** The VM `web` under a policy, by requests to the API alone, on a clock that the test moves (aged-api.ts). */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { policyToWire } from '../../src/api/policies/policy-to-wire.ts';
import type { AnyJson } from '../../src/api/testing/any-json.ts';
import type { BackupPolicy } from '../../src/service/policy/backup-policy.ts';
import { DAILY, policyOf, weeklyOn } from '../../src/service/retention/test-policies.ts';
import type { AgedOptions } from '../../src/service/testing/aged-vm.ts';
import { GROUP } from '../../src/service/testing/test-service.ts';
import { agedApi } from './aged-api.ts';

export const DAY_MS = 86_400_000;
export const MONTH = policyOf(DAILY, { days: 30 });
export const WEEK = policyOf(DAILY, { days: 7 });
/** Its first run is six days after the clock's start: points come by hand until then. */
export const QUIET = policyOf(weeklyOn('wednesday'), { weeks: 4 });

/** As it is put. */
export function wireOf(policy: BackupPolicy): AnyJson {
  const { protectedItemsCount: _, ...properties } = policyToWire(policy, 0);
  return properties;
}

/** What the list of points tells of one. */
export type ToldPoint = {
  readonly name: string;
  /** When it was taken and when it goes, ISO; '': no date. */
  readonly time: string;
  readonly expiry: string;
  /** The classes that keep it: `Daily, Weekly`; '': none. */
  readonly rules: string;
  readonly isSoftDeleted: boolean;
  /** Of each disk, what had changed; bytes. */
  readonly changed: readonly number[];
};

export type RulesLab = Awaited<ReturnType<typeof rulesLab>>;

export async function rulesLab(t: TestContext, options: AgedOptions = {}) {
  const api = await agedApi(t, options);
  const { vm, call, vault, item } = api;
  const group = vault.slice(0, vault.indexOf('/providers'));
  const jobs = async (): Promise<readonly AnyJson[]> => {
    const { status, body } = await call('GET', `${vault}/backupJobs`);
    assert.equal(status, 200, JSON.stringify(body));
    return body.value;
  };
  const job = async (name: string): Promise<AnyJson> => {
    const { status, body } = await call('GET', `${vault}/backupJobs/${name}`);
    assert.equal(status, 200, JSON.stringify(body));
    return body.properties;
  };
  /** A request that is accepted, and its job when that has ended. */
  const done = async (
    method: 'PUT' | 'POST' | 'DELETE',
    path: string,
    body?: unknown,
  ): Promise<AnyJson> => {
    const before = new Set((await jobs()).map(({ name }) => name));
    const { status, body: told } = await call(method, path, body);
    assert.equal(status, 202, JSON.stringify(told));
    const [made] = (await jobs()).filter(({ name }) => !before.has(name));
    await vm.ended(made.name);
    return await job(made.name);
  };
  const put = async (properties: object): Promise<AnyJson> =>
    await done('PUT', item, {
      properties: { protectedItemType: 'Microsoft.Compute/virtualMachines', ...properties },
    });
  const policyId = (name = 'P'): string => `${vault}/backupPolicies/${name}`;
  return {
    ...api,
    group,
    jobs,
    job,
    done,
    policyId,
    putPolicy: async (policy: BackupPolicy, name = 'P'): Promise<void> => {
      const { status, body } = await call('PUT', policyId(name), { properties: wireOf(policy) });
      assert.equal(status, 200, JSON.stringify(body));
    },
    protect: async (policy = 'P') => await put({ policyId: policyId(policy) }),
    stop: async () => await put({ protectionState: 'ProtectionStopped' }),
    suspend: async () => await put({ protectionState: 'BackupsSuspended', policyId: policyId() }),
    undelete: async () => await put({ protectionState: 'ProtectionStopped', isRehydrate: true }),
    deleteData: async () => await done('DELETE', item),
    vaultConfig: async (properties: object) =>
      await call('PATCH', `${vault}/backupconfig/vaultconfig`, { properties }),
    /** On demand. @param days absent: no date is asked for. @returns the point. */
    backUp: async (days?: number): Promise<string> => {
      const until = new Date(vm.clock.nowMs() + (days ?? 0) * DAY_MS).toISOString();
      const properties = {
        objectType: 'IaasVMBackupRequest',
        ...(days === undefined ? {} : { recoveryPointExpiryTimeInUTC: until }),
      };
      const told = await done('POST', `${item}/backup`, { properties });
      assert.equal(told.status, 'Completed', JSON.stringify(told));
      return told.extendedInfo.internalPropertyBag.RecoveryPointId;
    },
    /** The next run of the schedule. @returns its job. */
    scheduled: async (): Promise<AnyJson> => await job((await vm.nextScheduled()).id),
    state: async (): Promise<AnyJson> => (await call('GET', item)).body.properties,
    /** Oldest first, soft-deleted ones included. */
    points: async (): Promise<readonly ToldPoint[]> => {
      const filter = encodeURIComponent("includeSoftDeletedRP eq 'true'");
      const { status, body } = await call('GET', `${item}/recoveryPoints?$filter=${filter}`);
      assert.equal(status, 200, JSON.stringify(body));
      return body.value.map(toldPoint).toReversed();
    },
    /** Restores a point's disks to a new storage account. @returns the job. */
    restore: async (point: string): Promise<AnyJson> => {
      const account = `${group}/providers/Holdfast.Backup/storageAccounts/sa`;
      const properties = { path: `${vm.made.data}-restored` };
      assert.ok((await call('PUT', account, { properties })).status < 300);
      return await done('POST', `${item}/recoveryPoints/${point}/restore`, {
        properties: {
          objectType: 'IaasVMRestoreRequest',
          recoveryPointId: point,
          recoveryType: 'RestoreDisks',
          sourceResourceId: `${group}/providers/Microsoft.Compute/virtualMachines/web`,
          storageAccountId: `${group}/providers/Microsoft.Storage/storageAccounts/sa`,
          region: 'local',
        },
      });
    },
    /** Sorted as they came. */
    expiries: async (): Promise<readonly AnyJson[]> => {
      const made = (await jobs()).filter(({ properties }) => properties.operation === 'Expire');
      return await Promise.all(made.toReversed().map(async ({ name }) => await job(name)));
    },
    /** Asks the host anew, and waits until it has told. */
    discover: async (): Promise<void> => {
      const subscription = group.slice(0, group.indexOf('/resourceGroups'));
      const host = `${subscription}/providers/Holdfast.Backup/hosts/${GROUP}`;
      const { status, body } = await call('POST', `${host}/refresh`);
      assert.ok(status < 300, JSON.stringify(body));
    },
    vmPath: `${group}/providers/Microsoft.Compute/virtualMachines/web`,
    groupName: GROUP,
  };
}

function toldPoint({ name, properties }: AnyJson): ToldPoint {
  const { expiryTime = '', ruleName = '', isSoftDeleted } = properties.recoveryPointProperties;
  const info: string = properties.recoveryPointAdditionalInfo;
  return {
    name,
    time: properties.recoveryPointTime,
    expiry: expiryTime,
    rules: ruleName,
    isSoftDeleted,
    changed: Array.from(info.matchAll(/changed (\d+)/g), ([, bytes]) => Number(bytes)),
  };
}
