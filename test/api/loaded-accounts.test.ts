/** Storage accounts that are loaded or crowded while another is idle: chosen, warned of, and found by the doctor. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { discoverHost, putHost, putStorageAccount } from '#service';
import { addImages, GROUP } from '../../src/service/testing/test-service.ts';
import { backupLab, VAULT } from './backup-lab.ts';

const LOAD = 'Storage account load';
const WAITS = `The storage account 'sa1' is loaded: a restore there waits behind 1 restore, of which 0 may run at once; 'sa2' is idle and has room.`;

type Finding = { readonly where: string; readonly what: string };

test('M38 a restore is told an idle storage account, warned of a loaded one; the doctor points out where disks crowd', async (t) => {
  const lab = await backupLab(
    t,
    (made) => void addImages(made, 'web', [{ name: 'a', sizeBytes: 1 << 20 }]),
    { settings: { restoresPerStorageAccount: 1 } },
  );
  await lab.protect('web');
  await lab.ended(await lab.startBackup('web'));
  const point = (await lab.points('web'))[0]!.name;
  const folder = join(dirname(lab.made.data), 'other');
  await putStorageAccount(lab.service, { group: GROUP, name: 'sa2', path: folder });
  const sa2 = lab.accountId.replace(/sa1$/, 'sa2');
  const own = `${lab.itemPath('web')}/recoveryPoints/${point}/adviseStorageAccount`;
  const advise = async (properties: object = {}) =>
    await lab.call('POST', own.replace('Microsoft.RecoveryServices', 'Holdfast.Backup'), {
      properties,
    });
  const advised = async (properties?: object): Promise<unknown> => {
    const { status, body } = await advise(properties);
    assert.equal(status, 200, JSON.stringify(body));
    return body;
  };
  const idle = { restores: 0, warning: null, idleStorageAccountId: null };
  assert.deepEqual(await advised({ storageAccountId: lab.accountId }), {
    ...idle,
    storageAccountId: lab.accountId,
  });

  // Nothing gets a place: the restores stay in the queue.
  const settings = lab.service.settings as { restoresPerStorageAccount: number };
  settings.restoresPerStorageAccount = 0;
  const restoreToFirst = async () => await lab.jobOf(await lab.restore('web', point, {}));
  const loadOf = async (id: string) => (await lab.job(id)).extendedInfo!.propertyBag![LOAD];
  const first = await restoreToFirst();
  assert.equal(await loadOf(first), undefined);
  assert.deepEqual(await advised(), { ...idle, storageAccountId: sa2 });
  assert.deepEqual(await advised({ storageAccountId: lab.accountId }), {
    storageAccountId: lab.accountId,
    restores: 1,
    warning: WAITS,
    idleStorageAccountId: sa2,
  });
  const second = await restoreToFirst();
  assert.equal(await loadOf(second), WAITS);
  const refused = await advise({ storageAccountId: lab.accountId.replace(/sa1$/, 'none') });
  assert.deepEqual([refused.status, refused.body.error.code], [404, 'ResourceNotFound']);
  const shown = `${lab.group}/providers/Holdfast.Backup/storageAccounts/sa1`;
  const { freeBytes, ...load } = (await lab.call('GET', shown)).body.properties.load;
  assert.deepEqual(load, { restores: 2, restoresAtOnce: 0, boots: 0 });
  assert.ok(freeBytes > 0);
  const doctor = `/subscriptions/${lab.account.subscriptionId}/providers/Holdfast.Backup/doctor`;
  const found = async (): Promise<readonly string[]> =>
    ((await lab.call('GET', doctor)).body.value as readonly Finding[])
      .filter(({ where }) => where.startsWith('storage account'))
      .map(({ where, what }) => `${where}: ${what}`);
  assert.deepEqual(await found(), [
    `storage account ${GROUP}/sa1: 2 restores were asked for there, of which 0 run at once, while the storage account ${GROUP}/sa2 is idle`,
  ]);
  for (const id of [second, first]) {
    await lab.client.jobCancellations.trigger(VAULT, GROUP, id);
    await lab.ended(id);
  }
  assert.deepEqual(await found(), []);
  settings.restoresPerStorageAccount = 1;
  for (const id of [await restoreToFirst(), await restoreToFirst()]) {
    const done = await lab.ended(id);
    assert.equal(done.status, 'Completed', JSON.stringify(done));
    assert.equal(await loadOf(id), undefined, 'its turn has come');
  }

  mkdirSync(join(folder, 'crowd'));
  for (let disk = 0; disk < 8; disk += 1) {
    writeFileSync(join(folder, 'crowd', `${disk}.raw`), Buffer.alloc(1 << 20));
  }
  await putHost(lab.service, { name: 'crowded', uri: `images:${folder}` });
  await discoverHost(lab.service, 'crowded');
  assert.deepEqual(await found(), [
    `storage account ${GROUP}/sa2: 8 disks of VMs crowd in ${folder}, where the storage account ${GROUP}/sa1 has 0`,
  ]);
});
