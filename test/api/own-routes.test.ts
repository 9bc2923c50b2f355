/** What Azure's API has no word for: live progress, the doctor, metrics. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  globSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:https';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { HoldfastError } from '#base';
import { getVault, stopRetaining } from '#service';
import {
  addImages,
  GROUP,
  VAULT,
  type TestService,
} from '../../src/service/testing/test-service.ts';
import { backupLab, type BackupLab } from './backup-lab.ts';

const oneVm = (made: TestService): void =>
  void addImages(made, 'web', [{ name: 'a', sizeBytes: 1 << 20 }]);

async function textOf(lab: BackupLab, path: string) {
  const headers = { authorization: `Bearer ${(await lab.getToken()).token}` };
  return await new Promise<{ readonly type: string; readonly text: string }>((resolve, reject) => {
    const sent = request(`${lab.url}${path}`, { ca: lab.ca, headers }, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('error', reject);
      answer.on('end', () => {
        const type = answer.headers['content-type'] ?? '';
        resolve({ type, text: Buffer.concat(parts).toString() });
      });
    });
    sent.on('error', reject);
    sent.end();
  });
}

test('a job is followed as events from its start to its end', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  const id = await lab.startBackup('web');
  const path = `${lab.group}/providers/Holdfast.Backup/vaults/v1/backupJobs/${id}/events`;
  const { type, text } = await textOf(lab, `${path}?api-version=2023-06-01`);
  assert.match(type, /^text\/event-stream/);
  const events = text
    .split('\n\n')
    .filter((event) => event !== '' && !event.startsWith(':'))
    .map((event) => /^event: (\w+)\ndata: (.*)$/.exec(event)!.slice(1));
  assert.deepEqual(events.at(-1), ['end', '{"status":"Completed"}']);
  const jobs = events.slice(0, -1).map(([name, data]) => {
    assert.equal(name, 'job');
    return JSON.parse(data!);
  });
  const { body } = await lab.call('GET', `${lab.vault}/backupJobs/${id}`);
  assert.deepEqual(jobs.at(-1), body);
  const missing = await lab.call('GET', path.replace(id, 'none'));
  assert.equal(missing.body.error.code, 'BMSUserErrorJobNotFound');
});

test('the doctor and the metrics warn until the recovery key was fetched', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  await lab.ended(await lab.startBackup('web'));
  const subscription = lab.group.split('/resourceGroups/')[0]!;
  const doctor = async () =>
    (await lab.call('GET', `${subscription}/providers/Holdfast.Backup/doctor`)).body;
  const before = await doctor();
  assert.equal(before.value.length, 1, JSON.stringify(before));
  assert.equal(before.value[0].severity, 'warning');
  assert.match(before.value[0].what, /recovery key/);
  const missing = `holdfast_vault_recovery_key_missing{group="${GROUP}",vault="v1"}`;
  const { type, text } = await textOf(lab, '/metrics');
  assert.match(type, /^text\/plain/);
  assert.ok(text.includes(`${missing} 1\n`), text);
  assert.match(text, /holdfast_items\{group="lab",vault="v1",state="Protected"\} 1\n/);
  assert.match(text, /holdfast_jobs\{[^}]*operation="Backup",status="Completed"\} 1\n/);
  assert.match(text, /holdfast_host_reachable\{host="lab"\} 1\n/);
  const rules = readFileSync('docs/holdfast.rules.yml', 'utf8');
  const asked = rules.match(/\bholdfast_\w+/g)!;
  assert.ok(asked.length > 5);
  for (const name of asked) assert.ok(text.includes(`# TYPE ${name} gauge\n`), name);
  const key = `${lab.group}/providers/Holdfast.Backup/vaults/v1/recoveryKey`;
  const made = await lab.call('POST', key);
  assert.ok(made.status < 300, JSON.stringify(made.body));
  assert.deepEqual(await doctor(), { value: [] });
  assert.ok((await textOf(lab, '/metrics')).text.includes(`${missing} 0\n`));
  assert.equal((await lab.raw('GET', '/metrics')).status, 401);
  // Nobody is to be woken for the age of a point whose VM is backed up no more.
  const newest = /^holdfast_item_newest_point_time_seconds\{.*vm="lab\/web"\} \d/m;
  assert.match(text, newest);
  await stopRetaining(lab.service, {
    vault: { group: GROUP, name: 'v1' },
    vm: { group: GROUP, name: 'web' },
  });
  const stopped = (await textOf(lab, '/metrics')).text;
  assert.doesNotMatch(stopped, newest);
  assert.match(stopped, /holdfast_items\{[^}]*state="ProtectionStopped"\} 1\n/);
});

test('a vault is verified by a job, beside a backup; damage fails it and is named', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  await lab.ended(await lab.startBackup('web'));
  const verify = async (properties: object) => {
    const path = `${lab.group}/providers/Holdfast.Backup/vaults/v1/verify`;
    return await lab.call('POST', path, { properties });
  };
  const [verifying, backup] = await Promise.all([
    verify({ readDataPercent: 100 }).then(lab.jobOf),
    lab.startBackup('web'),
  ]);
  const job = await lab.ended(verifying);
  assert.equal(job.status, 'Completed', JSON.stringify(job));
  assert.equal(job.operation, 'Verify');
  const bag = job.extendedInfo!.propertyBag!;
  assert.equal(bag['Vault Name'], 'v1');
  assert.ok(Number(bag['Recovery points checked']) >= 1);
  assert.match(bag['Data read']!, /^[12] MB$/);
  assert.equal((await lab.ended(backup)).status, 'Completed');
  for (const readDataPercent of [0, -1, 101]) {
    assert.equal((await verify({ readDataPercent })).status, 400);
  }

  const packs = globSync(join(lab.made.data, 'vaults/*/**/packs/*/*'));
  const largest = packs.toSorted((a, b) => statSync(b).size - statSync(a).size)[0]!;
  const bytes = readFileSync(largest);
  bytes[1000] = bytes[1000]! ^ 1;
  chmodSync(largest, 0o600);
  writeFileSync(largest, bytes);
  const failed = await lab.ended(await lab.jobOf(await verify({ readDataPercent: 100 })));
  assert.equal(failed.status, 'Failed');
  assert.equal(failed.errorDetails?.[0]?.errorTitle, 'ObjectDamaged');
  assert.match(failed.errorDetails[0].errorString!, /packs\/.*Not restorable whole: .*lab\/web/);
});

test('a vault whose repository is away is listed with its state, and its operations are refused with a code', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  const own = `${lab.group}/providers/Holdfast.Backup/vaults/v1`;
  const state = async () => {
    const { repositoryState, failure } = (await lab.call('GET', own)).body.properties;
    return [repositoryState, failure];
  };
  assert.deepEqual(await state(), ['Ready', null]);
  const { id } = await lab.service.catalogue.read
    .selectFrom('vaults')
    .select('id')
    .executeTakeFirstOrThrow();
  lab.service.reach.lost(id, new HoldfastError('RepositoryNotFound', 'its disk is away'));
  assert.deepEqual(await state(), ['Unreachable', 'its disk is away [RepositoryNotFound]']);
  assert.equal((await lab.call('GET', lab.vault)).status, 200);
  const refused = await lab.put('web', { policyId: '' });
  assert.deepEqual([refused.status, refused.body.error.code], [409, 'VaultUnavailable']);
  const { text } = await textOf(lab, '/metrics');
  assert.match(text, /holdfast_vault_reachable\{group="lab",vault="v1"\} 0\n/);
  lab.service.reach.reached(id);
  assert.equal((await lab.put('web', { policyId: '' })).status, 202);
});

for (const when of ['is open', 'is closed'] as const) {
  test(`a repository that vanishes while it ${when} is told by the metrics once a use missed it, and when it is back`, async (t) => {
    const lab = await backupLab(t, oneVm);
    await lab.protect('web');
    const told = async () => {
      const { text } = await textOf(lab, '/metrics');
      return /^holdfast_vault_reachable\{group="lab",vault="v1"\} (\d)$/m.exec(text)![1];
    };
    assert.equal(await told(), '1');
    const { id, repository } = await getVault(lab.service.catalogue.read, VAULT);
    if (when === 'is closed') await lab.service.repositories.release(id);
    renameSync(repository, `${repository}.away`);
    assert.ok((await lab.put('web', { policyId: '' })).status >= 400);
    assert.equal(await told(), '0');
    assert.equal(await told(), '0');
    renameSync(`${repository}.away`, repository);
    assert.equal(await told(), '1');
    assert.equal((await lab.put('web', { policyId: '' })).status, 202);
  });
}

test('a vault is forgotten where its repository is gone, and only there', async (t) => {
  const lab = await backupLab(t, oneVm);
  await lab.protect('web');
  const own = `${lab.group}/providers/Holdfast.Backup/vaults/v1`;
  const forget = async () => await lab.call('POST', `${own}/forget`);
  const code = ({ status, body }: Awaited<ReturnType<typeof forget>>) => [status, body.error.code];
  assert.deepEqual(code(await forget()), [409, 'RepositoryPresent']);
  const { repository, vaultId } = (await lab.call('GET', own)).body.properties;
  rmSync(repository, { recursive: true });
  assert.deepEqual(code(await lab.call('DELETE', lab.vault)), [409, 'VaultUnavailable']);
  assert.equal((await lab.call('GET', lab.vault)).body.id, vaultId);
  const { status, body } = await forget();
  assert.deepEqual([status, body], [200, { repository, folder: dirname(repository) }]);
  assert.equal((await lab.call('GET', lab.vault)).status, 404);
  assert.deepEqual(code(await forget()), [404, 'ResourceNotFound']);
});
