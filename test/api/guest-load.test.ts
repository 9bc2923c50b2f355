/**
 * R44 through the API, at Azure's value: QEMU and disks are real, guests are models that are as busy as the test says,
 * and hours are leapt over.
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { discoverHost, putHost } from '#service';
import type { AnyJson } from '../../src/api/testing/any-json.ts';
import { AZURE_GUEST_LOAD, type ServiceSettings } from '../../src/service/service-settings.ts';
import { startModelVm, type ModelVm } from '../e2e/model-vm.ts';
import { QUIET, rulesLab } from './rules-lab.ts';

const MINUTE_MS = 60_000;
const IDLE = { cpu: 0.1, memory: 0.2 };
const ASKED = { properties: { objectType: 'IaasVMBackupRequest' } };
const BUSY = { cpu: 0.95, memory: 0.2 };

/** @param names of the VMs, each on a host of its own that is called the same. */
async function loadLab(
  t: TestContext,
  names: readonly string[],
  settings: Partial<ServiceSettings> = { guestLoad: AZURE_GUEST_LOAD },
) {
  const lab = await rulesLab(t, { policy: QUIET, settings });
  const { clock, service } = lab.vm;
  const ticking = setInterval(() => clock.advance(10), 5);
  t.after(() => clearInterval(ticking));
  const vms: ModelVm[] = [];
  const subscription = lab.group.slice(0, lab.group.indexOf('/resourceGroups'));
  const vmId = (name: string): string =>
    `${subscription}/resourceGroups/${name}/providers/Microsoft.Compute/virtualMachines/${name}`;
  const itemOf = (name: string): string => {
    const plain = `iaasvmcontainerv2;${name};${name}`;
    return `${lab.vault}/backupFabrics/Azure/protectionContainers/IaasVMContainer;${plain}/protectedItems/VM;${plain}`;
  };
  for (const name of names) {
    const vm = await startModelVm(t, { family: 'linux', name });
    vm.guest.load = IDLE;
    vms.push(vm);
    await putHost(service, { name, uri: vm.uri });
    await discoverHost(service, name);
    const { status, body } = await lab.call('PUT', itemOf(name), {
      properties: {
        protectedItemType: 'Microsoft.Compute/virtualMachines',
        policyId: lab.policyId(),
        sourceResourceId: vmId(name),
      },
    });
    assert.equal(status, 202, JSON.stringify(body));
  }
  /** @returns the name of the job that the request began. */
  const begun = async (path: string, asked?: object): Promise<string> => {
    const before = new Set((await lab.jobs()).map(({ name }) => name));
    const { status, body } = await lab.call('POST', `${path}/backup`, asked);
    assert.equal(status, 202, JSON.stringify(body));
    return (await lab.jobs()).find(({ name }) => !before.has(name))!.name;
  };
  const until = async (name: string, isSo: (job: AnyJson) => boolean): Promise<AnyJson> => {
    for (;;) {
      const job = await lab.job(name);
      if (isSo(job)) return job;
      assert.match(job.status, /InProgress|Cancelling/, JSON.stringify(job));
      await sleep(20);
    }
  };
  /** Lets the time pass at once, between two looks at the guests. */
  const leap = async (durationMs: number): Promise<void> => {
    for (let quiet = 0; quiet < 20;) {
      quiet = vms.some(({ agent }) => agent.isConnected) ? 0 : quiet + 1;
      await sleep(5);
    }
    clock.advance(durationMs);
  };
  return {
    ...lab,
    vms,
    vmId,
    itemOf,
    begun,
    leap,
    backUp: async (name: string): Promise<string> => await begun(itemOf(name), ASKED),
    ended: async (name: string) => await until(name, ({ endTime }) => endTime !== undefined),
    waiting: async (name: string, how: RegExp) =>
      await until(name, ({ extendedInfo }) => how.test(extendedInfo.propertyBag.Phase ?? '')),
    pointsOf: async (name: string): Promise<readonly AnyJson[]> =>
      (await lab.call('GET', `${itemOf(name)}/recoveryPoints`)).body.value,
  };
}

const froze = ({ agent }: ModelVm): boolean => agent.commands.includes('guest-fsfreeze-freeze');

