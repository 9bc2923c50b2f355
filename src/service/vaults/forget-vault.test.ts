/** A vault whose repository is gone for good can be deleted, and comes back with its repository. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isHoldfastError } from '#base';
import { examine } from '../doctor/doctor.ts';
import { startExport } from '../exporting/start-export.ts';
import { getItem } from '../items/items.ts';
import { deleteData, protect } from '../items/protect.ts';
import { listPoints } from '../points/points.ts';
import { listPolicies } from '../policies/policies.ts';
import { WEB } from '../testing/aged-vm.ts';
import { backedUpVm, killedBefore } from '../testing/backed-up-vm.ts';
import { endOf, VAULT } from '../testing/test-service.ts';
import { createVault } from './create-vault.ts';
import { deleteVault } from './delete-vault.ts';
import { forgetVault } from './forget-vault.ts';
import { listVaults, updateVault } from './vaults.ts';

/** A vault with one point. */
async function site(t: TestContext) {
  const { made, item, points } = await backedUpVm(t);
  const { vaultId } = item;
  const folder = join(made.data, 'vaults', vaultId);
  const repository = join(folder, 'repository');
  return {
    made,
    vaultId,
    point: points[0]!,
    folder,
    repository,
    remove: async () => {
      await made.service().repositories.release(vaultId);
      renameSync(repository, `${repository}.away`);
    },
    pointIds: async () => {
      const { read } = made.service().catalogue;
      return (await listPoints(read, (await getItem(read, WEB)).id)).map((one) => one.id);
    },
    doctor: async () =>
      (await examine(made.service())).map(({ where, what, advice }) =>
        [where, what, advice].join(': '),
      ),
  };
}

for (const when of ['while the service runs', 'before it starts'] as const) {
  test(`a repository that is gone ${when}: its vault is not deleted by accident, but on demand, and comes back with it`, async (t) => {
    const { made, vaultId, point, folder, repository, remove, pointIds, doctor } = await site(t);
    await remove();
    if (when === 'before it starts') await made.restart();
    const service = made.service();
    await assert.rejects(deleteVault(service, VAULT), (error) => {
      assert.ok(isHoldfastError(error, 'VaultUnavailable'));
      assert.match(
        error.message,
        /cannot be opened: no folder .*repository.* \[RepositoryNotFound\]\. Mend that; .*--forget-repository/,
      );
      assert.doesNotMatch(error.message, /repo init/);
      return true;
    });
    const left = await forgetVault(service, VAULT);
    assert.deepEqual(left, { repository, folder });
    const { read } = service.catalogue;
    assert.deepEqual(await listVaults(read), []);
    for (const table of ['items', 'points', 'policies', 'documents'] as const) {
      assert.deepEqual(await read.selectFrom(table).selectAll().execute(), [], table);
    }
    assert.deepEqual(await doctor(), []);
    // The VM is free for another vault, of the same name.
    await createVault(service, { ...VAULT, tags: {}, settings: {} });
    await protect(service, WEB, { policy: 'DefaultPolicy' });
    assert.equal((await getItem(read, WEB)).state, 'IRPending');
    await made.restart();
    assert.equal((await listVaults(made.service().catalogue.read)).length, 1);

    renameSync(`${repository}.away`, repository);
    const [, told] = await doctor();
    assert.match(told!, /repository of a vault that was forgotten is there: .*forgotten/);
    rmSync(join(folder, 'forgotten'));
    await made.restart();
    assert.match((await doctor())[0]!, /another one of that name.*\[ResourceExists\]/);
    await updateVault(made.service(), VAULT, { settings: { softDelete: 'Disabled' } });
    const { jobId } = await deleteData(made.service(), WEB);
    const other = await getItem(made.service().catalogue.read, WEB);
    await endOf(made.service(), other.vaultId, jobId);
    await deleteVault(made.service(), VAULT);
    await made.restart();
    assert.deepEqual(
      (await listVaults(made.service().catalogue.read)).map(({ id }) => id),
      [vaultId],
    );
    assert.deepEqual(await pointIds(), [point]);
    assert.equal((await listPolicies(made.service().catalogue.read, VAULT)).length, 1);
  });
}

test('a vault whose repository can be read is never forgotten, also where the vault is out of reach', async (t) => {
  const { made, repository, remove } = await site(t);
  await assert.rejects(forgetVault(made.service(), VAULT), { code: 'RepositoryPresent' });
  await remove();
  await made.restart();
  renameSync(`${repository}.away`, repository);
  await assert.rejects(forgetVault(made.service(), VAULT), { code: 'RepositoryPresent' });
  assert.equal(made.service().reach.all().size, 1);
  assert.equal((await listVaults(made.service().catalogue.read)).length, 1);
});

test('its jobs end: one that runs, one that waits for its next try, one that a user cannot cancel', async (t) => {
  const { made, vaultId, point, remove } = await site(t);
  const service = made.service();
  const running = await startExport(service, WEB, { point });
  const jobs = async () =>
    await service.catalogue.read
      .selectFrom('jobs')
      .selectAll()
      .where('endedAt', 'is', null)
      .execute();
  while ((await jobs()).every(({ leaseOwner }) => leaseOwner === null)) await sleep(10);
  await updateVault(service, VAULT, { settings: { softDelete: 'Disabled' } });
  await deleteData(
    // The job begins when its repository is gone.
    {
      ...service,
      jobs: {
        ...service.jobs,
        add: async (change, job) => {
          await remove();
          return await service.jobs.add(change, job);
        },
      },
    },
    WEB,
  );
  const waits = await service.catalogue.change(async (change) =>
    service.jobs.add(change, {
      vaultId,
      entity: 'v1',
      operation: 'Verify',
      isUserTriggered: true,
      request: {},
    }),
  );
  assert.equal((await jobs()).length, 3);
  await forgetVault(service, VAULT);
  assert.deepEqual(await jobs(), []);
  const ended = await service.catalogue.read.selectFrom('jobs').selectAll().execute();
  for (const id of [running.jobId, waits]) {
    assert.ok(ended.some((job) => job.id === id && job.leaseOwner === null));
  }
  assert.deepEqual(readdirSync(join(made.data, 'exports')), []);
});

test('killed between mark and catalogue: the next start ends it', async (t) => {
  const { made, folder, remove, doctor } = await site(t);
  await remove();
  const service = made.service();
  await assert.rejects(forgetVault(killedBefore(service), VAULT), /killed/);
  assert.ok(existsSync(join(folder, 'forgotten')));
  assert.equal((await listVaults(service.catalogue.read)).length, 1);
  await made.restart();
  assert.deepEqual(await listVaults(made.service().catalogue.read), []);
  assert.deepEqual(await doctor(), []);
});

test('a vault whose folder in the data folder was deleted is told, and can be deleted', async (t) => {
  const { made, folder, doctor } = await site(t);
  await made.service().close();
  rmSync(folder, { recursive: true });
  await made.restart();
  assert.match((await doctor()).join('\n'), /v1: its repository cannot be opened: .*vault.json/);
  await assert.rejects(deleteVault(made.service(), VAULT), { code: 'VaultUnavailable' });
  await forgetVault(made.service(), VAULT);
  assert.deepEqual(await doctor(), []);
});
