/** A service that starts while the storage of its vault takes nothing: what only reads works as ever. */
import assert from 'node:assert/strict';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '#base';
import { backUpNow } from '../backing-up/start-backup.ts';
import { examine } from '../doctor/doctor.ts';
import { getItem } from '../items/items.ts';
import { deleteData, stopRetaining } from '../items/protect.ts';
import { listPoints } from '../points/points.ts';
import { startRestore } from '../restoring/start-restore.ts';
import { WEB } from '../testing/aged-vm.ts';
import { addStore, backedUpVm, STORE } from '../testing/backed-up-vm.ts';
import { fillDisk, onOwnDisk, remount } from '../testing/own-disk.ts';
import { endOf, GROUP } from '../testing/test-service.ts';

async function site(t: TestContext) {
  const { made, item } = await backedUpVm(t);
  const { vaultId } = item;
  const points = async () => {
    const { read } = made.service().catalogue;
    return (await listPoints(read, (await getItem(read, WEB)).id)).map(({ id }) => id);
  };
  return {
    made,
    vaultId,
    points,
    restores: async () => {
      const now = made.service();
      await addStore(made);
      const [point] = await points();
      const request = { kind: 'disks', point: point!, account: STORE } as const;
      const { jobId } = await startRestore(now, WEB, request);
      const job = await endOf(now, vaultId, jobId);
      assert.equal(job.status, 'Completed', JSON.stringify(job));
    },
    errors: async () =>
      (await examine(made.service()))
        .filter(({ severity }) => severity === 'error')
        .map(({ what, advice }) => `${what} -> ${advice}`),
  };
}

for (const what of ['with its catalogue', 'without catalogue'] as const) {
  test(`storage that is mounted read-only at the start, ${what}: points are listed and restored, backups refused until it is writable`, async (t) => {
    const { made, vaultId, points, restores, errors } = await site(t);
    const expected = await points();
    await onOwnDisk(made, vaultId, async (repository) => {
      remount(repository, 'ro');
      await made.service().close();
      if (what === 'without catalogue') {
        for (const end of ['', '-wal', '-shm']) {
          rmSync(join(made.data, `catalogue.db${end}`), { force: true });
        }
      }
      await made.restart();
      assert.equal(made.service().reach.all().size, 0);
      assert.deepEqual(await points(), expected);
      await made.service().catalogue.change(async (change) => {
        const group = { key: GROUP, name: GROUP, location: 'local', tags: '{}', createdAt: 0 };
        await change
          .insertInto('resourceGroups')
          .values(group)
          .onConflict((is) => is.doNothing())
          .execute();
      });
      await restores();
      const service = made.service();
      for (const refused of [
        async () => await backUpNow(service, WEB, undefined),
        async () => await stopRetaining(service, WEB),
        async () =>
          await startRestore(service, WEB, {
            kind: 'replace',
            point: expected[0]!,
            account: STORE,
          }),
      ]) {
        await assert.rejects(refused(), (error) => isHoldfastError(error, 'StoreReadOnly'));
      }
      const [error, ...others] = await errors();
      assert.deepEqual(others, []);
      assert.match(error!, /^nothing can be written .*\[StoreReadOnly\] -> .*can be restored/);
      remount(repository, 'rw');
      assert.deepEqual(await errors(), []);
      await stopRetaining(service, WEB);
    });
  });
}

test('a disk that is full at the start: points are listed and restored, the reserve stays for what frees space', async (t) => {
  const { made, vaultId, points, restores, errors } = await site(t);
  const expected = await points();
  await onOwnDisk(made, vaultId, async (repository) => {
    fillDisk(repository);
    await made.restart();
    assert.deepEqual(await points(), expected);
    await restores();
    while (!made.complaints.some((line) => line.startsWith('a vault could not be compacted'))) {
      await sleep(5);
    }
    const [error] = await errors();
    assert.match(error!, /^nothing can be written .*\[StoreFull\]/);
    assert.ok(statSync(join(repository, 'reserve')).size > 0);
    await deleteData(made.service(), WEB);
    assert.equal((await getItem(made.service().catalogue.read, WEB)).state, 'SoftDeleted');
  });
});
