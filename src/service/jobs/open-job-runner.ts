/**
 * The runner of jobs (`job-runner.ts` has the contract, `jobs.ts` the drawing). It looks for due rows whenever it
 * is woken, and at least every `LOOK_MS`; a row is leased in the change that takes it.
 */
import { randomUUID } from 'node:crypto';
import { isHoldfastError, pause, type HoldfastError } from '#base';
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import type { NewRow, Row } from '../catalogue/schema.ts';
import type { RecordParts } from '../record-parts.ts';
import { claimsFromJson, type JobFailure } from './job-records.ts';
import type { JobRunner, JobWork, JobWorks, NewJob } from './job-runner.ts';
import { noteCancel, noteCancelOfAll } from './note-cancel.ts';
import { failureOf, interrupted } from './job-failures.ts';
import { RunningJob, stopError } from './running-job.ts';
import { makeSlots } from './slots.ts';

const BEAT_MS = 1000;
const LEASE_MS = 60_000;
const LOOK_MS = 5000;
/** How long after a job's end could not be written it is tried again. */
const WRITE_AGAIN_MS = 1000;

type Runner = {
  readonly parts: RecordParts;
  /** This instance of the service, in leases. */
  readonly instance: string;
  readonly slots: ReturnType<typeof makeSlots>;
  readonly running: Map<string, { readonly job: RunningJob; readonly done: Promise<void> }>;
  readonly stopped: AbortController;
  works: JobWorks;
  wake: () => void;
};

export function openJobRunner(parts: RecordParts): JobRunner {
  const runner: Runner = {
    parts,
    instance: randomUUID(),
    slots: makeSlots(),
    running: new Map(),
    stopped: new AbortController(),
    works: {},
    wake: () => undefined,
  };
  let looping: Promise<unknown> = Promise.resolve();
  return {
    add: async (change, job) => {
      const names = runner.works[job.operation]?.tasks ?? [];
      const tasks = JSON.stringify(names.map((name) => ({ name, status: 'NotStarted' })));
      return await insert(runner, change, { ...newRow(runner, job), tasks });
    },
    addDone: async (change, job) => {
      const now = parts.clock.nowMs();
      const row = { ...newRow(runner, job), status: 'Completed', startedAt: now, endedAt: now };
      return await insert(runner, change, row);
    },
    cancel: async (vaultId, id, actor) => {
      const jobId = await noteCancel(runner, { vaultId, id, actor });
      runner.running.get(jobId)?.job.stop('cancelled');
      runner.wake();
    },
    cancelAll: async (vaultId) => {
      const open = await noteCancelOfAll(runner, vaultId);
      for (const id of open) runner.running.get(id)?.job.stop('cancelled');
      runner.wake();
      return open;
    },
    start: async (works) => {
      runner.works = works;
      await voidLeases(runner);
      looping = Promise.all([look(runner), beat(runner)]);
    },
    stop: async () => {
      runner.stopped.abort();
      runner.wake();
      for (const { job } of runner.running.values()) job.stop('service stops');
      await looping; // What it was just taking up is stopped there.
      await Promise.all(Array.from(runner.running.values(), async ({ done }) => await done));
    },
    wake: () => runner.wake(),
  };
}

function newRow({ parts }: Runner, job: NewJob): NewRow<'jobs'> & { readonly id: string } {
  const now = parts.clock.nowMs();
  return {
    id: randomUUID(),
    vaultId: job.vaultId,
    itemId: job.itemId ?? null,
    entity: job.entity,
    operation: job.operation,
    status: 'InProgress',
    isUserTriggered: job.isUserTriggered ? 1 : 0,
    request: JSON.stringify(job.request),
    tasks: '[]',
    progress: null,
    properties: JSON.stringify(job.properties ?? {}),
    failure: null,
    warnings: '[]',
    pointId: null,
    claims: JSON.stringify(job.claims ?? []),
    createdAt: now,
    startedAt: null,
    endedAt: null,
    notBefore: now,
    deadlineAt: job.deadlineAt ?? null,
    attempt: 0,
    cancelRequestedAt: null,
    leaseOwner: null,
    leaseUntil: null,
  };
}

async function insert(
  runner: Runner,
  change: CatalogueChange,
  row: ReturnType<typeof newRow>,
): Promise<string> {
  await change.insertInto('jobs').values(row).execute();
  // After the change: until then the row is not seen, and the next look finds it anyway.
  setImmediate(() => runner.wake());
  return row.id;
}

/** One service a data folder: whoever held a lease before us is dead (decision 0008, invariant 3). */
async function voidLeases({ parts }: Runner): Promise<void> {
  await parts.catalogue.change(async (change) => {
    await change
      .updateTable('jobs')
      .set({ leaseOwner: null, leaseUntil: null })
      .where('leaseOwner', 'is not', null)
      .execute();
  });
}