test('R44 above 90 % of CPU or memory in the guest the snapshot waits, and fails when its time is up', async (t) => {
  assert.equal(AZURE_GUEST_LOAD.mostShare, 0.9);
  const lab = await loadLab(t, ['db']);
  const [db] = lab.vms as [ModelVm];
  db.guest.load = BUSY;
  const first = await lab.backUp('db');
  await lab.waiting(first, /^waiting, for 140 min at most.*95 % of its CPU and 20 % of its memory/);
  await lab.leap(100 * MINUTE_MS);
  const job = await lab.waiting(first, /^waiting, for (?:39|40) min/);
  assert.deepEqual(job.actionsInfo, ['Cancellable']);
  assert.equal(job.extendedInfo.tasksList[0].status, 'InProgress');
  assert.ok(!froze(db));
  db.guest.load = { cpu: 0.9, memory: 0.9 };
  await lab.leap(MINUTE_MS);
  const done = await lab.ended(first);
  assert.equal(done.status, 'Completed', JSON.stringify(done));
  assert.match(
    done.extendedInfo.tasksList[0].taskExecutionDetails,
    /^Guest load: 90 % of its CPU and 90 % of its memory in use$/m,
  );
  assert.match(done.extendedInfo.propertyBag['Waited for less load'], /^6\d{3} s$/);
  const [point] = await lab.pointsOf('db');
  assert.equal(point.properties.recoveryPointType, 'FileSystemConsistent');

  db.guest.load = { cpu: 0.1, memory: 0.97 };
  const asked = db.agent.calls.length;
  const second = await lab.backUp('db');
  await lab.waiting(second, /97 % of its memory/);
  for (let leaps = 0; leaps < 2; leaps += 1) await lab.leap(AZURE_GUEST_LOAD.waitMs);
  const failed = await lab.ended(second);
  assert.equal(failed.status, 'Failed');
  const [{ errorTitle, errorString, recommendations }] = failed.errorDetails;
  assert.equal(errorTitle, 'ExtensionFailedTimeoutGuestBusy');
  assert.match(
    errorString,
    /too busy for 140 min: db: 10 % of its CPU and 97 % of its memory in use \(limit 90 %\)/,
  );
  assert.match(recommendations[0], /less to do/);
  const since = db.agent.calls.slice(asked).map(({ command }) => command);
  assert.ok(!since.includes('guest-fsfreeze-freeze'));
  assert.equal((await lab.pointsOf('db')).length, 1);
});

test('R44 whoever waits for a guest holds no place that others want, and is cancelled at once', async (t) => {
  const one = { backupsAtOnce: 1, snapshotsPerHost: 1, transfersPerVault: 1 };
  const lab = await loadLab(t, ['db'], { guestLoad: AZURE_GUEST_LOAD, ...one });
  const [db] = lab.vms as [ModelVm];
  db.guest.load = BUSY;
  const waiting = await lab.backUp('db');
  await lab.waiting(waiting, /^waiting/);
  const other = await lab.ended(await lab.begun(lab.item, ASKED));
  assert.equal(other.status, 'Completed', 'of a VM that is off: it is not looked at');
  assert.doesNotMatch(other.extendedInfo.tasksList[0].taskExecutionDetails, /Guest load/);
  const { status } = await lab.call('POST', `${lab.vault}/backupJobs/${waiting}/cancel`);
  assert.equal(status, 202);
  assert.equal((await lab.ended(waiting)).status, 'Cancelled');
  assert.ok(!froze(db));
});

test('R44 nothing waits unless it is set, nor where the load is not known, which the job says', async (t) => {
  const lab = await loadLab(t, ['db'], {});
  const [db] = lab.vms as [ModelVm];
  db.guest.load = BUSY;
  const unset = await lab.ended(await lab.backUp('db'));
  assert.equal(unset.status, 'Completed', JSON.stringify(unset));
  assert.ok(!db.agent.commands.includes('guest-get-cpustats'));

  Object.assign(lab.vm.service.settings, { guestLoad: AZURE_GUEST_LOAD });
  db.guest.load = undefined;
  db.guest.files.delete('/proc/meminfo');
  const unknown = await lab.ended(await lab.backUp('db'));
  assert.equal(unknown.status, 'Completed', JSON.stringify(unknown));
  assert.match(
    unknown.extendedInfo.tasksList[0].taskExecutionDetails,
    /^Guest load: .* is not known.*may neither read files nor run programs$/m,
  );
  db.agent.hung = true;
  const silent = await lab.backUp('db');
  assert.equal((await lab.ended(silent)).status, 'CompletedWithWarnings');
});

test('R44 no member of a group is frozen before all of them are below the limit', async (t) => {
  const lab = await loadLab(t, ['db', 'app']);
  const [db, app] = lab.vms as [ModelVm, ModelVm];
  const shop = `${lab.group}/providers/Holdfast.Backup/vaults/v1/consistencyGroups/shop`;
  const virtualMachineIds = ['db', 'app'].map((name) => lab.vmId(name));
  const made = await lab.call('PUT', shop, { properties: { virtualMachineIds } });
  assert.equal(made.status, 200, JSON.stringify(made.body));
  app.guest.load = BUSY;
  const job = await lab.begun(shop);
  await lab.waiting(job, /: app: 95 % of its CPU/);
  [db.guest.load, app.guest.load] = [BUSY, IDLE];
  await lab.leap(MINUTE_MS);
  await lab.waiting(job, /: db: 95 % of its CPU/);
  assert.deepEqual([froze(db), froze(app)], [false, false]);
  assert.deepEqual([...db.guest.programs, ...app.guest.programs], [], 'no script has run');
  db.guest.load = IDLE;
  await lab.leap(MINUTE_MS);
  const done = await lab.ended(job);
  assert.equal(done.status, 'Completed', JSON.stringify(done));
  const details: string = done.extendedInfo.tasksList[0].taskExecutionDetails;
  for (const name of ['db', 'app']) assert.match(details, new RegExp(`${name}: Guest load: 10 %`));
  assert.deepEqual([froze(db), froze(app)], [true, true]);
});
