import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import { backUpNow } from '../backing-up/start-backup.ts';
import { examine } from '../doctor/doctor.ts';
import { getItem } from '../items/items.ts';
import { deleteData, protect, stopRetaining } from '../items/protect.ts';
import { listPoints } from '../points/points.ts';
import { listPolicies } from '../policies/policies.ts';
import { killedBefore } from '../testing/backed-up-vm.ts';
import { addImages, endOf, GROUP, testService, VAULT, withVault } from '../testing/test-service.ts';
import { deleteVault } from './delete-vault.ts';
import { getVault, makeVaultRecoveryKey, updateVault } from './vaults.ts';

const NAME = { vault: VAULT, vm: { group: GROUP, name: 'web' } };
const PROTECTION = { policy: 'DefaultPolicy', diskSelection: undefined };
const errorsOf = (findings: Awaited<ReturnType<typeof examine>>) =>
  findings.filter(({ severity }) => severity === 'error');

test('a lost catalogue comes back from the repositories: vault, policies, items, states, points and their dates', async (t) => {
  const made = await testService(t);
  addImages(made, 'web', [{ name: 'a', sizeBytes: 1 << 20 }]);
  await withVault(made);
  const before = made.service();
  await updateVault(before, VAULT, { tags: { owner: 'me' }, settings: { softDeleteDays: 20 } });
  await protect(before, NAME, PROTECTION);
  const { vaultId } = await getItem(before.catalogue.read, NAME);
  const expiry = Date.now() + 86_400_000;
  const { jobId } = await backUpNow(before, NAME, expiry);
  await endOf(before, vaultId, jobId);
  await stopRetaining(before, NAME);
  const told = async () => {
    const { read } = made.service().catalogue;
    const item = await getItem(read, NAME);
    const { revision: _, ...vault } = await getVault(read, VAULT);
    const { state, stateSince, lastBackup, createdAt, id } = item;
    const policies = (await listPolicies(read, VAULT)).map(({ name, policy }) => ({
      name,
      policy,
    }));
    const points = await listPoints(read, item.id);
    return { vault, policies, points, item: { state, stateSince, lastBackup, createdAt, id } };
  };
  const expected = await told();
  await before.close();
  for (const end of ['', '-wal', '-shm'])
    rmSync(join(made.data, `catalogue.db${end}`), { force: true });
  await made.restart();
  assert.deepEqual(await told(), expected);
  assert.equal(expected.points[0]!.askedUntil, expiry);
  assert.deepEqual(errorsOf(await examine(made.service())), []);
});

test('a recovery key that somebody has is remembered by the repository, where the catalogue is lost', async (t) => {
  const made = await testService(t);
  await withVault(made);
  const hasKey = async () => (await getVault(made.service().catalogue.read, VAULT)).hasRecoveryKey;
  const loseCatalogue = async () => {
    await made.service().close();
    for (const end of ['', '-wal', '-shm'])
      rmSync(join(made.data, `catalogue.db${end}`), { force: true });
    await made.restart();
  };
  await loseCatalogue();
  assert.equal(await hasKey(), false);
  assert.match((await examine(made.service()))[0]!.what, /nobody has fetched its recovery key/);
  await makeVaultRecoveryKey(made.service(), VAULT);
  await loseCatalogue();
  assert.equal(await hasKey(), true);
  assert.deepEqual(await examine(made.service()), []);
});

test('what a kill left between documents and catalogue is applied by the next start; the doctor sees it before', async (t) => {
  const made = await testService(t);
  addImages(made, 'web', [{ name: 'a', sizeBytes: 1 << 16 }]);
  await withVault(made);
  const service = made.service();
  await protect(service, NAME, PROTECTION);
  await assert.rejects(stopRetaining(killedBefore(service), NAME), /killed/);
  assert.equal((await getItem(service.catalogue.read, NAME)).state, 'IRPending');
  const [finding, ...others] = errorsOf(await examine(service));
  assert.deepEqual(others, []);
  assert.match(finding!.what, /disagree/);
  const again = await made.restart();
  assert.equal((await getItem(again.catalogue.read, NAME)).state, 'ProtectionStopped');
  assert.deepEqual(errorsOf(await examine(again)), []);
});

test('a vault with an item is not deleted; an empty one without soft delete goes with its folder', async (t) => {
  const made = await testService(t);
  addImages(made, 'web', [{ name: 'a', sizeBytes: 1 << 16 }]);
  await withVault(made);
  const service = made.service();
  const folder = join(made.data, 'vaults', (await getVault(service.catalogue.read, VAULT)).id);
  await protect(service, NAME, PROTECTION);
  const refused = async (says: RegExp) =>
    await assert.rejects(deleteVault(service, VAULT), (error) => {
      assert.ok(isHoldfastError(error, 'ServiceResourceNotEmptyWithBackendMessage'));
      assert.match(error.message, /existing resources within the vault/);
      assert.match(error.message, says);
      return true;
    });
  await refused(/: the backup item lab\/web\. Stop their protection and delete their data\.$/);
  await updateVault(service, VAULT, { settings: { softDelete: 'Disabled' } });
  const { vaultId } = await getItem(service.catalogue.read, NAME);
  const { jobId } = await deleteData(service, NAME);
  assert.equal((await endOf(service, vaultId, jobId)).status, 'Completed');
  await deleteVault(service, VAULT);
  assert.equal(existsSync(folder), false);
  await made.restart();
  assert.deepEqual(await readdir(join(made.data, 'vaults')), []);
  assert.deepEqual(made.complaints, []);
});

test('a vault that is not empty names at most five of its items, and says what to do', async (t) => {
  const made = await testService(t);
  for (let vm = 0; vm < 7; vm += 1) addImages(made, `vm${vm}`, [{ name: 'a', sizeBytes: 4096 }]);
  await withVault(made);
  const service = made.service();
  const nameOf = (vm: number) => ({ vault: VAULT, vm: { group: GROUP, name: `vm${vm}` } });
  for (let vm = 0; vm < 7; vm += 1) await protect(service, nameOf(vm), PROTECTION);
  await deleteData(service, nameOf(1));
  await assert.rejects(
    deleteVault(service, VAULT),
    /: the backup items lab\/vm0, lab\/vm2, lab\/vm3, lab\/vm4, lab\/vm5 and 1 more\. Stop their protection and delete their data\.$/,
  );
});