async function look(runner: Runner): Promise<void> {
  const { parts, stopped } = runner;
  while (!stopped.signal.aborted) {
    const woken = Promise.withResolvers<void>();
    runner.wake = woken.resolve;
    let napMs = LOOK_MS;
    await told(runner, async () => {
      for (const row of await dueRows(runner)) await takeUp(runner, row);
      napMs = await untilNextMs(runner);
    });
    const nap = new AbortController();
    await Promise.race([
      woken.promise,
      pause(parts.clock, napMs, nap.signal), // Ended below.
    ]);
    nap.abort();
  }
}

/** Until the next row falls due, at most `LOOK_MS`. */
async function untilNextMs({ parts }: Runner): Promise<number> {
  const now = parts.clock.nowMs();
  const next = await parts.catalogue.read
    .selectFrom('jobs')
    .select((row) => row.fn.min('notBefore').as('atMs'))
    .where('endedAt', 'is', null)
    .where('leaseOwner', 'is', null)
    .where('notBefore', '>', now)
    .executeTakeFirst();
  return Math.min(LOOK_MS, (next?.atMs ?? Infinity) - now);
}

/** Nobody waits longer than for a next try: what is further ahead was noted before the clock was set back. */
async function dueRows({ parts }: Runner): Promise<readonly Row<'jobs'>[]> {
  const now = parts.clock.nowMs();
  const furthest = now + parts.settings.retryDelayMs;
  return await parts.catalogue.read
    .selectFrom('jobs')
    .selectAll()
    .where('endedAt', 'is', null)
    .where('leaseOwner', 'is', null)
    .where((is) => is.or([is('notBefore', '<=', now), is('notBefore', '>', furthest)]))
    .orderBy('place')
    .execute();
}

/** Leases the row and starts it, unless a running job has one of its claims. */
async function takeUp(runner: Runner, row: Row<'jobs'>): Promise<void> {
  const { parts, running, stopped, works, instance } = runner;
  const work = works[row.operation as keyof JobWorks];
  if (stopped.signal.aborted || work === undefined) return;
  const claimed = new Set(
    Array.from(running.values(), ({ job }) => claimsFromJson(job.row.claims)).flat(),
  );
  const now = parts.clock.nowMs();
  const onlyEnds = row.cancelRequestedAt !== null || isLate(row, now);
  if (!onlyEnds && claimsFromJson(row.claims).some((claim) => claimed.has(claim))) return;
  const startedAt = row.startedAt ?? now;
  const lease = { leaseOwner: instance, leaseUntil: now + LEASE_MS, startedAt, failure: null };
  // As the row is now: it may have been cancelled since it was read.
  const leased = await parts.catalogue.change(async (change) => {
    const query = change.updateTable('jobs').set(lease).where('id', '=', row.id);
    const free = query.where('leaseOwner', 'is', null).where('endedAt', 'is', null);
    return await free.returningAll().executeTakeFirst();
  });
  if (leased === undefined) return;
  const job = new RunningJob({ ...leased }, work.tasks, parts);
  if (leased.cancelRequestedAt !== null) job.stop('cancelled');
  else if (isLate(leased, now)) job.stop('timed out');
  if (stopped.signal.aborted) job.stop('service stops');
  const done = runJob(runner, job, work)
    .catch((error: unknown) => {
      // The catalogue could not be written until the service ended: the next start takes the job up.
      parts.log.error({ job: row.id, error: String(error) }, 'a job could not be ended');
    })
    .finally(() => {
      running.delete(row.id);
      runner.wake();
    });
  running.set(row.id, { job, done });
}

/** R42 */
function isLate({ deadlineAt }: Row<'jobs'>, now: number): boolean {
  return deadlineAt !== null && deadlineAt <= now;
}

async function runJob(runner: Runner, job: RunningJob, work: JobWork): Promise<void> {
  const { parts, slots } = runner;
  const finished = new AbortController();
  void limitTime(runner, job, finished.signal);
  let failure: unknown;
  try {
    if (job.stopReason !== undefined) throw stopError(job.stopReason);
    if (job.row.attempt >= parts.settings.attempts) throw interrupted(job.row.attempt);
    await work.run(job.run(slots));
  } catch (error) {
    failure = job.stopReason === undefined ? error : stopError(job.stopReason);
  } finally {
    finished.abort();
  }
  if (failure === undefined) await succeed(runner, job);
  else if (job.stopReason === 'service stops') await giveBack(runner, job);
  else await fail(runner, job, { work, failure });
}

async function succeed(runner: Runner, job: RunningJob): Promise<void> {
  await end(runner, job, { status: job.hasWarnings ? 'CompletedWithWarnings' : 'Completed' });
}

async function limitTime({ parts }: Runner, job: RunningJob, finished: AbortSignal): Promise<void> {
  if (job.row.deadlineAt === null) return;
  await pause(parts.clock, Math.max(0, job.row.deadlineAt - parts.clock.nowMs()), finished);
  if (!finished.aborted) job.stop('timed out');
}

