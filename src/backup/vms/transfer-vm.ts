/**
 * The second phase of a VM's backup: its snapshot goes into the repository as a point, and is released whatever
 * happens (back-up-vm.ts draws the whole).
 */
import { HoldfastError } from '#base';
import type { Quiesced, Snapshot, SnapshotDisk, VmDefinition } from '#hypervisor';
import { cancelReady, type ReadyPoint } from '#repository';
import type { HintFailures } from '../taking/backup-run.ts';
import { backUpDisks } from '../taking/back-up-disks.ts';
import type { Run, VmBackupRequest, VmBackupResult } from './vm-backup.ts';
import { excludedDisks, vmNoteToJson, type DiskTracking, type NotedDisk } from './vm-note.ts';

type Taken = Pick<Quiesced<Snapshot>, 'quiesce' | 'ended'> & {
  readonly snapshot: Snapshot;
  readonly startedMs: number;
  /** When the snapshot had been taken. */
  readonly takenMs: number;
};

/** Transfer data to vault, and the end of the snapshot whatever happens. */
export async function transfer(run: Run, taken: Taken): Promise<VmBackupResult> {
  const { request } = run;
  const { snapshot, quiesce, ended, startedMs, takenMs } = taken;
  let result: Awaited<ReturnType<typeof backUpDisks>>;
  try {
    result = await store(run, taken);
  } catch (error) {
    await abandon(snapshot, request.warn);
    throw error;
  }
  await snapshot.release('committed');
  const transferredMs = request.clock.monotonicMs();
  request.onProgress?.({ phase: `waiting for the guest of ${run.vm.name}`, doneBytes: 0 });
  await ended;
  const { consistency, frozenMs, steps } = quiesce;
  const endedMs = request.clock.monotonicMs();
  return {
    pointId: result.pointId,
    disks: result.disks.map(({ hintFailure, ...disk }) => {
      const { tracking, reason } = trackingOf(run, disk.name, hintFailure?.reason);
      return { ...disk, tracking, ...(reason === undefined ? {} : { reason }) };
    }),
    seconds: (endedMs - startedMs) / 1000,
    consistency,
    ...(frozenMs === undefined ? {} : { frozenMs }),
    steps,
    tasks: [
      { name: 'Take Snapshot', seconds: (takenMs - startedMs) / 1000 },
      { name: 'Transfer data to vault', seconds: (transferredMs - takenMs) / 1000 },
    ],
  };
}

/** On return the point is visible: by itself, or with those of the same instant. */
async function store(
  run: Run,
  { snapshot, quiesce }: Taken,
): Promise<Awaited<ReturnType<typeof backUpDisks>>> {
  const { request, shared } = run;
  const unaudited = new Set<string>();
  const noted = (definition: VmDefinition, failures: HintFailures): unknown =>
    vmNoteToJson({
      definition,
      disks: notedDisks(run, { failures, unaudited }),
      excluded: excludedDisks(
        run.vm,
        run.prepared.disks.map(({ name }) => name),
      ),
      ...(request.safetyBefore === undefined ? {} : { safetyBefore: request.safetyBefore }),
      ...(quiesce.guestOs === undefined ? {} : { guestOs: quiesce.guestOs }),
      ...(shared === undefined ? {} : { group: shared.group }),
    });
  const inTurn = request.inTurn ?? (async (work) => await work());
  let ready: ReadyPoint | undefined;
  try {
    const result = await whileThere(snapshot, request.signal, async (signal) =>
      inTurn(async () => {
        const [definition, disks] = await Promise.all([
          request.hypervisor.definition(run.vm.name),
          snapshot.disks({ signal, onProgress: request.onProgress }),
        ]);
        for (const disk of disks) if (disk.holdsDirtyOnly === true) unaudited.add(disk.name);
        return await backUpDisks({
          ...diskRequest(run, disks),
          signal,
          consistency: quiesce.consistency,
          vm: (failures) => noted(definition, failures),
          ...(shared === undefined ? {} : { onReady: (point) => (ready = point) }),
        });
      }),
    );
    if (ready !== undefined) await shared?.committed(ready);
    return result;
  } catch (error) {
    if (ready !== undefined) await cancelPoint(request, ready);
    throw error;
  }
}

