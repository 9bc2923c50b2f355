import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backUpNow } from './backing-up/start-backup.ts';
import { getItem } from './items/items.ts';
import { protect } from './items/protect.ts';
import { listPoints } from './points/points.ts';
import { addImages, endOf, GROUP, testService, VAULT, withVault } from './testing/test-service.ts';

test('a VM is protected, backed up twice, and all of it is there after a restart', async (t) => {
  const made = await testService(t);
  const size = { sizeBytes: 1 << 20 };
  addImages(made, 'web', [
    { name: 'a', ...size },
    { name: 'b', ...size },
  ]);
  await withVault(made);
  const name = { vault: VAULT, vm: { group: GROUP, name: 'web' } };
  let service = made.service();
  await protect(service, name, { policy: 'DefaultPolicy', diskSelection: undefined });
  const item = await getItem(service.catalogue.read, name);
  assert.equal(item.state, 'IRPending');
  for (const changed of [2 << 20, 0]) {
    const { jobId } = await backUpNow(service, name, undefined);
    const job = await endOf(service, item.vaultId, jobId);
    assert.equal(job.status, 'Completed', JSON.stringify(job));
    const [newest] = await listPoints(service.catalogue.read, item.id);
    const bytes = newest!.facts.disks.reduce((sum, disk) => sum + disk.changedBytes, 0);
    assert.equal(bytes, changed);
  }
  const before = await listPoints(service.catalogue.read, item.id);
  service = await made.restart();
  assert.deepEqual(await listPoints(service.catalogue.read, item.id), before);
  assert.equal((await getItem(service.catalogue.read, name)).state, 'Protected');
  assert.deepEqual(made.complaints, []);
});
