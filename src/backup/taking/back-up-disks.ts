/**
 * Takes a recovery point of disks.
 *
 * ```
 *   prepare disks ─► begin session ─► units and audits of hints, in threads ─► disks unchanged? ─► commit
 *         └───────────────┴── failure, cancel: seal and log what is stored, no point ──┘
 * ```
 *
 * The point before is the base: what equals it costs nothing. A hint says where to look and is audited;
 * where it cannot be used (no base, damage, a miss) the disk is compared as a whole.
 */
import { HoldfastError, throwIfCancelled } from '#base';
import { totalBytes } from '#disk';
import { BackupSession, type ReadyPoint } from '#repository';
import { newDoneCount, withProgress } from '../progress-meter.ts';
import { defaultThreads } from '../threads/worker-thread.ts';
import { HintAudits } from './audit-hints.ts';
import { BackupCrew, type CrewJob } from './backup-crew.ts';
import { refuseChange, withSources, type BackupSource } from './backup-source.ts';
import type {
  BackupRequest,
  BackupResult,
  BackupRun,
  HintFailure,
  HintFailures,
} from './backup-run.ts';
import { baseUnitsOf, giveUpHint, plansOf } from './choose-plans.ts';
import { DiskResults } from './disk-results.ts';
import { plannedBytes, unitBatches, type DiskPlan } from './disk-plan.ts';
import { JobQueue } from './job-queue.ts';

/**
 * Backs up all disks into one point. All or nothing: on any failure no point appears, and what was stored
 * by then is found by the next backup.
 *
 * @throws {HoldfastError} `ArgumentInvalid`; `DiskNotFound`, `DiskInUse`, `DiskFormatUnsupported`,
 *   `DiskUnavailable`, `DiskReadFailed`, `DiskChanged`, `HintUnusable`; `Cancelled`; the store's and the repository's.
 */
export async function backUpDisks(request: BackupRequest): Promise<BackupResult> {
  const { repository, disks, clock, signal } = request;
  checkNames(request);
  const startedMs = clock.monotonicMs();
  const crew = BackupCrew.start(request.threads ?? defaultThreads());
  try {
    const { blockSize } = repository.state;
    return await withSources({ disks, blockSize, clock, signal }, async (sources) => {
      const session = await beginSession(request, sources);
      const results = new DiskResults(sources, blockSize);
      const shared = { done: newDoneCount(), damaged: [], hintFailures: new Map() };
      const run = { request, session, crew, sources, results, ...shared };
      return await stoppable(run, async () => await takePoint(run, startedMs));
    });
  } finally {
    await crew.end();
  }
}

async function beginSession(
  { repository, item, disks, point, bases, threads, expectedBytes, signal }: BackupRequest,
  sources: readonly BackupSource[],
): Promise<BackupSession> {
  throwIfCancelled(signal);
  const allocatedBytes = sources.reduce((sum, source) => sum + totalBytes(source.data), 0);
  return await BackupSession.begin(repository.parts, {
    item,
    diskNames: disks.map(({ name }) => name),
    ...(point === undefined ? {} : { point }),
    ...(bases === undefined ? {} : { bases }),
    threads: threads ?? defaultThreads(),
    expectedBytes: expectedBytes ?? allocatedBytes,
  });
}

/** Runs `work`; if it fails or is cancelled, stops the threads and ends the session without a point. */
async function stoppable(
  { request, session, crew }: BackupRun,
  work: () => Promise<BackupResult>,
): Promise<BackupResult> {
  const stop = (): void => crew.stop();
  request.signal?.addEventListener('abort', stop, { once: true });
  try {
    return await work();
  } catch (error) {
    await crew.salvage();
    await session.cancel().catch((failure: unknown) => {
      // The session's packs are then adopted when the repository is opened next.
      request.warn?.(`the backup could not be ended in the log: ${String(failure)}`);
    });
    throw error;
  } finally {
    request.signal?.removeEventListener('abort', stop);
  }
}

async function takePoint(run: BackupRun, startedMs: number): Promise<BackupResult> {
  const { request, session, sources, results } = run;
  await beginCrew(run);
  const hinted = await plansOf(run);
  const audits = new HintAudits(run, hinted);
  await workOff(run, hinted, audits);
  const comparisons = audits.comparisons();
  for (const { disk } of comparisons) results.restart(disk);
  await workOff(run, comparisons);
  for (const frames of await run.crew.flush({ sealAll: false })) await session.adopt(frames);
  await refuseChange(sources);
  throwIfCancelled(request.signal);
  const isCompared = (disk: number): boolean => comparisons.some((plan) => plan.disk === disk);
  await logDamage(run, [...hinted.filter(({ disk }) => !isCompared(disk)), ...comparisons]);
  const seconds = (request.clock.monotonicMs() - startedMs) / 1000;
  const consistency = request.consistency ?? 'CrashConsistent';
  const { hintFailures } = run;
  const vm = request.vm?.(hintFailures);
  const facts = { consistency, seconds, vm };
  const { manifest } = await committed(run, facts);
  return {
    pointId: manifest.point,
    disks: manifest.disks.map((disk) => ({
      name: disk.name,
      size: disk.sizeBytes,
      read: disk.readBytes,
      changed: disk.changedBytes,
      stored: disk.storedBytes,
      ...failureOf(hintFailures, disk.name),
    })),
    seconds: (request.clock.monotonicMs() - startedMs) / 1000,
  };
}

