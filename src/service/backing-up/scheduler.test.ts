import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { FakeClock } from '#base';
import { discoverHost } from '../hosts/discovery.ts';
import { getItem, listItems } from '../items/items.ts';
import { protect, stopRetaining } from '../items/protect.ts';
import { listJobs, type Job } from '../jobs/jobs.ts';
import { putPolicy } from '../policies/policies.ts';
import { defaultPolicy } from '../policy/default-policy.ts';
import type { ServiceSettings } from '../service-settings.ts';
import { addImages, GROUP, testService, VAULT, withVault } from '../testing/test-service.ts';
import type { TestService } from '../testing/test-service.ts';
import { getVault } from '../vaults/vaults.ts';
import { startDueBackups } from './scheduler.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const POLICY = { vault: VAULT, name: 'p' };

type Scheduled = {
  readonly made: TestService;
  readonly clock: FakeClock;
  /** Looks what is due, and tells when the backups were begun, oldest first. */
  readonly starts: () => Promise<readonly string[]>;
  /** Waits until no job is open. */
  readonly settled: () => Promise<readonly Job[]>;
};

/** VMs under a policy of 02:00 UTC, on 1 March 2026 at midnight. */
async function scheduled(
  t: TestContext,
  options: { readonly vms?: number; readonly settings?: Partial<ServiceSettings> } = {},
): Promise<Scheduled> {
  const { vms = 1, settings = { spreadMs: 0 } } = options;
  const clock = new FakeClock(Date.UTC(2026, 2, 1));
  const made = await testService(t, { clock, settings });
  for (let vm = 0; vm < vms; vm += 1) addImages(made, `vm${vm}`, [{ name: 'a', sizeBytes: 4096 }]);
  await withVault(made);
  await putPolicy(made.service(), POLICY, {
    draft: { ...defaultPolicy('02:00'), timeZone: 'UTC' },
  });
  for (let vm = 0; vm < vms; vm += 1) {
    await protect(made.service(), nameOf(vm), { policy: POLICY.name });
  }
  const jobs = async (): Promise<readonly Job[]> => {
    const { read } = made.service().catalogue;
    const { id } = await getVault(read, VAULT);
    return await listJobs(read, id, { operations: ['Backup'] });
  };
  const settled = async (): Promise<readonly Job[]> => {
    for (;;) {
      const all = await jobs();
      if (all.every(({ endedAt }) => endedAt !== undefined)) return all;
      clock.advance(1000);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const starts = async (): Promise<readonly string[]> => {
    await startDueBackups(made.service());
    return (await jobs())
      .map(({ createdAt }) => new Date(createdAt).toISOString().slice(0, 16))
      .toSorted();
  };
  return { made, clock, starts, settled };
}

const nameOf = (vm: number) => ({ vault: VAULT, vm: { group: GROUP, name: `vm${vm}` } });

test('R12 backups of 100 VMs at 02:00 begin spread over the time until 04:00, each once', async (t) => {
  const { clock, starts } = await scheduled(t, { vms: 100, settings: { spreadMs: 2 * HOUR_MS } });
  clock.advance(119 * MINUTE_MS);
  assert.deepEqual(await starts(), []);
  const byHalfHour: number[] = [];
  for (let minute = 119; minute < 240; minute += 1) {
    clock.advance(MINUTE_MS);
    const { length } = await starts();
    if (minute % 30 === 29) byHalfHour.push(length);
  }
  const begun = await starts();
  assert.equal(begun.length, 100);
  assert.ok(begun[0]! >= '2026-03-01T02:00' && begun.at(-1)! <= '2026-03-01T04:00');
  const atOnce = Math.max(...begun.map((time) => begun.filter((other) => other === time).length));
  assert.ok(atOnce <= 10, `${atOnce} in one minute`);
  assert.ok(
    byHalfHour.every((count, at) => at === 0 || at > 4 || count > byHalfHour[at - 1]!),
    String(byHalfHour),
  );
});

test('a run begins at its time and once; after a pause of days the newest missed one is caught up once', async (t) => {
  const { clock, starts, settled } = await scheduled(t);
  clock.advance(2 * HOUR_MS - 1);
  assert.deepEqual(await starts(), []);
  clock.advance(1);
  assert.deepEqual(await starts(), ['2026-03-01T02:00']);
  const [job] = await settled();
  assert.deepEqual([job!.status, job!.isUserTriggered], ['Completed', false]);
  assert.equal((await starts()).length, 1);
  clock.advance(4 * DAY_MS + 6 * HOUR_MS);
  assert.equal((await starts()).length, 2);
  await settled();
  assert.equal((await starts()).length, 2);
  clock.advance(DAY_MS - 6 * HOUR_MS);
  assert.equal((await starts()).length, 3);
});

test('what was missed while the service was down is caught up once by the next start', async (t) => {
  const { made, clock, starts, settled } = await scheduled(t);
  await made.service().close();
  clock.advance(3 * DAY_MS);
  await made.restart();
  assert.equal((await starts()).length, 1);
  await settled();
  assert.equal((await starts()).length, 1);
  assert.deepEqual(made.complaints, []);
});

test('a clock that is set back repeats no run, one that is set ahead and back puts none off', async (t) => {
  const { clock, starts, settled } = await scheduled(t);
  clock.advance(2 * HOUR_MS);
  assert.equal((await starts()).length, 1);
  await settled();
  clock.jump(-1 * HOUR_MS);
  assert.equal((await starts()).length, 1);
  clock.advance(1 * HOUR_MS);
  assert.equal((await starts()).length, 1);
  clock.jump(365 * DAY_MS);
  assert.equal((await starts()).length, 2);
  await settled();
  clock.jump(-365 * DAY_MS);
  clock.advance(DAY_MS);
  assert.equal((await starts()).length, 3);
});

test('across the change to summer time a run stays at its time on the wall', async (t) => {
  const { made, clock, starts, settled } = await scheduled(t);
  const timeZone = 'W. Europe Standard Time';
  const draft = { ...defaultPolicy('04:00'), timeZone };
  await putPolicy(made.service(), POLICY, { draft });
  // `settled` lets time pass, longer on a busy machine: what is meant are instants.
  const until = (day: number, hour: number, minute: number): void =>
    clock.advance(Date.UTC(2026, 2, day, hour, minute) - clock.nowMs());
  until(28, 1, 0);
  await starts();
  await settled();
  const before = (await starts()).length;
  until(28, 3, 0);
  assert.equal((await starts()).at(-1), '2026-03-28T03:00');
  await settled();
  until(29, 1, 59);
  assert.equal((await starts()).length, before + 1);
  until(29, 2, 0);
  assert.equal((await starts()).at(-1)!.slice(0, 13), '2026-03-29T02');
});

test('a changed policy sets the next runs anew; a stopped item has none until it is resumed', async (t) => {
  const { made, clock, starts, settled } = await scheduled(t);
  const service = made.service();
  await starts();
  const nextRun = async () => (await getItem(service.catalogue.read, nameOf(0))).nextRunAt;
  assert.equal(await nextRun(), Date.UTC(2026, 2, 1, 2));
  const draft = { ...defaultPolicy('05:30'), timeZone: 'UTC' };
  await putPolicy(service, POLICY, { draft });
  await starts();
  assert.equal(await nextRun(), Date.UTC(2026, 2, 1, 5, 30));
  clock.advance(3 * HOUR_MS);
  assert.deepEqual(await starts(), []);
  await stopRetaining(service, nameOf(0));
  clock.advance(5 * DAY_MS);
  assert.deepEqual(await starts(), []);
  assert.equal(await nextRun(), undefined);
  await protect(service, nameOf(0), { policy: POLICY.name });
  assert.deepEqual(
    await starts(),
    [],
    'the runs that were missed while it was stopped do not count',
  );
  clock.advance(DAY_MS);
  assert.equal((await starts()).length, 1);
  await settled();
});

test('a VM that is gone fails its scheduled backup, and one of its name is backed up again', async (t) => {
  const { made, clock, starts, settled } = await scheduled(t);
  const service = made.service();
  renameSync(`${made.images}/vm0`, `${made.images}/.away`);
  await discoverHost(service, GROUP);
  clock.advance(2 * HOUR_MS);
  await starts();
  const [failed] = await settled();
  assert.equal(failed!.failure!.code, 'UserErrorVmNotFoundV2');
  assert.match(failed!.failure!.message, /VMNotFoundV2/);
  renameSync(`${made.images}/.away`, `${made.images}/vm0`);
  await discoverHost(service, GROUP);
  clock.advance(DAY_MS);
  await starts();
  const [next] = await settled();
  assert.equal(next!.status, 'Completed', JSON.stringify(next));
  assert.deepEqual(
    (await listItems(service.catalogue.read, VAULT)).map(({ state }) => state),
    ['Protected'],
  );
});
