/** Exports and instant boots through Holdfast's own paths over https: what is accepted, told and refused. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { addImages, GROUP, type TestService } from '../../src/service/testing/test-service.ts';
import { backupLab, type BackupLab } from './backup-lab.ts';

const twoDisks = (made: TestService): void =>
  void addImages(
    made,
    'web',
    ['a', 'b'].map((name) => ({ name, sizeBytes: 1 << 20 })),
  );

/** @returns the path of its first point, in Holdfast's provider. */
async function backedUp(lab: BackupLab): Promise<string> {
  await lab.protect('web');
  const job = await lab.ended(await lab.startBackup('web'));
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  const point = (await lab.points('web'))[0]!.name;
  const item = lab.itemPath('web').replace('Microsoft.RecoveryServices', 'Holdfast.Backup');
  return `${item}/recoveryPoints/${point}`;
}

async function served(lab: BackupLab, id: string): Promise<Readonly<Record<string, string>>> {
  for (;;) {
    const { status, extendedInfo } = await lab.job(id);
    assert.equal(status, 'InProgress');
    const bag = extendedInfo!.propertyBag!;
    if (bag['NBD URI of the system disk'] !== undefined) return bag;
    await sleep(20);
  }
}

test('a point is exported by a job that tells its URIs, is listed as running and cancellable, and ends by cancel', async (t) => {
  const lab = await backupLab(t, twoDisks);
  const point = await backedUp(lab);
  const properties = { restoreDiskLunList: [0], expiresAfterMinutes: 90 };
  const id = await lab.jobOf(await lab.call('POST', `${point}/export`, { properties }));
  const bag = await served(lab, id);
  const uri = bag['NBD URI of LUN 0']!;
  const image = join(lab.made.images, 'web', 'b.raw');
  await promisify(execFile)('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', uri, image]);
  const ends = Date.parse(bag['Expires']!) - Date.now();
  assert.ok(ends > 80 * 60_000 && ends <= 90 * 60_000);
  const [listed] = (await lab.call('GET', `${lab.vault}/backupJobs`)).body.value;
  const { operation, status, actionsInfo, containerName } = listed.properties;
  assert.deepEqual(
    [operation, status, actionsInfo],
    ['ExportDisks', 'InProgress', ['Cancellable']],
  );
  assert.equal(containerName, `iaasvmcontainerv2;${GROUP};web`);
  // It goes on for hours, and nothing is wrong with that.
  const { body: doctor } = await lab.call(
    'GET',
    `${lab.group.split('/resourceGroups/')[0]!}/providers/Holdfast.Backup/doctor`,
  );
  const told = doctor.value.filter(({ where }: { readonly where: string }) =>
    where.includes('job'),
  );
  assert.deepEqual(told, []);
  await lab.client.jobCancellations.trigger('v1', GROUP, id);
  const ended = await lab.ended(id);
  assert.equal(ended.status, 'Cancelled');
  assert.equal(ended.extendedInfo!.propertyBag!['NBD URI of LUN 0'], undefined);
});

test('without a body all disks are exported; what cannot be exported or booted is refused before', async (t) => {
  const lab = await backupLab(t, twoDisks);
  const point = await backedUp(lab);
  const whole = await lab.jobOf(await lab.call('POST', `${point}/export`));
  assert.equal((await served(lab, whole))['NBD URI of LUN 0'] === undefined, false);
  await lab.service.jobs.cancel(
    (await lab.service.catalogue.read.selectFrom('vaults').select('id').executeTakeFirstOrThrow())
      .id,
    whole,
  );
  await lab.ended(whole);

  const boot = { targetVirtualMachineId: lab.vmId('web2'), storageAccountId: lab.accountId };
  const other = (id: string): string => id.replace(`/${GROUP}/`, '/nowhere/');
  const refusals: readonly (readonly [string, object, number, string])[] = [
    ['export', { restoreDiskLunList: [7] }, 400, 'UserErrorInvalidDiskSelection'],
    ['export', { expiresAfterMinutes: 0 }, 400, 'InvalidRequestContent'],
    ['export', { colour: 'blue' }, 400, 'InvalidRequestContent'],
    ['boot', {}, 400, 'InvalidRequestContent'],
    ['boot', { ...boot, colour: 'blue' }, 400, 'InvalidRequestContent'],
    ['boot', { ...boot, storageAccountId: lab.vmId('web') }, 400, 'InvalidRequestContent'],
    ['boot', { ...boot, storageAccountId: other(lab.accountId) }, 404, 'ResourceNotFound'],
    ['boot', { ...boot, targetVirtualMachineId: other(lab.vmId('x')) }, 404, 'ResourceNotFound'],
    ['boot', { ...boot, restoreDiskLunList: [7] }, 400, 'UserErrorInvalidDiskSelection'],
    // The only host here is a folder of images.
    ['boot', boot, 400, 'DefinitionUnsupported'],
  ];
  for (const [action, properties, status, code] of refusals) {
    const answer = await lab.call('POST', `${point}/${action}`, { properties });
    const told = [answer.status, answer.body?.error?.code];
    assert.deepEqual(told, [status, code], JSON.stringify(properties));
  }
  for (const action of ['export', 'boot']) {
    const path = `${point.replace(/\d+$/, '123456789012345')}/${action}`;
    const { status, body } = await lab.call('POST', path, {
      properties: action === 'boot' ? boot : {},
    });
    assert.deepEqual([status, body.error.code], [404, 'BMSUserErrorRecoveryPointNotFound']);
    assert.equal((await lab.raw('POST', `${point}/${action}?api-version=2023-06-01`)).status, 401);
  }
  const jobs = await lab.call('GET', `${lab.vault}/backupJobs`);
  const operations = jobs.body.value.map(
    (job: { readonly properties: { readonly operation: string } }) => job.properties.operation,
  );
  assert.ok(!operations.includes('InstantBoot'));
});