async function cancelPoint(
  { repository, warn }: VmBackupRequest,
  ready: ReadyPoint,
): Promise<void> {
  await cancelReady(repository.parts, ready).catch((failure: unknown) => {
    // The session's packs are then adopted when the repository is opened next.
    warn(`the backup could not be ended in the log: ${String(failure)}`);
  });
}

async function abandon(snapshot: Snapshot, warn: VmBackupRequest['warn']): Promise<void> {
  await snapshot.release('failed').catch((failure: unknown) => {
    warn(`the snapshot could not be ended: ${String(failure)}`);
  });
}

function diskRequest(
  { request, item, point, known, prepared }: Run,
  taken: readonly SnapshotDisk[],
): Omit<Parameters<typeof backUpDisks>[0], 'signal'> {
  const { repository, clock, onProgress, threads, warn } = request;
  const bases = new Map<string, string>();
  const disks = taken.map(({ name, location, format, saved, dirty, holdsDirtyOnly = false }) => {
    const { tracking, audit } = prepared.disks.find((disk) => disk.name === name)!;
    const isTrusted = tracking.kind === 'bitmap' && !known.suspects.has(name);
    if (isTrusted) bases.set(name, tracking.base);
    return {
      name,
      location,
      ...(format === undefined ? {} : { format }),
      ...(saved === undefined ? {} : { saved }),
      ...(isTrusted && dirty !== undefined ? { hint: dirty } : {}),
      holdsHintOnly: holdsDirtyOnly,
      auditsAll: audit !== undefined,
    };
  });
  return {
    repository,
    item,
    disks,
    point,
    bases,
    clock,
    warn,
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(threads === undefined ? {} : { threads }),
  };
}

/** Runs `work`; if the snapshot is lost meanwhile, stops it and throws the reason. */
async function whileThere<Result>(
  snapshot: Snapshot,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const lost = new AbortController();
  let reason: unknown;
  snapshot.lost.catch((error: unknown) => {
    reason = error;
    lost.abort(error);
  });
  try {
    return await work(signal === undefined ? lost.signal : AbortSignal.any([signal, lost.signal]));
  } catch (error) {
    throw reason ?? error;
  }
}

function notedDisks(
  run: Run,
  {
    failures,
    unaudited,
  }: { readonly failures: HintFailures; readonly unaudited: ReadonlySet<string> },
): NotedDisk[] {
  return run.prepared.disks.map(({ name, fingerprint }) => {
    const failure = failures.get(name);
    const disk = run.vm.disks.find((known) => known.name === name);
    if (disk === undefined) {
      throw new HoldfastError('DiskNotFound', `${run.vm.name} has no disk ${name} any more`, {
        details: { disk: name },
      });
    }
    return {
      name,
      format: disk.format,
      tracking: trackingOf(run, name, failure?.reason).tracking,
      fingerprint,
      isSuspect: failure?.isWrong === true,
      ...(unaudited.has(name) ? { unaudited: (run.known.unaudited.get(name) ?? 0) + 1 } : {}),
    };
  });
}

function trackingOf(
  { prepared, known }: Run,
  name: string,
  hintFailure: string | undefined,
): { readonly tracking: DiskTracking; readonly reason?: string } {
  const { tracking, audit } = prepared.disks.find((disk) => disk.name === name)!;
  if (tracking.kind === 'initial') return { tracking: 'initial' };
  if (tracking.kind === 'compare') return { tracking: 'compare', reason: tracking.reason };
  const reason = known.suspects.get(name) ?? hintFailure ?? audit;
  return reason === undefined ? { tracking: 'bitmap' } : { tracking: 'compare', reason };
}
