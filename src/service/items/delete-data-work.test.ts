import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { expirePoints } from '#backup';
import { examine } from '../doctor/doctor.ts';
import { getJob } from '../jobs/jobs.ts';
import { agedVm, WEB } from '../testing/aged-vm.ts';
import { backedUpVm } from '../testing/backed-up-vm.ts';
import { endOf, VAULT } from '../testing/test-service.ts';
import { updateVault } from '../vaults/vaults.ts';
import { listItems } from './items.ts';
import { deleteData, protect, undelete } from './protect.ts';

test('a deletion that was killed at each of its tries takes the item with its points all the same', async (t) => {
  const { made, item } = await backedUpVm(t);
  const service = made.service();
  const { vaultId } = item;
  const deleted = await deleteData(service, WEB);

  // As its job is left by kills after the points have expired and before the item is gone.
  await service.repositories.use(vaultId, async ({ parts, state }) => {
    await expirePoints(parts, [...state.points.keys()]);
  });
  const id = randomUUID();
  await service.catalogue.change(async (change) => {
    const query = change.selectFrom('jobs').selectAll().where('id', '=', deleted.jobId);
    const { place: _, ...job } = await query.executeTakeFirstOrThrow();
    const { attempts } = service.settings;
    const killed = { id, status: 'InProgress', attempt: attempts, leaseOwner: 'dead' };
    const row = { ...job, ...killed, endedAt: null, leaseUntil: 1 };
    await change.insertInto('jobs').values(row).execute();
    await change.updateTable('items').set({ purgeAt: 1 }).execute();
  });
  await made.restart();
  const job = await endOf(made.service(), vaultId, id);
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  assert.deepEqual(await listItems(made.service().catalogue.read, VAULT), []);
  const errors = (await examine(made.service())).filter(({ severity }) => severity === 'error');
  assert.deepEqual(errors, []);
});

for (const end of ['undeleted and protected', 'left as it was'] as const) {
  test(`R59 a deletion that waits for a booted VM deletes nothing once the clock is put right; ${end}`, async (t) => {
    const leapMs = 30 * 86_400_000;
    const vm = await agedVm(t);
    vm.write({ 1: 'D1' });
    const point = await vm.backUp(3650);
    const { id: itemId, vaultId } = await vm.item();
    await deleteData(vm.service, WEB);
    const { catalogue, jobs } = vm.service;
    const of = { vaultId, itemId, entity: 'web', isUserTriggered: false };
    const boot = await catalogue.change(async (change) => {
      const account = { group: 'lab', name: 'x' };
      const asked = { point, account, directory: 'x', hostKey: 'lab', vmName: 'n' };
      const request = { ...asked, isTrial: false };
      const id = await jobs.addDone(change, { ...of, operation: 'InstantBoot', request });
      const row = { status: 'InProgress', endedAt: null, leaseOwner: 'us', leaseUntil: 9e15 };
      await change.updateTable('jobs').set(row).where('id', '=', id).execute();
      return id;
    });
    vm.clock.jump(leapMs);
    const claims = [`item:${itemId}`];
    const purge = await catalogue.change(async (change) =>
      jobs.add(change, { ...of, operation: 'DeleteBackupData', request: {}, claims }),
    );
    const waits = async () => (await vm.jobs('DeleteBackupData')).find(({ id }) => id === purge)!;
    while ((await waits()).properties['Waits for VMs that run from'] === undefined) {
      vm.clock.advance(100);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    vm.clock.jump(-leapMs);
    if (end === 'undeleted and protected') {
      await undelete(vm.service, WEB);
      await protect(vm.service, WEB, { policy: 'DefaultPolicy' });
    }
    const { status, properties } = await vm.ended(purge);
    assert.equal(status, 'Completed');
    assert.match(properties['Not deleted']!, /undeleted/);
    assert.deepEqual(await vm.pointIds(), [point]);
    assert.equal((await vm.stored()).owned.length, 1);
    await catalogue.change(async (change) => {
      const row = { status: 'Completed', endedAt: 1, leaseOwner: null };
      await change.updateTable('jobs').set(row).where('id', '=', boot).execute();
    });
  });
}

test('R59 what was deleted while soft delete was off is not undeleted while its job waits, nor by a clock that is set back', async (t) => {
  const vm = await agedVm(t);
  await vm.backUp(30);
  await updateVault(vm.service, VAULT, { settings: { softDelete: 'Disabled' } });
  const { id: itemId, vaultId } = await vm.item();
  // Its job waits until that one has ended.
  const { catalogue, jobs } = vm.service;
  const other = await catalogue.change(async (change) => {
    const of = { vaultId, itemId, entity: 'web', isUserTriggered: false, request: {} };
    const id = await jobs.addDone(change, { ...of, operation: 'Backup' });
    const asked = { point: 'x', account: { group: 'lab', name: 'x' }, directory: 'x' };
    const request = JSON.stringify({ ...asked, hostKey: 'lab', vmName: 'n', isTrial: false });
    const row = { status: 'InProgress', endedAt: null, leaseOwner: 'us', leaseUntil: 9e15 };
    const boot = { ...row, operation: 'InstantBoot', request };
    await change.updateTable('jobs').set(boot).where('id', '=', id).execute();
    return id;
  });
  const { jobId } = await deleteData(vm.service, WEB);
  const endOfJob = async (id: string) => {
    for (;;) {
      const job = await getJob(catalogue.read, vaultId, id);
      if (job.endedAt !== undefined) return job;
      vm.clock.advance(100);
      await sleep(5);
    }
  };
  const ended = { code: 'UserErrorSoftDeleteEnded', message: /deleted while soft delete was off/ };
  const protectAgain = async () => await protect(vm.service, WEB, { policy: 'DefaultPolicy' });
  for (const backMs of [0, 86_400_000]) {
    vm.clock.jump(-backMs);
    await assert.rejects(undelete(vm.service, WEB), ended);
    await assert.rejects(protectAgain(), { code: 'UserErrorItemSoftDeleted' });
  }
  await catalogue.change(async (change) => {
    const row = { status: 'Completed', endedAt: 1, leaseOwner: null };
    await change.updateTable('jobs').set(row).where('id', '=', other).execute();
  });
  assert.equal((await endOfJob(jobId)).status, 'Completed');
  assert.deepEqual(await listItems(catalogue.read, VAULT), []);
  await protectAgain();
  assert.equal((await vm.item()).state, 'IRPending');
});
