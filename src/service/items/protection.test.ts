import assert from 'node:assert/strict';
import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { FakeClock, isHoldfastError, type ErrorCode } from '#base';
import { listActivities } from '../activities/activities.ts';
import { backUpNow } from '../backing-up/start-backup.ts';
import { compactVaults } from '../compaction/compact-vaults.ts';
import { discoverHost } from '../hosts/discovery.ts';
import { getJob, listJobs, type Job } from '../jobs/jobs.ts';
import { listPoints } from '../points/points.ts';
import type { Service } from '../service.ts';
import { addImages, GROUP, testService, VAULT, withVault } from '../testing/test-service.ts';
import type { TestService } from '../testing/test-service.ts';
import { getItem, listItems } from './items.ts';
import { deleteData, protect, stopRetaining, undelete } from './protect.ts';
import { purgeEnded } from './purge.ts';

const DAY_MS = 86_400_000;
const NAME = { vault: VAULT, vm: { group: GROUP, name: 'web' } };

type Protected = {
  readonly made: TestService;
  readonly service: Service;
  readonly clock: FakeClock;
  readonly vaultId: string;
  readonly ended: (jobId: string) => Promise<Job>;
  readonly points: () => Promise<readonly string[]>;
};

async function protectedVm(t: TestContext): Promise<Protected> {
  const clock = new FakeClock();
  const made = await testService(t, { clock });
  addImages(made, 'web', [{ name: 'a', sizeBytes: 1 << 16 }]);
  await withVault(made);
  const service = made.service();
  await protect(service, NAME, { policy: 'DefaultPolicy' });
  const { vaultId, id } = await getItem(service.catalogue.read, NAME);
  const ended = async (jobId: string): Promise<Job> => {
    for (;;) {
      const job = await getJob(service.catalogue.read, vaultId, jobId);
      if (job.endedAt !== undefined) return job;
      clock.advance(100);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const points = async () =>
    (await listPoints(service.catalogue.read, id)).map((point) => point.id);
  return { made, service, clock, vaultId, ended, points };
}

async function refused(work: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(work, (error) => isHoldfastError(error, code));
}

test('R41 a backup is refused while another is in its snapshot; in its transfer it waits, and is taken', async (t) => {
  const { service, vaultId, ended, points } = await protectedVm(t);
  const first = await backUpNow(service, NAME, undefined);
  await refused(backUpNow(service, NAME, undefined), 'UserErrorBackupOperationInProgress');
  assert.equal((await ended(first.jobId)).status, 'Completed');
  // One that transfers, as long as we want: a row that another works at.
  const tasks = [{ name: 'Take Snapshot', status: 'Completed' }];
  await service.catalogue.change(async (change) => {
    const row = {
      endedAt: null,
      status: 'InProgress',
      leaseOwner: 'us',
      tasks: JSON.stringify(tasks),
    };
    await change.updateTable('jobs').set(row).where('id', '=', first.jobId).execute();
  });
  const second = await backUpNow(service, NAME, undefined);
  await service.catalogue.change(async (change) => {
    const row = { endedAt: 1, status: 'Completed', leaseOwner: null };
    await change.updateTable('jobs').set(row).where('id', '=', first.jobId).execute();
  });
  assert.equal((await ended(second.jobId)).status, 'Completed');
  assert.equal((await points()).length, 2);
  assert.equal(
    (await listJobs(service.catalogue.read, vaultId, { operations: ['Backup'] })).length,
    2,
  );
});

test('R54 R57 stopped with its data retained a VM has no backups, by hand neither, and keeps every point for ever', async (t) => {
  const { service, clock, ended, points } = await protectedVm(t);
  await ended((await backUpNow(service, NAME, undefined)).jobId);
  const before = await points();
  await stopRetaining(service, NAME);
  await refused(backUpNow(service, NAME, undefined), 'UserErrorProtectionStopped');
  clock.advance(400 * DAY_MS);
  assert.deepEqual(await points(), before);
  await protect(service, NAME, { policy: 'DefaultPolicy' });
  assert.equal(
    (await ended((await backUpNow(service, NAME, undefined)).jobId)).status,
    'Completed',
  );
  assert.equal((await points()).length, 2);
});

test('R59 soft-deleted a VM is not protected anew in its vault; undeleted it is stopped, with all points', async (t) => {
  const { service, ended, points } = await protectedVm(t);
  await ended((await backUpNow(service, NAME, undefined)).jobId);
  const before = await points();
  await deleteData(service, NAME);
  await refused(protect(service, NAME, { policy: 'DefaultPolicy' }), 'UserErrorItemSoftDeleted');
  await refused(backUpNow(service, NAME, undefined), 'UserErrorItemSoftDeleted');
  await undelete(service, NAME);
  assert.equal((await getItem(service.catalogue.read, NAME)).state, 'ProtectionStopped');
  assert.deepEqual(await points(), before);
});

test('deleted data goes when its fourteen days are over, its space with the next compaction; all of it is noted', async (t) => {
  const { made, service, clock, vaultId, ended, points } = await protectedVm(t);
  await ended((await backUpNow(service, NAME, undefined)).jobId);
  await deleteData({ ...service, actor: 'me' }, NAME);
  clock.advance(14 * DAY_MS - 60_000);
  await purgeEnded(service);
  assert.equal((await points()).length, 1);
  clock.advance(60_000);
  await purgeEnded(service);
  const deletions = async () =>
    await listJobs(service.catalogue.read, vaultId, { operations: ['DeleteBackupData'] });
  for (const { id } of await deletions()) await ended(id);
  assert.deepEqual(await listItems(service.catalogue.read, VAULT), []);
  assert.deepEqual(
    (await deletions()).map(({ isUserTriggered }) => isUserTriggered),
    [false, true],
  );
  const packs = join(made.data, 'vaults', vaultId, 'repository', 'packs');
  const count = () => readdirSync(packs, { recursive: true }).length;
  const full = count();
  // A mark, then what it marked: two runs, as no session is open.
  for (let run = 0; run < 2; run += 1) {
    clock.advance(DAY_MS);
    await compactVaults(service, new AbortController().signal);
  }
  assert.ok(count() < full, `${count()} of ${full} packs`);
  const told = await listActivities(service.catalogue.read);
  assert.deepEqual(
    told.slice(0, 2).map(({ actor, action }) => [actor, action]),
    [
      ['service', 'remove item'],
      ['me', 'DeleteBackupData'],
    ],
  );
});

test('by hand a VM that is gone fails with the same code, told by the job; its points stay, and it is backed up as soon as it is back', async (t) => {
  const { made, service, ended, points } = await protectedVm(t);
  await ended((await backUpNow(service, NAME, undefined)).jobId);
  renameSync(join(made.images, 'web'), join(made.images, '.gone'));
  await discoverHost(service, GROUP);
  const job = await ended((await backUpNow(service, NAME, undefined)).jobId);
  assert.deepEqual([job.status, job.failure!.code], ['Failed', 'UserErrorVmNotFoundV2']);
  assert.equal((await points()).length, 1);
  // Its host is not listed before it is asked for.
  renameSync(join(made.images, '.gone'), join(made.images, 'web'));
  const back = await ended((await backUpNow(service, NAME, undefined)).jobId);
  assert.equal(back.status, 'Completed', JSON.stringify(back.failure));
  assert.equal((await points()).length, 2);
});
