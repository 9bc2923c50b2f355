/**
 * Takes a recovery point of a VM (DESIGN §4):
 *
 * ```
 *   find ─► prepare ─► quiesce: pre-script ─► freeze ─► snapshot ─► thaw ─► post-script
 *                                                           │
 *             release(committed) ◄─ commit ◄─ changed blocks, audited, from the snapshot
 *             release(failed)    ◄─ anything else: bitmaps are merged back, no point
 * ```
 *
 * Two phases, as Azure names them: Take Snapshot, and Transfer data to vault, which needs no guest.
 */
import { HoldfastError, throwIfCancelled, type Clock, type ProgressListener } from '#base';
import {
  quiesced,
  type Consistency,
  type Hypervisor,
  type PreparedBackup,
  type Quiesced,
  type QuiesceStep,
  type Snapshot,
  type SnapshotDisk,
  type Vm,
  type VmDefinition,
} from '#hypervisor';
import { newPointId, type Repository } from '#repository';
import type { HintFailures } from '../taking/backup-run.ts';
import { backUpDisks } from '../taking/back-up-disks.ts';
import { againWhole, type Distrusted } from './again-whole.ts';
import { dueAudits, trackingBases, type KnownBases } from './tracking-bases.ts';
import { oddities } from './other-vm.ts';
import { freshContact, type VmContact } from './vm-contact.ts';
import { excludedDisks, vmNoteToJson, type DiskTracking, type NotedDisk } from './vm-note.ts';

export type VmBackupRequest = {
  /** Open as owner. */
  readonly repository: Repository;
  readonly hypervisor: Hypervisor;
  readonly vm: string;
  /** Begun a moment ago, with the same hypervisor, VM and `quiesces`; absent, closed or old: made here. */
  readonly contact?: VmContact;
  /** The item in the repository; absent: the VM's name. */
  readonly item?: string;
  /** Of a safety point: the point that the VM will then be put back to. */
  readonly safetyBefore?: string;
  /** The new point's id, by `newPointId`; absent: one is drawn. */
  readonly newPoint?: string;
  /** Names of the disks; absent: all. */
  readonly disks?: readonly string[];
  /** An empty folder, for scratch images and sockets. */
  readonly scratchDir: string;
  /** False: the guest is not asked, and the point crash-consistent. */
  readonly quiesces: boolean;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressListener;
  /** Told of every step in the guest that failed, once, as it ends. */
  readonly warn: (message: string) => void;
  /** Told of each step in the guest as it ends: all that is known of them where the backup then fails. */
  readonly onStep?: (step: QuiesceStep) => void;
  /** Runs the transfer when its turn has come; meanwhile the hypervisor holds the snapshot. Absent: at once. */
  readonly inTurn?: <Result>(transfer: () => Promise<Result>) => Promise<Result>;
  readonly threads?: number;
};

export type VmBackupResult = {
  readonly pointId: string;
  readonly disks: readonly {
    readonly name: string;
    /** Bytes, as the three that follow; see `BackupResult`. */
    readonly size: number;
    readonly read: number;
    readonly changed: number;
    readonly stored: number;
    readonly tracking: DiskTracking;
    /** Why it fell back to comparing. */
    readonly reason?: string;
  }[];
  /** All of it, also what was waited for in the guest at last. */
  readonly seconds: number;
  readonly consistency: Consistency;
  /** Absent: nothing was frozen. */
  readonly frozenMs?: number;
  /** What was tried in the guest, in order. */
  readonly steps: readonly QuiesceStep[];
  /** What is odd about the VM for this item (`oddities`); absent: nothing. Each was given to `warn`. */
  readonly warnings?: readonly string[];
  /** The two phases; in the first the guest is needed. */
  readonly tasks: readonly { readonly name: VmBackupTask; readonly seconds: number }[];
};

/** Azure's names of them (rule R40). */
type VmBackupTask = 'Take Snapshot' | 'Transfer data to vault';

type Run = {
  readonly request: VmBackupRequest;
  readonly contact: VmContact;
  readonly vm: Vm;
  readonly item: string;
  readonly point: string;
  readonly known: KnownBases;
  readonly prepared: PreparedBackup;
};

/**
 * Backs a VM up. All or nothing: on any failure no point appears, the guest runs on, and the next backup
 * finds the changes of both.
 *
 * @throws {HoldfastError} as `Hypervisor.prepare`, `quiesced` and `backUpDisks`.
 */
