import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { expirePoints } from '#backup';
import { backUpNow } from '../backing-up/start-backup.ts';
import { examine } from '../doctor/doctor.ts';
import { addImages, endOf, GROUP, testService, VAULT, withVault } from '../testing/test-service.ts';
import { getItem, listItems } from './items.ts';
import { deleteData, protect } from './protect.ts';

const NAME = { vault: VAULT, vm: { group: GROUP, name: 'web' } };

test('a deletion that was killed at each of its tries takes the item with its points all the same', async (t) => {
  const made = await testService(t);
  addImages(made, 'web', [{ name: 'a', sizeBytes: 1 << 16 }]);
  await withVault(made);
  const service = made.service();
  await protect(service, NAME, { policy: 'DefaultPolicy' });
  const { vaultId } = await getItem(service.catalogue.read, NAME);
  await endOf(service, vaultId, (await backUpNow(service, NAME, undefined)).jobId);
  const deleted = await deleteData(service, NAME);

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
  });
  await made.restart();
  const job = await endOf(made.service(), vaultId, id);
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  assert.deepEqual(await listItems(made.service().catalogue.read, VAULT), []);
  const errors = (await examine(made.service())).filter(({ severity }) => severity === 'error');
  assert.deepEqual(errors, []);
});
