/** Points as disks over NBD, read by real clients while the service cancels, restarts, expires and compacts. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { FakeClock } from '#base';
import { compactRepository, expirePoints } from '#backup';
import { backUpNow } from '../backing-up/start-backup.ts';
import { getItem, type Item } from '../items/items.ts';
import { protect } from '../items/protect.ts';
import { getJob, type Job } from '../jobs/jobs.ts';
import { listPoints } from '../points/points.ts';
import type { ServiceSettings } from '../service-settings.ts';
import { addImages, endOf, GROUP, testService, VAULT, withVault } from '../testing/test-service.ts';
import type { TestService } from '../testing/test-service.ts';
import { startExport, type WantedExport } from './start-export.ts';

const NAME = { vault: VAULT, vm: { group: GROUP, name: 'web' } };
const DISKS = ['a', 'b', 'c'];

type Lab = {
  readonly made: TestService;
  readonly item: Item;
  readonly point: string;
  /** Copies of the disks as they were at the point. */
  readonly before: readonly string[];
  readonly begin: (wanted?: Partial<WantedExport>) => Promise<string>;
  readonly job: (id: string) => Promise<Job>;
  /** When its disks are served. */
  readonly served: (id: string) => Promise<readonly string[]>;
};

type Options = { readonly clock?: FakeClock; readonly settings?: Partial<ServiceSettings> };

async function exportable(t: TestContext, options: Options = {}): Promise<Lab> {
  const made = await testService(t, options);
  const disks = DISKS.map((name) => ({ name, sizeBytes: 3 << 20 }));
  const folder = addImages(made, 'web', disks);
  await withVault(made);
  await protect(made.service(), NAME, { policy: 'DefaultPolicy' });
  const item = await getItem(made.service().catalogue.read, NAME);
  const { jobId } = await backUpNow(made.service(), NAME, undefined);
  assert.equal((await endOf(made.service(), item.vaultId, jobId)).status, 'Completed');
  const [point] = await listPoints(made.service().catalogue.read, item.id);
  const before = DISKS.map((name) => {
    const copy = join(made.data, '..', `${name}.before`);
    copyFileSync(join(folder, `${name}.raw`), copy);
    return copy;
  });
  const job = async (id: string): Promise<Job> =>
    await getJob(made.service().catalogue.read, item.vaultId, id);
  return {
    made,
    item,
    point: point!.id,
    before,
    begin: async (wanted = {}) =>
      (await startExport(made.service(), NAME, { point: point!.id, ...wanted })).jobId,
    job,
    served: async (id) => {
      for (;;) {
        const { properties, status, failure } = await job(id);
        assert.equal(status, 'InProgress', JSON.stringify(failure));
        const uris = urisOf(properties);
        if (uris.length > 0) return uris;
        await sleep(20);
      }
    },
  };
}

function urisOf(properties: Job['properties']): readonly string[] {
  const found = Object.entries(properties).filter(([name]) => name.startsWith('NBD URI of '));
  return found.map(([, uri]) => uri);
}

function socketOf(uri: string): string {
  return decodeURIComponent(uri.split('?socket=')[1]!);
}

/** @throws where they differ, or cannot be read. The server is in this very process: it must be let work. */
const same = async (uri: string, file: string): Promise<unknown> =>
  await promisify(execFile)('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', uri, file]);

async function allSame(uris: readonly string[], files: readonly string[]): Promise<void> {
  for (const [at, uri] of uris.entries()) await same(uri, files[at]!);
}

test('the disks of a point are read over NBD until the job is cancelled, which leaves nothing', async (t) => {
  const { made, item, before, begin, job, served } = await exportable(t);
  const id = await begin();
  const uris = await served(id);
  const { properties } = await job(id);
  assert.deepEqual(
    Object.keys(properties)
      .filter((name) => name.startsWith('NBD'))
      .toSorted(),
    ['NBD URI of LUN 0', 'NBD URI of LUN 1', 'NBD URI of the system disk'],
  );
  assert.match(uris[0]!, /^nbd\+unix:\/\/\/\?socket=%2F/);
  await allSame(uris, before);
  const folder = join(made.data, 'exports', id.slice(0, 8));
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  assert.deepEqual(readdirSync(folder).toSorted(), ['lun0.sock', 'lun1.sock', 'os.sock']);
  // Longer than any limit of a job: it still runs, and may be cancelled.
  const ends = Date.parse(properties['Expires']!) - Date.now();
  assert.ok(Math.abs(ends - 12 * 3_600_000) < 60_000);
  await made.service().jobs.cancel(item.vaultId, id);
  const ended = await endOf(made.service(), item.vaultId, id);
  assert.equal(ended.status, 'Cancelled');
  assert.deepEqual(urisOf(ended.properties), []);
  assert.equal(existsSync(folder), false);
  await assert.rejects(same(uris[0]!, before[0]!));
  assert.deepEqual(made.complaints, []);
});