export async function backUpVm(request: VmBackupRequest): Promise<VmBackupResult> {
  return await againWhole(request.warn, async (distrusted) => await attempt(request, distrusted));
}

async function attempt(request: VmBackupRequest, distrusted: Distrusted): Promise<VmBackupResult> {
  const startedMs = request.clock.monotonicMs();
  const contact = await freshContact(request);
  try {
    return await backUpContacted(request, { contact, distrusted, startedMs });
  } finally {
    await contact.close();
  }
}

async function backUpContacted(
  request: VmBackupRequest,
  {
    contact,
    distrusted,
    startedMs,
  }: {
    readonly contact: VmContact;
    readonly distrusted: Distrusted;
    readonly startedMs: number;
  },
): Promise<VmBackupResult> {
  const { repository, hypervisor, scratchDir, warn, signal } = request;
  const { vm } = contact;
  const item = request.item ?? vm.name;
  const point = request.newPoint ?? newPointId(repository.parts);
  const known = await trackingBases(repository, item);
  const warnings = oddities(known.newest, { vm, kind: hypervisor.kind, item });
  if (distrusted.size === 0) for (const warning of warnings) warn(warning);
  const prepared = await hypervisor.prepare({
    vm: vm.name,
    ...(request.disks === undefined ? {} : { disks: request.disks }),
    tracking: {
      repositoryId: repository.parts.keyring.repositoryId.toString('hex'),
      point,
      bases: known.bases,
      otherBases: known.otherBases,
      distrusted: new Map([...known.suspects, ...distrusted]),
      audits: dueAudits(known),
      blockSize: repository.state.blockSize,
    },
    scratchDir,
    warn,
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    const run = { request, contact, vm, item, point, known, prepared };
    const { result: snapshot, quiesce, ended } = await takeSnapshot(run);
    const takenMs = request.clock.monotonicMs();
    try {
      const result = await transfer(run, { snapshot, quiesce, ended, startedMs, takenMs });
      return warnings.length === 0 ? result : { ...result, warnings };
    } finally {
      await ended;
    }
  } finally {
    await prepared.close();
  }
}

/** Take Snapshot. */
async function takeSnapshot({ request, contact, vm, prepared }: Run): Promise<Quiesced<Snapshot>> {
  const { clock, signal, warn, onStep } = request;
  throwIfCancelled(signal);
  const how = contact.guest === undefined ? '' : ' (its guest agent is asked first)';
  request.onProgress?.({ phase: `taking a snapshot of ${vm.name}${how}`, doneBytes: 0 });
  if (!request.quiesces) return await unquiesced(prepared, onStep);
  return await quiesced(
    {
      vm,
      channel: contact.channel,
      contact: contact.guest,
      clock,
      signal,
      warn,
      ...(onStep === undefined ? {} : { onStep }),
      discard: async (snapshot: Snapshot) => await snapshot.release('failed'),
    },
    async () => await prepared.snapshot(),
  );
}

async function unquiesced(
  prepared: PreparedBackup,
  onStep: VmBackupRequest['onStep'],
): Promise<Quiesced<Snapshot>> {
  const step: QuiesceStep = {
    name: 'Contact guest agent',
    outcome: 'skipped',
    message: 'the guest was not to be asked: the point is crash-consistent',
    durationMs: 0,
  };
  onStep?.(step);
  const result = await prepared.snapshot();
  return {
    result,
    quiesce: { consistency: 'CrashConsistent', frozenMs: undefined, steps: [step] },
    ended: Promise.resolve(),
  };
}

type Taken = Pick<Quiesced<Snapshot>, 'quiesce' | 'ended'> & {
  readonly snapshot: Snapshot;
  readonly startedMs: number;
  /** When the snapshot had been taken. */
  readonly takenMs: number;
};

/** Transfer data to vault, and the end of the snapshot whatever happens. */
async function transfer(
  run: Run,
  { snapshot, quiesce, ended, startedMs, takenMs }: Taken,
): Promise<VmBackupResult> {
  const { request } = run;
  let result: Awaited<ReturnType<typeof backUpDisks>>;
  const unaudited = new Set<string>();
  try {
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
      });
    const inTurn = request.inTurn ?? (async (work) => await work());
    result = await whileThere(snapshot, request.signal, async (signal) =>
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
        });
      }),
    );
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
