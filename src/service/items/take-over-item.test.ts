import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { expirePoints } from '#backup';
import { addBackup, backUpNow } from '../backing-up/start-backup.ts';
import { examine } from '../doctor/doctor.ts';
import { listPoints } from '../points/points.ts';
import { startRestore } from '../restoring/start-restore.ts';
import { WEB } from '../testing/aged-vm.ts';
import { addStore, backedUpVm, STORE } from '../testing/backed-up-vm.ts';
import { endOf } from '../testing/test-service.ts';
import { changeItem } from './change-item.ts';
import { itemDocument } from './item-documents.ts';

const RUN = {
  atMs: Date.parse('2026-11-01T02:00:00Z'),
  policyDate: '2026-11-01',
  isLastOfPolicyDay: true,
};

for (const state of ['open', 'ended'] as const) {
  test(`points that no document names are recorded as their ${state} jobs made them, while another document is newer`, async (t) => {
    const { made, item } = await backedUpVm(t, { backups: 0 });
    const service = made.service();
    await addStore(made);
    const askedUntil = Date.now() + 3650 * 86_400_000;
    const { jobId: onDemand } = await backUpNow(service, WEB, askedUntil);
    await endOf(service, item.vaultId, onDemand);
    const scheduled = await service.catalogue.change(async (change) =>
      addBackup(service, change, { item, origin: 'scheduled', run: RUN }),
    );
    await endOf(service, item.vaultId, scheduled);
    const [source] = await listPoints(service.catalogue.read, item.id);
    const { jobId: safety } = await startRestore(service, WEB, {
      kind: 'replace',
      point: source!.id,
      account: STORE,
    });
    await endOf(service, item.vaultId, safety);
    const before = await listPoints(service.catalogue.read, item.id);
    assert.deepEqual(
      before.map((point) => [point.origin, point.askedUntil, point.retention.runAt]),
      [
        ['safety', undefined, undefined],
        ['scheduled', undefined, RUN.atMs],
        ['on-demand', askedUntil, undefined],
      ],
    );
    assert.notDeepEqual(before[1]!.retention.tags, []);

    // In the repository, and not recorded: killed before.
    await changeItem(service, item, async () => ({
      item: {},
      deletedPoints: before.map(({ id }) => id),
      also: async () => undefined,
    }));
    await service.catalogue.change(async (change) => {
      await change.deleteFrom('documents').where('document', '=', 'vault').execute();
      if (state === 'ended') return;
      const row = { status: 'InProgress', endedAt: null, leaseOwner: 'dead', leaseUntil: 1 };
      await change
        .updateTable('jobs')
        .set(row)
        .where('id', 'in', [onDemand, scheduled, safety])
        .execute();
    });
    const again = await made.restart();
    for (const id of [onDemand, scheduled, safety]) {
      assert.equal((await endOf(again, item.vaultId, id)).status, 'Completed');
    }
    assert.deepEqual(await listPoints(again.catalogue.read, item.id), before);
    const errors = (await examine(again)).filter(({ severity }) => severity === 'error');
    assert.deepEqual(errors, []);
  });
}

test('the doctor has nothing against a document that names the points in another order than the catalogue', async (t) => {
  const { made, item } = await backedUpVm(t, { backups: 3 });
  const service = made.service();
  const { id, vaultId } = item;
  const { read } = service.catalogue;
  const row = read.selectFrom('items').selectAll().where('id', '=', id);
  const points = await read.selectFrom('points').selectAll().where('itemId', '=', id).execute();
  const document = itemDocument(await row.executeTakeFirstOrThrow(), points);
  const value = document.value as { readonly points: readonly { readonly id: string }[] };
  const errors = async () =>
    (await examine(made.service())).filter(({ severity }) => severity === 'error');
  const remember = async (ofPoints: readonly object[]) =>
    await service.repositories.remember(vaultId, document.id, { ...value, points: ofPoints });
  await remember(value.points.toReversed());
  assert.deepEqual(await errors(), []);
  await remember(value.points.slice(1));
  assert.equal((await errors()).length, 1);
});

for (const lost of ['nothing', 'a document’s revision', 'the catalogue'] as const) {
  test(`points that expired before a kill are in no document after the next start, which lacks ${lost}`, async (t) => {
    const { made, item, points } = await backedUpVm(t, { backups: 2 });
    const service = made.service();
    const [kept, expired] = points;
    await service.repositories.use(item.vaultId, async (repository) => {
      await expirePoints(repository.parts, [expired!]);
    });
    if (lost === 'a document’s revision') {
      await service.catalogue.change(async (change) => {
        await change.deleteFrom('documents').where('document', '=', 'vault').execute();
      });
    }
    if (lost === 'the catalogue') {
      await service.close();
      for (const file of readdirSync(made.data).filter((name) => name.startsWith('catalogue')))
        rmSync(join(made.data, file));
    }
    const again = await made.restart();
    assert.deepEqual(
      (await listPoints(again.catalogue.read, item.id)).map(({ id }) => id),
      [kept!],
    );
    const errors = (await examine(again)).filter(({ severity }) => severity === 'error');
    assert.deepEqual(errors, []);
  });
}
