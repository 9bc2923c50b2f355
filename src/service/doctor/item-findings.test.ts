import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { test } from 'node:test';
import { backUpNow } from '../backing-up/start-backup.ts';
import { discoverHost } from '../hosts/discovery.ts';
import { getItem } from '../items/items.ts';
import { protect, stopRetaining } from '../items/protect.ts';
import { addImages, endOf, GROUP, testService, VAULT, withVault } from '../testing/test-service.ts';
import type { TestService } from '../testing/test-service.ts';
import { examine } from './doctor.ts';

const NAME = { vault: VAULT, vm: { group: GROUP, name: 'web' } };

async function ofTheVm({ service }: TestService): Promise<readonly string[]> {
  return (await examine(service()))
    .filter(({ where }) => where === `${GROUP}/web`)
    .map(({ severity, what, advice }) => `${severity}: ${what} -> ${advice}`);
}

async function backUp(made: TestService): Promise<string> {
  const service = made.service();
  const { vaultId } = await getItem(service.catalogue.read, NAME);
  const { jobId } = await backUpNow(service, NAME, undefined);
  return (await endOf(service, vaultId, jobId)).status;
}

test('a VM whose newest backup failed is warned of, with the reason and its newest point, until one succeeds', async (t) => {
  const made = await testService(t);
  const folder = addImages(made, 'web', [{ name: 'a', sizeBytes: 1 << 16 }]);
  await withVault(made);
  await protect(made.service(), NAME, { policy: 'DefaultPolicy' });
  const disk = `${folder}/a.raw`;
  const failed = /^warning: its newest backup failed at \S+Z: .+ \[\w+\]; /;
  const doBackup = / -> mend what the message names, then run holdfast backup lab\/web$/;

  renameSync(disk, `${disk}.away`);
  assert.equal(await backUp(made), 'Failed');
  await putBackInSight(made, disk);
  const [never] = await ofTheVm(made);
  assert.match(never!, failed);
  assert.match(never!, /; it has no recovery point ->/);
  assert.match(never!, doBackup);

  assert.equal(await backUp(made), 'Completed');
  assert.deepEqual(await ofTheVm(made), []);

  renameSync(disk, `${disk}.away`);
  assert.equal(await backUp(made), 'Failed');
  await putBackInSight(made, disk);
  const [again, ...others] = await ofTheVm(made);
  assert.deepEqual(others, []);
  assert.match(again!, failed);
  assert.match(again!, /; its newest recovery point is of \S+Z ->/);
});

/** So that the VM is among those of its host. */
async function putBackInSight({ service }: TestService, disk: string): Promise<void> {
  renameSync(`${disk}.away`, disk);
  await discoverHost(service(), GROUP);
}

test('a protected VM that is gone is warned of, though it never had a point; a stopped one is not', async (t) => {
  const made = await testService(t);
  const folder = addImages(made, 'web', [{ name: 'a', sizeBytes: 1 << 16 }]);
  await withVault(made);
  const service = made.service();
  await protect(service, NAME, { policy: 'DefaultPolicy' });
  assert.deepEqual(await ofTheVm(made), []);
  renameSync(folder, `${made.images}.away`);
  await discoverHost(service, GROUP);
  const gone =
    /^warning: it is protected, and not among the VMs .*; it has no recovery point -> add/;
  assert.match((await ofTheVm(made)).join('\n'), gone);
  await stopRetaining(service, NAME);
  assert.deepEqual(await ofTheVm(made), []);
});
