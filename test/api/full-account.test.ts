/** Storage accounts without room: refused before, told while a job waits, and kept while jobs need them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { putStorageAccount } from '#service';
import { addImages, GROUP, type TestService } from '../../src/service/testing/test-service.ts';
import { backupLab, VAULT, type BackupLab } from './backup-lab.ts';

const MIB = 1 << 20;
/** 7 MiB of disks, but not what qcow2 writes beside their data. */
const ALL_BUT_METADATA = '7200k';

const twoDisks = (made: TestService): void =>
  void addImages(made, 'web', [
    { name: 'a', sizeBytes: MIB },
    { name: 'b', sizeBytes: 6 * MIB },
  ]);

type Small = {
  readonly lab: BackupLab;
  readonly restore: (asked?: object) => ReturnType<BackupLab['restore']>;
};

/** A backed-up VM, and an account on a file system of its own; its mount ends before the lab does. */
async function inSmallAccount(
  t: TestContext,
  size: string,
  use: (small: Small) => Promise<void>,
): Promise<void> {
  const settings = { restoresPerStorageAccount: 1, retryDelayMs: 60_000 };
  const lab = await backupLab(t, twoDisks, { settings });
  const folder = join(dirname(lab.made.data), 'small');
  mkdirSync(folder);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]);
  try {
    await putStorageAccount(lab.service, { group: GROUP, name: 'small', path: folder });
    await lab.protect('web');
    await lab.ended(await lab.startBackup('web'));
    const point = (await lab.points('web'))[0]!.name;
    const storageAccountId = lab.accountId.replace(/sa1$/, 'small');
    const restore = async (asked = {}) =>
      await lab.restore('web', point, { storageAccountId, ...asked });
    await use({ lab, restore });
  } finally {
    execFileSync('umount', ['-l', folder]);
  }
}

test('a restore that the account has no room for is refused with both figures; fewer disks are accepted', async (t) => {
  await inSmallAccount(t, '4m', async ({ lab, restore }) => {
    const { status, body } = await restore();
    assert.deepEqual([status, body.error.code], [409, 'UserErrorStorageAccountFull']);
    assert.match(
      body.error.message,
      /'small' \(.*small\) has [34] MiB free, and the disks of the recovery point need 7 MiB/,
    );
    const job = await lab.ended(await lab.jobOf(await restore({ restoreDiskLunList: [] })));
    assert.equal(job.status, 'Completed', JSON.stringify(job));
  });
});

test('two restores that do not fit together: the second is refused with what the first is still to write', async (t) => {
  await inSmallAccount(t, '12m', async ({ lab, restore }) => {
    const settings = lab.service.settings as { restoresPerStorageAccount: number };
    settings.restoresPerStorageAccount = 0;
    const [one, other] = await Promise.all([restore(), restore()]);
    const [accepted, refused] = one.status === 202 ? [one, other] : [other, one];
    const first = await lab.jobOf(accepted);
    assert.deepEqual(
      [refused.status, refused.body.error.code],
      [409, 'UserErrorStorageAccountFull'],
    );
    const figures = `has 12 MiB free, of which 7 MiB are still to be written by Restore of web \\(job ${first}\\), and .* need 7 MiB`;
    assert.match(refused.body.error.message, new RegExp(figures));
    const small = await lab.jobOf(await restore({ restoreDiskLunList: [] }));
    for (const id of [small, first]) {
      await lab.client.jobCancellations.trigger(VAULT, GROUP, id);
      await lab.ended(id);
    }
    settings.restoresPerStorageAccount = 1;
    const done = await lab.ended(await lab.jobOf(await restore()));
    assert.equal(done.status, 'Completed');
    // What it has written is not counted twice: it has ended.
    assert.equal((await restore()).status, 409);
    assert.equal((await restore({ restoreDiskLunList: [] })).status, 202);
  });
});

test('a disk of zeros needs no room, however large it is', async (t) => {
  const lab = await backupLab(t, (made) => {
    const web = addImages(made, 'web', [{ name: 'a', sizeBytes: MIB }]);
    execFileSync('truncate', ['-s', '4T', join(web, 'b.raw')]);
  });
  await lab.protect('web');
  await lab.ended(await lab.startBackup('web'));
  const answer = await lab.restore('web', (await lab.points('web'))[0]!.name, {});
  assert.equal((await lab.ended(await lab.jobOf(answer))).status, 'Completed');
});

test('a restore whose room turns out too small says why it waits and until when; its account is not removed meanwhile', async (t) => {
  await inSmallAccount(t, ALL_BUT_METADATA, async ({ lab, restore }) => {
    const settings = lab.service.settings as { restoresPerStorageAccount: number };
    settings.restoresPerStorageAccount = 0;
    const id = await lab.jobOf(await restore());
    const account = `${lab.group}/providers/Holdfast.Backup/storageAccounts/small`;
    const queued = await lab.call('DELETE', account);
    assert.deepEqual([queued.status, queued.body.error.code], [409, 'StorageAccountInUse']);
    assert.match(queued.body.error.message, new RegExp(`Restore of web \\(job ${id}\\)`));
    await lab.client.jobCancellations.trigger(VAULT, GROUP, id);
    await lab.ended(id);
    settings.restoresPerStorageAccount = 1;

    const waiting = await lab.jobOf(await restore());
    const job = async () => await lab.job(waiting);
    while ((await job()).errorDetails === undefined) await sleep(20);
    const { status, errorDetails, extendedInfo } = await job();
    assert.equal(status, 'InProgress');
    assert.equal(errorDetails![0]!.errorTitle, 'StoreFull');
    const next = extendedInfo!.propertyBag!['Next try']!;
    assert.ok(errorDetails![0]!.errorString!.endsWith(` It is tried again at ${next}.`));
    assert.ok(Date.parse(next) - Date.now() > 10_000);
    assert.equal((await lab.call('DELETE', account)).status, 409);
    await lab.client.jobCancellations.trigger(VAULT, GROUP, waiting);
    const cancelled = await lab.ended(waiting);
    assert.deepEqual([cancelled.status, cancelled.errorDetails], ['Cancelled', undefined]);
    assert.equal((await lab.call('DELETE', account)).status, 200);
  });
});
