/** Jobs as the rules have them (R30, R40, R42, R43, R45), through the API on a clock that the test moves. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AnyJson } from '../../src/api/testing/any-json.ts';
import { AZURE_QUOTAS } from '../../src/service/policy/quotas.ts';
import { BLOCK } from '../../src/service/testing/aged-vm.ts';
import { MONTH, QUIET, rulesLab, type RulesLab } from './rules-lab.ts';

type Queue = 'snapshotsPerHost' | 'transfersPerVault';

/** Nobody gets into the queue, until it is opened again for those who come then. */
function close({ vm }: RulesLab, queue: Queue): () => void {
  const before = vm.service.settings[queue];
  Object.assign(vm.service.settings, { [queue]: 0 });
  return () => void Object.assign(vm.service.settings, { [queue]: before });
}

/** Begins a backup that stays in its task. @returns the job's name. */
async function stuck(
  lab: RulesLab,
  task: 'Take Snapshot' | 'Transfer data to vault',
): Promise<string> {
  const { status } = await lab.call('POST', `${lab.item}/backup`, {
    properties: { objectType: 'IaasVMBackupRequest' },
  });
  assert.equal(status, 202);
  const { name } = (await lab.jobs()).find(({ properties }) => properties.status === 'InProgress')!;
  const snapshot = async (): Promise<string> =>
    (await lab.job(name)).extendedInfo.tasksList[0].status;
  while (task !== 'Take Snapshot' && (await snapshot()) !== 'Completed') {
    lab.vm.clock.advance(100);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return name;
}

const cancel = async (lab: RulesLab, name: string) =>
  await lab.call('POST', `${lab.vault}/backupJobs/${name}/cancel`);

async function ended(lab: RulesLab, name: string): Promise<AnyJson> {
  await lab.vm.ended(name);
  return await lab.job(name);
}

test('R30 R40 a backup that is cancelled in its transfer leaves no point; the next one is an increment of the last that succeeded', async (t) => {
  const lab = await rulesLab(t, { policy: QUIET });
  for (let block = 0; block < 4; block += 1) lab.vm.write({ [block]: `block ${block}` });
  const first = await lab.backUp(30);
  lab.vm.write({ 1: 'changed' });
  const open = close(lab, 'transfersPerVault');
  const name = await stuck(lab, 'Transfer data to vault');
  const before = await lab.job(name);
  assert.deepEqual(
    before.extendedInfo.tasksList.map(({ taskId, status }: AnyJson) => [taskId, status]),
    [
      ['Take Snapshot', 'Completed'],
      ['Transfer data to vault', 'NotStarted'],
    ],
  );
  assert.deepEqual(before.actionsInfo, ['Cancellable']);
  assert.equal((await cancel(lab, name)).status, 202);
  assert.equal((await ended(lab, name)).status, 'Cancelled');
  open();
  assert.deepEqual(
    (await lab.points()).map((point) => point.name),
    [first],
  );
  lab.vm.write({ 2: 'changed too' });
  await lab.backUp(30);
  assert.deepEqual(
    (await lab.points()).map(({ changed }) => changed),
    [[4 * BLOCK], [2 * BLOCK]],
  );
});

test('R40 with cancelOnlyInSnapshot a backup is cancelled while it takes its snapshot, and not in its transfer', async (t) => {
  const lab = await rulesLab(t, { policy: QUIET, settings: { cancelOnlyInSnapshot: true } });
  const openSnapshots = close(lab, 'snapshotsPerHost');
  const early = await stuck(lab, 'Take Snapshot');
  assert.equal((await cancel(lab, early)).status, 202);
  assert.equal((await ended(lab, early)).status, 'Cancelled');
  openSnapshots();
  close(lab, 'transfersPerVault');
  const late = await stuck(lab, 'Transfer data to vault');
  assert.deepEqual((await lab.job(late)).actionsInfo, []);
  const { status, body } = await cancel(lab, late);
  assert.deepEqual([status, body.error.code], [400, 'UserErrorJobNotCancellable']);
  assert.match(body.error.message, /isn't in a cancelable state.*Take Snapshot/);
  Object.assign(lab.vm.service.settings, { cancelOnlyInSnapshot: false });
  assert.equal((await cancel(lab, late)).status, 202);
  assert.equal((await ended(lab, late)).status, 'Cancelled');
});

test('R42 an increment has 24 hours; the first backup, and one with a disk that was added, have as long as they need', async (t) => {
  const lab = await rulesLab(t, { policy: QUIET });
  const open = close(lab, 'snapshotsPerHost');
  const outcome = async (): Promise<string> => {
    const name = await stuck(lab, 'Take Snapshot');
    lab.vm.clock.advance(25 * 3_600_000);
    for (let looks = 0; looks < 20 && (await lab.job(name)).status === 'InProgress'; looks += 1) {
      lab.vm.clock.advance(1000);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const { status, errorDetails } = await lab.job(name);
    if (status === 'InProgress') {
      await cancel(lab, name);
      await lab.vm.ended(name);
    }
    return errorDetails?.[0].errorTitle ?? status;
  };
  assert.equal(await outcome(), 'InProgress');
  open();
  await lab.backUp(30);
  close(lab, 'snapshotsPerHost');
  assert.equal(await outcome(), 'CopyingVHDsFromBackUpVaultTakingLongTime');
  writeFileSync(join(lab.vm.made.images, 'web', 'b.raw'), randomBytes(BLOCK));
  await lab.discover();
  assert.equal(await outcome(), 'InProgress');
});

test('R43 a job has its kind and state, tells its disks and until when its point is kept, and is remembered for six months', async (t) => {
  const lab = await rulesLab(t, { policy: MONTH });
  writeFileSync(join(lab.vm.made.images, 'web', 'b.raw'), randomBytes(BLOCK));
  await lab.discover();
  const diskExclusionProperties = { diskLunList: [0], isInclusionList: false };
  await lab.done('PUT', lab.item, {
    properties: {
      protectedItemType: 'Microsoft.Compute/virtualMachines',
      policyId: lab.policyId(),
      extendedProperties: { diskExclusionProperties },
    },
  });
  const scheduled = await lab.scheduled();
  assert.deepEqual([scheduled.operation, scheduled.status], ['Backup', 'Completed']);
  assert.equal(scheduled.isUserTriggered, false);
  const bag = scheduled.extendedInfo.propertyBag;
  const [point] = await lab.points();
  assert.equal(bag['Recovery Point Expiry Time in UTC'], point!.expiry);
  assert.deepEqual([bag['Backed-up disks'], bag['Excluded disks']], ['a', 'b']);
  const others = [];
  for (const act of [lab.stop, lab.protect, lab.deleteData, lab.undelete]) {
    const { operation, status } = await act();
    others.push([operation, status]);
  }
  assert.deepEqual(others, [
    ['DisableBackup', 'Completed'],
    ['ConfigureBackup', 'Completed'],
    ['DeleteBackupData', 'Completed'],
    ['Undelete', 'Completed'],
  ]);
  const all = async (): Promise<number> => (await lab.jobs()).length;
  const made = await all();
  await lab.vm.pass(170);
  assert.equal(await all(), made);
  await lab.vm.pass(20);
  assert.equal(await all(), 0);
});

test('R45 what cannot be cancelled says why: a job of another kind, one that has ended', async (t) => {
  const lab = await rulesLab(t, { policy: QUIET });
  const [configured] = await lab.jobs();
  const ended = await cancel(lab, configured!.name);
  assert.deepEqual([ended.status, ended.body.error.code], [400, 'UserErrorJobNotCancellable']);
  assert.match(ended.body.error.message, /it isn't in progress, but Completed/);
  await lab.vaultConfig({ softDeleteFeatureState: 'Disabled', enhancedSecurityState: 'Disabled' });
  // The deletion waits for the backup, which does not come to its end.
  const open = close(lab, 'snapshotsPerHost');
  const backup = await stuck(lab, 'Take Snapshot');
  assert.equal((await lab.call('DELETE', lab.item)).status, 202);
  const deleting = (await lab.jobs()).find(
    ({ properties }) => properties.operation === 'DeleteBackupData',
  );
  const refused = await cancel(lab, deleting!.name);
  assert.match(refused.body.error.message, /Cancellation isn't supported for this job type/);
  assert.equal((await cancel(lab, backup)).status, 202);
  open();
  await lab.vm.ended(deleting!.name);
});

test('R14 on-demand backups have the quota a day of the settings, in Azure 9; none holds unless it is set', async (t) => {
  const lab = await rulesLab(t, {
    policy: QUIET,
    settings: { quotas: { onDemandBackupsPerDay: 2 } },
  });
  assert.equal(AZURE_QUOTAS.onDemandBackupsPerDay, 9);
  for (let tries = 0; tries < 2; tries += 1) await lab.backUp(30);
  const properties = { objectType: 'IaasVMBackupRequest' };
  const refused = await lab.call('POST', `${lab.item}/backup`, { properties });
  assert.deepEqual([refused.status, refused.body.error.code], [409, 'UserErrorQuotaExceeded']);
  lab.vm.clock.advance(24 * 3_600_000);
  await lab.backUp(30);
  Object.assign(lab.vm.service.settings, { quotas: {} });
  for (let tries = 0; tries < 2; tries += 1) await lab.backUp(30);
  assert.equal((await lab.points()).length, 5);
});