test('chosen LUNs are exported with the system disk; what the point has not is refused', async (t) => {
  const { made, begin, served, before, item } = await exportable(t);
  const id = await begin({ luns: [1] });
  const uris = await served(id);
  assert.equal(uris.length, 2);
  await same(uris[0]!, before[0]!);
  await same(uris[1]!, before[2]!);
  const refusals = [
    [{ luns: [7] }, 'UserErrorInvalidDiskSelection'],
    [{ minutes: 0 }, 'ArgumentInvalid'],
    [{ minutes: 50_000 }, 'ArgumentInvalid'],
    [{ point: '123456789012345' }, 'BMSUserErrorRecoveryPointNotFound'],
  ] as const;
  for (const [wanted, code] of refusals) await assert.rejects(begin(wanted), { code });
  await made.service().jobs.cancel(item.vaultId, id);
});

test('a restart of the service brings an export back under its paths, for the rest of its time', async (t) => {
  const { made, begin, served, before, job, item } = await exportable(t);
  const id = await begin();
  const uris = await served(id);
  const { Expires: expires } = (await job(id)).properties;
  for (let times = 0; times < 4; times += 1) {
    await made.service().close();
    await assert.rejects(same(uris[0]!, before[0]!));
    await made.restart();
    while (!existsSync(socketOf(uris.at(-1)!))) await sleep(20);
    assert.deepEqual(await served(id), uris);
  }
  await allSame(uris, before);
  const { properties, attempt } = await job(id);
  assert.deepEqual([properties['Expires'], attempt], [expires, 0]);
  await made.service().jobs.cancel(item.vaultId, id);
  assert.equal((await endOf(made.service(), item.vaultId, id)).status, 'Cancelled');
});

test('a point that expires and is compacted away while it is exported is read as it was; after a restart it is gone', async (t) => {
  const lab = await exportable(t);
  const { made, begin, served, before, job, item } = lab;
  const id = await begin();
  const uris = await served(id);
  // The item's only other point shares nothing with it.
  for (const name of DISKS)
    writeFileSync(join(made.images, 'web', `${name}.raw`), Buffer.alloc(3 << 20, 5));
  const { jobId } = await backUpNow(made.service(), NAME, undefined);
  assert.equal((await endOf(made.service(), item.vaultId, jobId)).status, 'Completed');
  await expireAndCompact(lab);
  await allSame(uris, before);
  // The same once the repository was closed, and opened by another owner.
  await made.service().repositories.release(item.vaultId);
  await expireAndCompact(lab);
  await allSame(uris, before);

  await made.restart();
  const ended = await endOf(made.service(), item.vaultId, id);
  assert.deepEqual([ended.status, ended.failure?.code], ['Failed', 'PointNotFound']);
  assert.match(ended.failure!.message, new RegExp(lab.point));
  assert.deepEqual(urisOf((await job(id)).properties), []);
  assert.equal(existsSync(dirname(socketOf(uris[0]!))), false);
});

async function expireAndCompact({ made, item, point }: Lab): Promise<void> {
  await made.service().repositories.use(item.vaultId, async (repository) => {
    if (repository.state.points.get(point)?.visible === true) {
      await expirePoints(repository.parts, [point]);
    }
    for (let round = 0; round < 3; round += 1) await compactRepository(repository.parts, {});
  });
}

test('an export ends well when its time is over, by the clock, and another one that waited takes its place', async (t) => {
  const clock = new FakeClock(Date.now());
  const ticking = setInterval(() => clock.advance(10), 5);
  t.after(() => clearInterval(ticking));
  const { made, begin, served, item, job } = await exportable(t, {
    clock,
    settings: { exportsAtOnce: 1 },
  });
  const first = await begin({ minutes: 30 });
  const uris = await served(first);
  const second = await begin({ minutes: 90 });
  clock.advance(29 * 60_000);
  await sleep(300);
  assert.equal((await job(first)).status, 'InProgress');
  assert.deepEqual(urisOf((await job(second)).properties), []);
  clock.advance(2 * 60_000);
  const ended = await endOf(made.service(), item.vaultId, first);
  assert.equal(ended.status, 'Completed', JSON.stringify(ended.failure));
  assert.equal(existsSync(socketOf(uris[0]!)), false);
  await served(second);
  await made.service().jobs.cancel(item.vaultId, second);
});
