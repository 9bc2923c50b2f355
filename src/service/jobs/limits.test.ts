import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { FakeClock, HoldfastError, realClock } from '#base';
import { openCatalogue } from '../catalogue/catalogue.ts';
import { DEFAULT_SETTINGS, type ServiceSettings } from '../service-settings.ts';
import { forgetOldJobs } from './forget-old-jobs.ts';
import type { JobRun, JobWork, NewJob } from './job-runner.ts';
import { getJob, listJobs, type Job } from './jobs.ts';
import { openJobRunner } from './open-job-runner.ts';

const VAULT = 'v';
const JOB: NewJob = {
  vaultId: VAULT,
  entity: 'web',
  operation: 'Backup',
  isUserTriggered: false,
  request: {},
};

type Options = {
  readonly settings?: Partial<ServiceSettings>;
  readonly clock?: FakeClock;
  readonly work?: Partial<Omit<JobWork, 'run'>>;
  /** Of the catalogue's changes: throws what stands for a full disk. */
  readonly beforeChange?: () => void;
};

/** A runner whose Backup jobs do `run`. */
async function runner(t: TestContext, run: (run: JobRun) => Promise<void>, options: Options = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-jobs-'));
  const opened = await openCatalogue(join(folder, 'catalogue.db'));
  const complaints: string[] = [];
  const complain = (_: object, message: string): void => void complaints.push(message);
  const catalogue: typeof opened = {
    ...opened,
    change: async (work) => {
      options.beforeChange?.();
      return await opened.change(work);
    },
  };
  const parts = {
    catalogue,
    clock: options.clock ?? realClock(),
    random: (size: number) => Buffer.alloc(size),
    settings: { ...DEFAULT_SETTINGS, retryDelayMs: 20, ...options.settings },
    log: { info: () => undefined, warn: complain, error: complain },
  };
  const jobs = openJobRunner(parts);
  const start = async (): Promise<void> =>
    await jobs.start({ Backup: { tasks: ['a'], isCancellable: true, ...options.work, run } });
  t.after(async () => {
    await jobs.stop();
    await opened.close();
    await rm(folder, { recursive: true });
  });
  const add = async (job: Partial<NewJob> = {}): Promise<string> =>
    await opened.change(async (change) => await jobs.add(change, { ...JOB, ...job }));
  const ended = async (id: string): Promise<Job> => {
    for (;;) {
      const job = await getJob(opened.read, VAULT, id);
      if (job.endedAt !== undefined) return job;
      await sleep(5);
    }
  };
  return { jobs, parts, opened, complaints, start, add, ended };
}

test('100 jobs at once keep every limit, whoever came first is first, and nobody waits for a place that is free', async (t) => {
  const held = new Map<string, number>();
  const most = new Map<string, number>();
  const order: string[] = [];
  const change = (name: string, by: number): void => {
    const now = (held.get(name) ?? 0) + by;
    held.set(name, now);
    most.set(name, Math.max(most.get(name) ?? 0, now));
  };
  const { start, add, ended } = await runner(t, async (run) => {
    const { vault, host } = JSON.parse(run.job.request) as { vault: string; host: string };
    const within = async (name: string, limit: number, work: () => Promise<void>) =>
      await run.holding([{ name, limit }], async () => {
        change(name, 1);
        await work();
        change(name, -1);
      });
    await within(vault, 3, async () =>
      within('machine', 5, async () => {
        order.push(run.job.id);
        await within(host, 2, async () => {
          await turn();
        });
      }),
    );
  });
  const ids: string[] = [];
  for (let job = 0; job < 100; job += 1) {
    ids.push(await add({ request: { vault: `vault ${job % 4}`, host: `host ${job % 3}` } }));
  }
  await start();
  for (const id of ids) assert.equal((await ended(id)).status, 'Completed');
  assert.deepEqual(Object.fromEntries(most), {
    'host 0': 2,
    'host 1': 2,
    'host 2': 2,
    machine: 5,
    'vault 0': 3,
    'vault 1': 3,
    'vault 2': 3,
    'vault 3': 3,
  });
  for (let vault = 0; vault < 4; vault += 1) {
    const ofVault = (id: string): boolean => ids.indexOf(id) % 4 === vault;
    assert.deepEqual(order.filter(ofVault), ids.filter(ofVault));
  }
});

test('R42 a job that takes longer than it may fails with the code of it; one that waited too long too', async (t) => {
  const clock = new FakeClock();
  const begun = Promise.withResolvers<void>();
  const { start, add, ended } = await runner(
    t,
    async (run) => {
      begun.resolve();
      await run.holding([{ name: 'one', limit: 1 }], async () => {
        await new Promise((_, reject) => {
          run.signal.addEventListener('abort', () => reject(new Error('aborted')));
        });
      });
    },
    { clock },
  );
  const deadlineAt = clock.nowMs() + 24 * 3_600_000;
  const [first, second] = [await add({ deadlineAt }), await add({ deadlineAt })];
  await start();
  await begun.promise;
  clock.advance(24 * 3_600_000 - 1);
  await sleep(30);
  clock.advance(1);
  for (const id of [first, second]) {
    const { status, failure } = await ended(id);
    assert.equal(status, 'Failed');
    assert.equal(failure!.code, 'CopyingVHDsFromBackUpVaultTakingLongTime');
  }
});

