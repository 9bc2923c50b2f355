import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { getJob } from '../jobs/jobs.ts';
import { listPoints } from '../points/points.ts';
import { backedUpVm, STORE } from '../testing/backed-up-vm.ts';
import { endOf, GROUP } from '../testing/test-service.ts';
import type { BootRequest } from './boot-request.ts';

test('the data of an item is not deleted while a VM runs from one of its points', async (t) => {
  const { made, item, points } = await backedUpVm(t);
  const service = made.service();
  const request: BootRequest = {
    point: points[0]!,
    account: STORE,
    hostKey: GROUP,
    vmName: 'web2',
    isTrial: true,
    directory: '/nowhere',
  };
  // As one that another worker holds: nobody here takes it up.
  const boot = await service.catalogue.change(async (change) => {
    const { vaultId, id: itemId } = item;
    const common = { vaultId, itemId, entity: 'web', isUserTriggered: true };
    const id = await service.jobs.add(change, { ...common, operation: 'InstantBoot', request });
    const lease = { leaseOwner: 'another', leaseUntil: Date.now() + 60_000 };
    await change.updateTable('jobs').set(lease).where('id', '=', id).execute();
    return id;
  });
  await service.catalogue.change(async (change) => {
    const due = { state: 'SoftDeleted', purgeAt: 1 };
    await change.updateTable('items').set(due).where('id', '=', item.id).execute();
    await service.jobs.add(change, {
      vaultId: item.vaultId,
      itemId: item.id,
      entity: 'web',
      operation: 'DeleteBackupData',
      isUserTriggered: false,
      request: {},
      claims: [`item:${item.id}`],
    });
  });
  const deletion = await service.catalogue.read
    .selectFrom('jobs')
    .select('id')
    .where('operation', '=', 'DeleteBackupData')
    .executeTakeFirstOrThrow();
  for (;;) {
    const { properties, status } = await getJob(service.catalogue.read, item.vaultId, deletion.id);
    assert.equal(status, 'InProgress');
    if (properties['Waits for VMs that run from'] === points[0]) break;
    await sleep(20);
  }
  assert.equal((await listPoints(service.catalogue.read, item.id)).length, 1);
  await service.catalogue.change(async (change) => {
    const ended = { status: 'Cancelled', endedAt: Date.now(), leaseOwner: null };
    await change.updateTable('jobs').set(ended).where('id', '=', boot).execute();
  });
  const done = await endOf(service, item.vaultId, deletion.id);
  assert.equal(done.status, 'Completed', JSON.stringify(done.failure));
  assert.equal(done.properties['Recovery points deleted'], '1');
});
