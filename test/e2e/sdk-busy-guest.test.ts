/** R44 with a real guest whose CPU is really busy, backed up through the API by Azure's SDK. */
import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AzureIaaSVMJob } from '@azure/arm-recoveryservicesbackup';
import { discoverHost, putHost } from '#service';
import { backupLab, VAULT } from '../api/backup-lab.ts';
import { AZURE_GUEST_LOAD } from '../../src/service/service-settings.ts';
import { addImages, GROUP } from '../../src/service/testing/test-service.ts';
import { startGuest, type TinyGuest } from './tiny-guest.ts';
import { assertNothingLeft } from './vm-site.ts';

const HOST = 'live';

/** Has nothing to do with the backup, and all of the CPU. */
const beBusy = async (guest: TinyGuest): Promise<unknown> =>
  await guest.sh('while :; do :; done >/dev/null 2>&1 & echo $! >/run/busy');
const beIdle = async (guest: TinyGuest): Promise<unknown> =>
  await guest.sh('kill $(cat /run/busy)');

test('R44 a guest that is really busy is waited for, unfrozen, until it has less to do or the time is up', async (t) => {
  const guest = await startGuest(t);
  const vm = basename(guest.runDir);
  const lab = await backupLab(
    t,
    (made) => addImages(made, 'web', [{ name: 'a', sizeBytes: 512 }]),
    {
      settings: { guestLoad: AZURE_GUEST_LOAD },
    },
  );
  await putHost(lab.service, { name: HOST, uri: `qmp:${guest.qmpPath},agent=${guest.agentPath}` });
  await discoverHost(lab.service, HOST);
  const plain = `iaasvmcontainerv2;${HOST};${vm}`.toLowerCase();
  const item = `${lab.vault}/backupFabrics/Azure/protectionContainers/IaasVMContainer;${plain}/protectedItems/VM;${plain}`;
  const group = lab.group.replace(GROUP, HOST);
  await lab.jobOf(
    await lab.call('PUT', item, {
      properties: {
        protectedItemType: 'Microsoft.Compute/virtualMachines',
        sourceResourceId: `${group}/providers/Microsoft.Compute/virtualMachines/${vm}`,
        policyId: lab.policyId,
      },
    }),
  );
  const backUp = async (): Promise<string> => {
    const properties = { objectType: 'IaasVMBackupRequest' };
    return await lab.jobOf(await lab.call('POST', `${item}/backup`, { properties }));
  };
  const waiting = async (id: string): Promise<AzureIaaSVMJob> => {
    for (;;) {
      const job = await lab.job(id);
      if (job.extendedInfo?.propertyBag?.['Phase']?.startsWith('waiting, for') === true) return job;
      assert.equal(job.status, 'InProgress', JSON.stringify(job));
      await sleep(100);
    }
  };
  const details = ({ extendedInfo }: AzureIaaSVMJob): string =>
    extendedInfo!.tasksList![0]!.taskExecutionDetails ?? '';

  await beBusy(guest);
  const first = await backUp();
  const phase = (await waiting(first)).extendedInfo!.propertyBag!['Phase']!;
  assert.match(
    phase,
    /: (?:9\d(?:\.\d)?|100) % of its CPU and \d+(?:\.\d)? % of its memory in use/,
  );
  const freezes = async () => await guest.sh('cat /run/fsfreeze-hook.log 2>/dev/null || true');
  assert.equal(await freezes(), '');
  await beIdle(guest);
  const done = await lab.ended(first);
  assert.match(done.status!, /^Completed/, JSON.stringify(done));
  assert.match(
    details(done),
    /^Guest load: \d+(?:\.\d)? % of its CPU and \d+(?:\.\d)? % of its memory/m,
  );
  assert.match(await freezes(), /freeze/);
  assert.match(details(done), /^Freeze: file systems frozen: [1-9]/m);
  const points = await lab.call('GET', `${item}/recoveryPoints`);
  assert.equal(points.body.value[0].properties.recoveryPointType, 'FileSystemConsistent');
  await assertNothingLeft(guest, points.body.value[0].name);

  await beBusy(guest);
  Object.assign(lab.service.settings, { guestLoad: { ...AZURE_GUEST_LOAD, waitMs: 3000 } });
  const failed = await lab.ended(await backUp());
  assert.equal(failed.status, 'Failed', JSON.stringify(failed));
  assert.equal(failed.errorDetails![0]!.errorTitle, 'ExtensionFailedTimeoutGuestBusy');
  assert.match(
    failed.errorDetails![0]!.errorString!,
    /too busy for 3 s: .* % of its CPU.*limit 90 %/,
  );

  Object.assign(lab.service.settings, { guestLoad: AZURE_GUEST_LOAD });
  const cancelled = await backUp();
  await waiting(cancelled);
  await lab.client.jobCancellations.trigger(VAULT, GROUP, cancelled);
  assert.equal((await lab.ended(cancelled)).status, 'Cancelled');
  await beIdle(guest);
  await assertNothingLeft(guest, points.body.value[0].name);
});
