import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FakeClock, isHoldfastError } from '#base';
import { createRepository, DEFAULT_BLOCK_SIZE, makeRecoveryKey } from '#backup';
import { backUpNow } from '../backing-up/start-backup.ts';
import { examine } from '../doctor/doctor.ts';
import { getItem, type Item } from '../items/items.ts';
import { protect, stopRetaining } from '../items/protect.ts';
import { getJob } from '../jobs/jobs.ts';
import { WEB } from '../testing/aged-vm.ts';
import { addStore, killedBefore, STORE } from '../testing/backed-up-vm.ts';
import { addImages, testService, VAULT, withVault } from '../testing/test-service.ts';
import type { TestService } from '../testing/test-service.ts';
import { startRestore } from '../restoring/start-restore.ts';
import { startVerify } from '../verifying/start-verify.ts';
import { listVaults } from './vaults.ts';

type Lost = {
  readonly made: TestService;
  readonly clock: FakeClock;
  readonly item: Item;
  readonly point: string;
  /** Its disk is mounted again. */
  readonly mount: () => void;
};

/** A service that was started while the repository of its vault was away. */
async function started(t: TestContext): Promise<Lost> {
  const clock = new FakeClock();
  const made = await testService(t, { clock });
  addImages(made, 'web', [{ name: 'a', sizeBytes: 1 << 16 }]);
  await withVault(made);
  const service = made.service();
  await addStore(made);
  await protect(service, WEB, { policy: 'DefaultPolicy' });
  const item = await getItem(service.catalogue.read, WEB);
  const { jobId } = await backUpNow(service, WEB, undefined);
  const job = async () => await getJob(service.catalogue.read, item.vaultId, jobId);
  while ((await job()).endedAt === undefined) {
    clock.advance(1000);
    await sleep(20);
  }
  const point = (await job()).pointId!;
  // The document is newer than the catalogue: killed between the two.
  await assert.rejects(stopRetaining(killedBefore(service), WEB), /killed/);
  await service.close();
  const folder = join(made.data, 'vaults', item.vaultId, 'repository');
  renameSync(folder, `${folder}.away`);
  await made.restart();
  const mount = (): void => renameSync(`${folder}.away`, folder);
  return { made, clock, item, point, mount };
}

test('a vault whose repository is away at the start is listed, and closed to all with a code that is worth another try', async (t) => {
  const { made, item, point } = await started(t);
  const service = made.service();
  assert.deepEqual(
    (await listVaults(service.catalogue.read)).map(({ name }) => name),
    ['v1'],
  );
  const restore = { kind: 'disks', point, account: STORE } as const;
  for (const ask of [
    async () => await backUpNow(service, WEB, undefined),
    async () => await startVerify(service, VAULT, undefined),
    async () => await startRestore(service, WEB, restore),
    async () => await stopRetaining(service, WEB),
    async () => await service.repositories.use(item.vaultId, async () => undefined),
  ]) {
    await assert.rejects(ask(), (error) => {
      assert.ok(isHoldfastError(error, 'VaultUnavailable'), String(error));
      assert.ok(error.retryable);
      assert.doesNotMatch(error.message, /repo init/);
      assert.match(error.message, /vault 'v1' cannot be opened: .*\[RepositoryNotFound\]\. Mend/);
      assert.match(error.message, /tried again at 2026-01-01T.*Z, and at once by holdfast doctor/);
      return true;
    });
  }
  const jobs = await service.catalogue.read.selectFrom('jobs').select('operation').execute();
  assert.deepEqual(
    jobs.map(({ operation }) => operation),
    ['ConfigureBackup', 'Backup'],
  );
});

test('it is tried again by itself, after a minute and then rarer, and is taken over with what it remembers', async (t) => {
  const { made, clock, mount } = await started(t);
  const { catalogue, reach } = made.service();
  const [lost] = reach.all().values();
  assert.equal(lost!.nextTryAt, clock.nowMs() + 60_000);
  clock.advance(60_000);
  while ([...reach.all().values()][0]!.nextTryAt === lost!.nextTryAt) await sleep(5);
  assert.equal([...reach.all().values()][0]!.nextTryAt, clock.nowMs() + 120_000);
  assert.equal((await getItem(catalogue.read, WEB)).state, 'Protected');
  mount();
  clock.advance(120_000);
  while (reach.all().size > 0) await sleep(5);
  assert.equal((await getItem(catalogue.read, WEB)).state, 'ProtectionStopped');
  assert.equal(
    made.complaints.filter((line) => line.startsWith('the repository of a vault')).length,
    1,
  );
});

test('the doctor tells it, and tries at once', async (t) => {
  const { made, mount } = await started(t);
  const errors = async () =>
    (await examine(made.service()))
      .filter(({ severity }) => severity === 'error')
      .map(({ where, what, advice }) => `${where}: ${what} -> ${advice}`);
  const [found, ...others] = await errors();
  assert.deepEqual(others, []);
  assert.match(
    found!,
    /^vault lab\/v1: its repository cannot be opened: .*\[RepositoryNotFound\] -> mount its disk, or put its folder back; .*tried again at .*--forget-repository$/,
  );
  assert.doesNotMatch(found!, /repo init/);
  mount();
  assert.deepEqual(await errors(), []);
  const { state } = await getItem(made.service().catalogue.read, WEB);
  assert.equal(state, 'ProtectionStopped');
});

test('a repository that goes while the service runs is told in a vault’s words; another one in its place with both ids', async (t) => {
  const made = await testService(t);
  await withVault(made);
  const { catalogue, repositories, caller } = made.service();
  const [vault] = await listVaults(catalogue.read);
  const { id: vaultId, repository: location, repositoryId } = vault!;
  await repositories.release(vaultId);
  renameSync(location, `${location}.away`);
  const told = async (): Promise<string> =>
    (await examine(made.service()))
      .filter(({ severity }) => severity === 'error')
      .map(({ where, what, advice }) => `${where}: ${what} -> ${advice}`)
      .join('\n');
  const advice = /\[RepositoryNotFound\] -> mount its disk, or put its folder back; .*--forget/;
  const gone = await told();
  assert.match(gone, /^vault lab\/v1: its repository cannot be opened: no folder /);
  assert.match(gone, advice);
  assert.doesNotMatch(gone, /repo init/);

  const recoveryKey = makeRecoveryKey(randomBytes);
  const access = { kdf: 'recovery', recoveryKey } as const;
  const place = { location, blockSize: DEFAULT_BLOCK_SIZE, label: 'other', caller };
  const { id } = await createRepository({ ...place, access });
  const another = `another repository lies at ${location}: its id is ${id}, the vault's is ${repositoryId}.`;
  assert.ok((await told()).includes(another), await told());
  assert.match(await told(), advice);
  await assert.rejects(
    repositories.use(vaultId, async () => undefined),
    (error) => isHoldfastError(error, 'RepositoryNotFound') && error.message.startsWith(another),
  );
  await made.restart();
  assert.ok((await told()).includes(another), await told());

  renameSync(location, `${location}.other`);
  renameSync(`${location}.away`, location);
  assert.equal(await told(), '');
});
