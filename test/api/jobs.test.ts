/** Jobs through Azure's own SDK over https: phases, queues, limits of time, cancelling, what they tell. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { addImages, GROUP, type TestService } from '../../src/service/testing/test-service.ts';
import { backupLab, VAULT, type BackupLab } from './backup-lab.ts';
import { movedClock } from './moved-clock.ts';

const HOUR_MS = 3_600_000;
const SIZE = { sizeBytes: 1 << 20 };
const oneVm = (made: TestService): void => void addImages(made, 'web', [{ name: 'a', ...SIZE }]);
const twoVms = (made: TestService): void => {
  for (const vm of ['web', 'sql']) addImages(made, vm, [{ name: 'a', ...SIZE }]);
};

/** The queue of that name lets nobody in from now on, until it is opened again for those who come then. */
function close(lab: BackupLab, queue: 'snapshotsPerHost' | 'transfersPerVault'): () => void {
  const before = lab.service.settings[queue];
  Object.assign(lab.service.settings, { [queue]: 0 });
  return () => void Object.assign(lab.service.settings, { [queue]: before });
}

async function jobsOf(lab: BackupLab, filter?: string) {
  const found = [];
  const options = filter === undefined ? {} : { filter };
  for await (const job of lab.client.backupJobs.list(VAULT, GROUP, options)) found.push(job);
  return found;
}

/** Gives the VMs a policy that backs them up daily at that time. */
async function scheduleAt(lab: BackupLab, at: Date, vms: readonly string[]): Promise<void> {
  const time = at.toISOString();
  const properties = {
    backupManagementType: 'AzureIaasVM',
    timeZone: 'UTC',
    instantRpRetentionRangeInDays: 2,
    schedulePolicy: {
      schedulePolicyType: 'SimpleSchedulePolicy',
      scheduleRunFrequency: 'Daily',
      scheduleRunTimes: [time],
    },
    retentionPolicy: {
      retentionPolicyType: 'LongTermRetentionPolicy',
      dailySchedule: {
        retentionTimes: [time],
        retentionDuration: { count: 30, durationType: 'Days' },
      },
    },
  };
  const policy = `${lab.vault}/backupPolicies/nightly`;
  const made = await lab.call('PUT', policy, { properties });
  assert.equal(made.status, 200, JSON.stringify(made.body));
  for (const vm of vms) await lab.jobOf(await lab.put(vm, { policyId: policy }));
}

/** The next full or half hour after that many. */
function inHours(nowMs: number, hours: number): Date {
  const at = new Date(nowMs + hours * HOUR_MS);
  at.setUTCMinutes(at.getUTCMinutes() < 30 ? 0 : 30, 0, 0);
  return at;
}

test('M1 the policy starts the backup of each of its VMs at its time, and no other', async (t) => {
  const { clock, pass } = movedClock(t);
  const lab = await backupLab(t, twoVms, { clock, settings: { spreadMs: 0 } });
  await lab.protect('web');
  const at = inHours(clock.nowMs(), 5);
  await scheduleAt(lab, at, ['web']);
  const backups = async () => await jobsOf(lab, "operation eq 'Backup'");
  await pass(at.getTime() - clock.nowMs() - 20 * 60_000);
  assert.deepEqual(await backups(), []);
  await pass(HOUR_MS, async () => (await backups()).length > 0);
  const [scheduled, ...others] = await backups();
  assert.deepEqual(others, []);
  assert.equal(scheduled!.properties?.entityFriendlyName, 'web');
  assert.ok(scheduled!.properties.startTime! >= at);
  const job = await lab.ended(scheduled!.name!);
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  assert.equal(job.isUserTriggered, false);
  assert.equal((await lab.points('web')).length, 1);
});

test('M21 R12 scheduled backups of many VMs start spread over the two hours after their time', async (t) => {
  const { clock, pass } = movedClock(t);
  const vms = Array.from({ length: 10 }, (_, index) => `vm${index}`);
  const fill = (made: TestService): void => {
    for (const vm of vms) addImages(made, vm, [{ name: 'a', sizeBytes: 65_536 }]);
  };
  const lab = await backupLab(t, fill, { clock });
  const at = inHours(clock.nowMs(), 3);
  await scheduleAt(lab, at, vms);
  const backups = async () => await jobsOf(lab, "operation eq 'Backup'");
  await pass(6 * HOUR_MS, async () => (await backups()).length === vms.length);
  const starts = (await backups()).map(({ properties }) => properties!.startTime!.getTime());
  assert.equal(starts.length, vms.length);
  // The clock of the test leaps by five minutes.
  const latest = at.getTime() + 2 * HOUR_MS + 10 * 60_000;
  for (const start of starts) assert.ok(start >= at.getTime() && start <= latest);
  assert.ok(Math.max(...starts) - Math.min(...starts) > HOUR_MS / 2, 'they start all at once');
});