test('what is worth another try is tried again, and the job says how often and why; what is not fails at once', async (t) => {
  let tries = 0;
  const failing = new HoldfastError('StoreFull', 'no room');
  const { start, add, ended } = await runner(t, async (run) => {
    tries += 1;
    await run.task({ name: 'a', status: 'InProgress' });
    run.warn(`try ${tries}`);
    if (run.job.entity === 'never') throw new HoldfastError('VmExists', 'there');
    if (tries < 3 || run.job.entity === 'always') throw failing;
  });
  await start();
  const good = await ended(await add());
  assert.deepEqual(
    [good.status, good.attempt, good.properties['Retries'], good.warnings],
    ['CompletedWithWarnings', 3, '2', [{ message: 'try 3' }]],
  );
  assert.match(good.properties['Last error']!, /no room \[StoreFull\]/);
  const bad = await ended(await add({ entity: 'always' }));
  assert.deepEqual([bad.status, bad.attempt, bad.failure!.code], ['Failed', 3, 'StoreFull']);
  const never = await ended(await add({ entity: 'never' }));
  assert.deepEqual([never.status, never.attempt], ['Failed', 1]);
});

test('a job that waits for its next try says why and until when; a clock that is set back makes it wait no longer', async (t) => {
  const clock = new FakeClock();
  const { start, add, opened } = await runner(
    t,
    async (run) => {
      if (run.job.attempt === 0) throw new HoldfastError('StoreFull', 'no room');
    },
    { clock, settings: { retryDelayMs: 60_000 } },
  );
  await start();
  const id = await add();
  const look = async (): Promise<Job> => await getJob(opened.read, VAULT, id);
  while ((await look()).failure === undefined) await sleep(5);
  const waiting = await look();
  assert.deepEqual(
    [waiting.status, waiting.failure, waiting.nextTryAt],
    ['InProgress', { code: 'StoreFull', message: 'no room' }, clock.nowMs() + 60_000],
  );
  clock.jump(-86_400_000);
  for (let second = 0; second < 60; second += 5) {
    clock.advance(5000);
    await sleep(20);
  }
  const { status, failure, nextTryAt, attempt } = await look();
  assert.deepEqual([status, failure, nextTryAt, attempt], ['Completed', undefined, undefined, 1]);
});

test('a job whose point is there ends well, whatever it failed by; a failing note of a failure does not keep it open', async (t) => {
  const work = {
    isDone: async (run: JobRun) => run.job.pointId === '1',
    failed: async () => {
      throw new Error('the repository is away');
    },
  };
  const { start, add, ended, complaints } = await runner(
    t,
    async (run) => {
      if (run.job.entity === 'made') await run.setPoint('1');
      throw new TypeError('a fault');
    },
    { work },
  );
  await start();
  assert.equal((await ended(await add({ entity: 'made' }))).status, 'Completed');
  const lost = await ended(await add());
  assert.deepEqual([lost.status, lost.failure!.code], ['Failed', 'InternalError']);
  assert.ok(complaints.some((message) => message.includes('could not be noted')));
});

test('while the catalogue cannot be written a job that has ended waits, and ends when it can', async (t) => {
  let isFull = false;
  const { start, add, ended, opened, complaints } = await runner(
    t,
    async () => {
      isFull = true;
    },
    {
      beforeChange: () => {
        if (isFull) throw new HoldfastError('CatalogueUnwritable', 'full');
      },
    },
  );
  await start();
  const id = await add();
  while (!complaints.some((message) => message.includes('again and again'))) await sleep(5);
  assert.equal((await getJob(opened.read, VAULT, id)).endedAt, undefined);
  isFull = false;
  assert.equal((await ended(id)).status, 'Completed');
});

test('R43 jobs are remembered for six months, operations for a week; what is open stays', async (t) => {
  const clock = new FakeClock();
  const { parts, jobs, opened } = await runner(t, async () => undefined, { clock });
  await opened.change(async (change) => {
    await jobs.addDone(change, JOB);
    await jobs.add(change, JOB);
  });
  const count = async (): Promise<number> => {
    await forgetOldJobs(parts);
    return (await listJobs(opened.read, VAULT, {})).length;
  };
  clock.advance(183 * 86_400_000);
  assert.equal(await count(), 2);
  clock.advance(1);
  assert.equal(await count(), 1);
});