/** Or ready to be, where somebody else commits it. */
async function committed(
  { request: { onReady }, session, results }: BackupRun,
  facts: Parameters<BackupSession['commit']>[1],
): Promise<Pick<ReadyPoint, 'manifest'>> {
  if (onReady === undefined) return await session.commit(results.results(), facts);
  const ready = await session.ready(results.results(), facts);
  onReady(ready);
  return ready;
}

function failureOf(failures: HintFailures, name: string): { readonly hintFailure?: HintFailure } {
  const hintFailure = failures.get(name);
  return hintFailure === undefined ? {} : { hintFailure };
}

/** Logs what could not be read, so that what the point needs of it is stored anew by `commit`. */
async function logDamage(run: BackupRun, plans: readonly DiskPlan[]): Promise<void> {
  const { request, session, sources, damaged } = run;
  const error = new HoldfastError('ObjectDamaged', 'a page of the point before cannot be read');
  await request.repository.logDamage(damaged.map((copy) => ({ ...copy, error })));
  for (const { disk, dirty } of plans) {
    const source = sources[disk]!;
    const { name } = source;
    // Nobody has audited it: what its units would keep may be among what could not be read.
    if (source.holdsHintOnly && damaged.length > 0) {
      giveUpHint(run, source, { isWrong: false, reason: 'the point before is damaged' });
    }
    if (dirty === undefined || session.base(name) !== undefined) continue;
    // What the hint left out was to come from the base: without it the point would not be whole.
    throw new HoldfastError('BlockMissing', `the point before of ${name} cannot be read any more`, {
      details: { disk: name },
    });
  }
}

async function beginCrew({
  request,
  session,
  crew,
  sources,
  done,
  damaged,
}: BackupRun): Promise<void> {
  const { repository } = request;
  const { keeper } = repository.parts;
  const disks = sources.map(({ prepared }) => prepared.spec);
  await crew.begin(
    { session: session.threadData(), disks, done },
    {
      onSealed: (pack) => session.sealed(pack),
      onDamage: (copy) => damaged.push(copy),
      view: async () => {
        await repository.parts.flushIndex();
        return session.view();
      },
      release: async (view) => await keeper.release(view),
    },
  );
}

/** Has all units of the plans backed up, and beside them the hints audited. */
async function workOff(
  run: BackupRun,
  plans: readonly DiskPlan[],
  audits?: HintAudits,
): Promise<void> {
  if (plans.length === 0) return;
  const { request, sources, done } = run;
  const doneBefore = Number(new BigInt64Array(done)[0]);
  const progress = {
    clock: request.clock,
    phase: `backing up ${plans.map(({ disk }) => sources[disk]!.name).join(', ')}`,
    totalBytes: plans.reduce((sum, plan) => sum + plannedBytes(plan), doneBefore),
    onProgress: request.onProgress,
  };
  const units = plans.map((plan) =>
    labelled('units', unitBatches(plan, baseUnitsOf(run, plan.disk))),
  );
  const looks = audits?.batches().map((batches) => labelled('audit', batches)) ?? [];
  const queue = new JobQueue<CrewJob>([...looks, ...units]);
  await withProgress(done, progress, async () => await runQueue(run, queue, audits));
}

async function* labelled<Kind extends CrewJob['kind'], Batch>(
  kind: Kind,
  batches: AsyncGenerator<Batch>,
): AsyncGenerator<{ readonly kind: Kind; readonly batch: Batch }> {
  for await (const batch of batches) yield { kind, batch };
}

/** Has all jobs done; in between, where the session's tables fill up, all threads pause. */
async function runQueue(
  { request, session, crew, results }: BackupRun,
  queue: JobQueue<CrewJob>,
  audits: HintAudits | undefined,
): Promise<void> {
  let isEmpty = false;
  while (!isEmpty) {
    if (session.needsRefresh) {
      await crew.flush({ sealAll: true });
      await crew.renew(await session.refresh());
    }
    await crew.work({
      next: async () => {
        for (;;) {
          throwIfCancelled(request.signal);
          const job = await queue.next();
          isEmpty ||= job === undefined;
          if (job === undefined || audits?.isMissed(job.batch.disk) !== true) return job;
        }
      },
      onUnits: results.take,
      onAudit: (result) => audits?.take(result),
      isPaused: () => session.needsRefresh,
    });
  }
}

/** @throws {HoldfastError} `ArgumentInvalid`. */
function checkNames({ repository, item, disks }: BackupRequest): void {
  const { keyring } = repository.parts;
  if (disks.length === 0) throw new HoldfastError('ArgumentInvalid', 'no disk to back up');
  const seen = new Set<string>();
  for (const { name } of disks) {
    keyring.chainKey(item, name);
    if (seen.has(name)) {
      throw new HoldfastError('ArgumentInvalid', `the disk name ${name} is there twice`);
    }
    seen.add(name);
  }
}