test('M6 R40 snapshot and transfer are two tasks of the job; the transfer waits for its queue, and is cancelled there', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  const open = close(lab, 'transfersPerVault');
  const id = await lab.startBackup('web');
  const statuses = async () =>
    (await lab.job(id)).extendedInfo!.tasksList!.map(({ taskId, status }) => `${taskId} ${status}`);
  const waiting = ['Take Snapshot Completed', 'Transfer data to vault NotStarted'];
  while ((await statuses())[0] !== waiting[0])
    assert.equal((await lab.job(id)).status, 'InProgress');
  assert.deepEqual(await statuses(), waiting);
  assert.equal((await lab.points('web')).length, 0);
  await lab.client.jobCancellations.trigger(VAULT, GROUP, id);
  assert.equal((await lab.ended(id)).status, 'Cancelled');
  open();
  const job = await lab.ended(await lab.startBackup('web'));
  assert.equal(job.status, 'Completed');
  const [snapshot, transfer] = job.extendedInfo!.tasksList!;
  assert.ok(snapshot!.endTime! <= transfer!.startTime!);
});

test('M9 when the transfer has ended the point is there, and nothing of the snapshot', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  const job = await lab.ended(await lab.startBackup('web'));
  assert.equal(job.status, 'Completed');
  assert.equal((await lab.points('web')).length, 1);
  assert.deepEqual(readdirSync(lab.service.dataFolder.scratch), []);
});

test('M10 R42 a later backup that takes 24 hours fails with a clear timeout; the first one may take longer', async (t) => {
  const { clock, pass } = movedClock(t);
  const lab = await backupLab(t, twoVms, { clock });
  for (const vm of ['web', 'sql']) await lab.protect(vm);
  await lab.ended(await lab.startBackup('web'));
  close(lab, 'snapshotsPerHost');
  const [first, later] = [await lab.startBackup('sql'), await lab.startBackup('web')];
  await pass(23 * HOUR_MS);
  assert.equal((await lab.job(later)).status, 'InProgress');
  await pass(2 * HOUR_MS, async () => (await lab.job(later)).status !== 'InProgress');
  const failed = await lab.ended(later);
  assert.equal(failed.status, 'Failed');
  assert.equal(failed.errorDetails?.[0]?.errorTitle, 'CopyingVHDsFromBackUpVaultTakingLongTime');
  assert.match(failed.duration!, /^PT2[45]H/);
  await pass(24 * HOUR_MS);
  assert.equal((await lab.job(first)).status, 'InProgress');
  await lab.client.jobCancellations.trigger(VAULT, GROUP, first);
  assert.equal((await lab.ended(first)).status, 'Cancelled');
});

test('R41 a backup is refused while another takes its snapshot, and waits while it is in its transfer', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  await lab.ended(await lab.startBackup('web'));
  const ask = async () =>
    await lab.call('POST', `${lab.itemPath('web')}/backup`, {
      properties: { objectType: 'IaasVMBackupRequest' },
    });
  const openSnapshots = close(lab, 'snapshotsPerHost');
  const stuck = await lab.jobOf(await ask());
  const refused = await ask();
  assert.equal(refused.status, 409);
  assert.equal(refused.body.error.code, 'UserErrorBackupOperationInProgress');
  assert.match(
    refused.body.error.message,
    /backup of 'lab\/web' as another backup operation is currently in progress/,
  );
  await lab.client.jobCancellations.trigger(VAULT, GROUP, stuck);
  await lab.ended(stuck);
  openSnapshots();

  const openTransfers = close(lab, 'transfersPerVault');
  const before = await lab.jobOf(await ask());
  const snapshot = async () => (await lab.job(before)).extendedInfo?.tasksList?.[0]?.status;
  while ((await snapshot()) !== 'Completed')
    assert.equal((await lab.job(before)).status, 'InProgress');
  openTransfers();
  const after = await lab.jobOf(await ask());
  assert.equal((await lab.job(after)).status, 'InProgress');
  await lab.client.jobCancellations.trigger(VAULT, GROUP, before);
  assert.equal((await lab.ended(before)).status, 'Cancelled');
  assert.equal((await lab.ended(after)).status, 'Completed');
  assert.equal((await lab.points('web')).length, 2);
});

test('jobs are listed newest first, by status, operation and time, shown, exported; an ended one is not cancelled', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  const id = await lab.startBackup('web');
  await lab.ended(id);
  const jobs = await jobsOf(lab);
  assert.deepEqual(
    jobs.map(({ properties }) => properties?.operation),
    ['Backup', 'ConfigureBackup'],
  );
  assert.equal((await jobsOf(lab, "status eq 'Completed'")).length, 2);
  assert.deepEqual(await jobsOf(lab, "status eq 'Failed'"), []);
  assert.equal((await jobsOf(lab, "operation eq 'Backup'")).length, 1);
  const past = "startTime eq '2020-01-01 01:00:00 AM' and endTime eq '2020-02-01 01:00:00 PM'";
  assert.deepEqual(await jobsOf(lab, past), []);
  await assert.rejects(lab.client.jobCancellations.trigger(VAULT, GROUP, id), {
    code: 'UserErrorJobNotCancellable',
    statusCode: 400,
  });
  await assert.rejects(lab.client.jobDetails.get(VAULT, GROUP, 'none'), { statusCode: 404 });
  const exported = await lab.call('POST', `${lab.vault}/backupJobsExport`);
  assert.equal(exported.status, 202);
  const at = new URL(String(exported.headers['location'])).pathname;
  const result = await lab.client.exportJobsOperationResults.get(
    VAULT,
    GROUP,
    at.split('/').at(-1)!,
  );
  assert.equal(result.operation?.objectType, 'ExportJobsOperationResultInfo');
  const { body } = await lab.call('GET', at);
  const file = await lab.call('GET', new URL(body.operation.blobUrl).pathname);
  assert.equal(file.body.value.length, 2);
});