async function fail(
  runner: Runner,
  job: RunningJob,
  { work, failure }: { readonly work: JobWork; readonly failure: unknown },
): Promise<void> {
  const { settings, log } = runner.parts;
  const { row } = job;
  if (!isHoldfastError(failure)) {
    log.error(
      { job: row.id, stack: failure instanceof Error ? failure.stack : String(failure) },
      'a job failed by a fault of Holdfast',
    );
  }
  const isWorthAnother =
    isHoldfastError(failure) && failure.retryable && job.stopReason === undefined;
  if (isWorthAnother) job.countTry(); // It may have failed before its first task.
  if (isWorthAnother && row.attempt < settings.attempts) return await retry(runner, job, failure);
  if (await isDone(runner, job, work)) return await succeed(runner, job);
  if (job.stopReason === 'cancelled') return await end(runner, job, { status: 'Cancelled', work });
  return await end(runner, job, { status: 'Failed', work, failure: failureOf(failure) });
}

async function isDone(runner: Runner, job: RunningJob, work: JobWork): Promise<boolean> {
  try {
    return (await work.isDone?.(job.run(runner.slots))) === true;
  } catch (error) {
    // What it made is found by the next start (vaults/take-over-vaults.ts).
    const facts = { job: job.row.id, error: String(error) };
    runner.parts.log.error(facts, 'whether a failed job had made its point could not be found out');
    return false;
  }
}

async function retry(runner: Runner, job: RunningJob, failure: HoldfastError): Promise<void> {
  const { parts } = runner;
  const notBefore = parts.clock.nowMs() + parts.settings.retryDelayMs;
  const run = job.run(runner.slots);
  run.property('Retries', String(job.row.attempt));
  run.property('Last error', `${failure.message} [${failure.code}]`);
  const why = JSON.stringify(failureOf(failure));
  const free = { leaseOwner: null, leaseUntil: null };
  await update(runner, job, { ...job.columns(), failure: why, notBefore, ...free });
}

/** The next start begins it anew; that this one was broken off is not its fault. */
async function giveBack(runner: Runner, job: RunningJob): Promise<void> {
  const attempt = job.isTried ? Math.max(0, job.row.attempt - 1) : job.row.attempt;
  await update(runner, job, { ...job.columns(), attempt, leaseOwner: null, leaseUntil: null });
}

type Ending = {
  readonly status: 'Completed' | 'CompletedWithWarnings' | 'Failed' | 'Cancelled';
  /** To be told of a failure. */
  readonly work?: JobWork;
  readonly failure?: JobFailure;
};

async function end(runner: Runner, job: RunningJob, ending: Ending): Promise<void> {
  const { status, work, failure } = ending;
  const cause = failure ?? { code: 'Cancelled', message: 'The job was cancelled.' };
  try {
    await work?.failed?.({ ...job.row, ...job.columns() }, cause, job.run(runner.slots));
  } catch (error) {
    const facts = { job: job.row.id, error: String(error) };
    runner.parts.log.error(facts, 'the failure of a job could not be noted with its item');
  }
  const endedAt = runner.parts.clock.nowMs();
  const isGood = status !== 'Failed' && status !== 'Cancelled';
  job.endTasks(isGood ? 'Completed' : status, endedAt);
  await update(runner, job, {
    ...job.columns(),
    status,
    endedAt,
    failure: failure === undefined ? null : JSON.stringify(failure),
    leaseOwner: null,
    leaseUntil: null,
  });
}

/** Until it is written, or the service ends: a full disk must not leave a job without end. */
async function update(
  { parts, stopped }: Runner,
  { row }: RunningJob,
  columns: Partial<Row<'jobs'>>,
): Promise<void> {
  const { catalogue, clock, log } = parts;
  for (let tries = 1; ; tries += 1) {
    try {
      await catalogue.change(async (change) => {
        await change.updateTable('jobs').set(columns).where('id', '=', row.id).execute();
      });
      return;
    } catch (error) {
      if (stopped.signal.aborted) throw error;
      if (tries === 1) {
        const facts = { job: row.id, error: String(error) };
        log.error(facts, 'how a job ended cannot be written; it is tried again and again');
      }
      await pause(clock, WRITE_AGAIN_MS, stopped.signal);
    }
  }
}

/** Keeps the leases, and the rows up to date: one change for all, however many run. */
async function beat(runner: Runner): Promise<void> {
  const { parts, running, stopped } = runner;
  while (!stopped.signal.aborted) {
    await pause(parts.clock, BEAT_MS, stopped.signal);
    if (running.size > 0) await told(runner, async () => await beatOnce(runner));
  }
}

async function beatOnce({ parts, running, instance }: Runner): Promise<void> {
  const leaseUntil = parts.clock.nowMs() + LEASE_MS;
  await parts.catalogue.change(async (change) => {
    const ours = change.updateTable('jobs').set({ leaseUntil });
    await ours.where('leaseOwner', '=', instance).execute();
    for (const [id, { job }] of running) {
      const news = job.news();
      if (news === undefined) continue;
      await change.updateTable('jobs').set(news).where('id', '=', id).execute();
    }
  });
}

/** The catalogue may be full or gone for a while: what is due stays due. */
async function told({ parts }: Runner, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    parts.log.error({ error: String(error) }, 'the catalogue of jobs could not be read or written');
  }
}
