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
import { throwIfCancelled } from '#base';
import {
  quiesced,
  type PreparedBackup,
  type Quiesced,
  type QuiesceStep,
  type Snapshot,
} from '#hypervisor';
import { newPointId } from '#repository';
import { againWhole, type Distrusted } from './again-whole.ts';
import { awaitGuests, lookAtLoads } from './guest-wait.ts';
import type { SharedInstant } from './shared-instant.ts';
import { dueAudits, trackingBases } from './tracking-bases.ts';
import { oddities } from './other-vm.ts';
import { transfer } from './transfer-vm.ts';
import type { Run, VmBackupRequest, VmBackupResult } from './vm-backup.ts';
import { freshContact, type VmContact } from './vm-contact.ts';

export type { VmBackupRequest, VmBackupResult };

/**
 * Backs a VM up. All or nothing: on any failure no point appears, the guest runs on, and the next backup
 * finds the changes of both.
 *
 * @throws {HoldfastError} as `Hypervisor.prepare`, `quiesced`, `backUpDisks` and, with `guestLoad`, `awaitGuests`.
 */
export async function backUpVm(request: VmBackupRequest): Promise<VmBackupResult> {
  const waited = await waitForGuest(request);
  const result = await againWhole(
    request.warn,
    async (distrusted) => await backUpVmOnce(request, { distrusted }),
  );
  return waited.length === 0 ? result : { ...result, steps: [...waited, ...result.steps] };
}

/** The guest is left alone meanwhile: its agent has one client at a time, which may be somebody else. */
async function waitForGuest(request: VmBackupRequest): Promise<readonly QuiesceStep[]> {
  const { hypervisor, vm, guestLoad: limit, contact, clock, signal, onProgress, onStep } = request;
  if (limit === undefined || !request.quiesces) return [];
  await contact?.close();
  const guests = [{ hypervisor, vm, name: vm }];
  const look = async () => await lookAtLoads(guests, { ...limit, clock, signal });
  const { steps } = await awaitGuests(look, { limit, clock, signal, onProgress });
  for (const { step } of steps) onStep?.(step);
  return steps.map(({ step }) => step);
}

type Attempt = {
  /** Disks all of which must be copied. */
  readonly distrusted: Distrusted;
  /** The instant that this VM has together with others; absent: one of its own. */
  readonly shared?: SharedInstant;
};

/** As `backUpVm`, but where all of a disk must be copied it does not begin anew: `HintUnusable`. */
export async function backUpVmOnce(
  request: VmBackupRequest,
  attempt: Attempt,
): Promise<VmBackupResult> {
  const startedMs = request.clock.monotonicMs();
  const contact = await freshContact(request);
  try {
    return await backUpContacted(request, { ...attempt, contact, startedMs });
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
    shared,
  }: Attempt & { readonly contact: VmContact; readonly startedMs: number },
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
    ...(shared === undefined ? {} : { atRest: shared.atRest }),
  });
  try {
    const run = { request, contact, vm, item, point, known, prepared, shared };
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
async function takeSnapshot({
  request,
  contact,
  vm,
  prepared,
  shared,
}: Run): Promise<Quiesced<Snapshot>> {
  const { clock, signal, warn, onStep } = request;
  throwIfCancelled(signal);
  const how = contact.guest === undefined ? '' : ' (its guest agent is asked first)';
  request.onProgress?.({ phase: `taking a snapshot of ${vm.name}${how}`, doneBytes: 0 });
  const snapshot = async (): Promise<Snapshot> => {
    // A VM that does not run waits for nobody: its images are held from now on.
    await shared?.quiet({ waits: vm.state === 'running' });
    return await prepared.snapshot();
  };
  if (!request.quiesces) return await unquiesced(snapshot, onStep);
  return await quiesced(
    {
      vm,
      channel: contact.channel,
      contact: contact.guest,
      clock,
      signal,
      warn,
      ...(onStep === undefined ? {} : { onStep }),
      ...(shared === undefined ? {} : { beforeFreeze: shared.ready }),
      discard: async (taken: Snapshot) => await taken.release('failed'),
    },
    snapshot,
  );
}

async function unquiesced(
  snapshot: PreparedBackup['snapshot'],
  onStep: VmBackupRequest['onStep'],
): Promise<Quiesced<Snapshot>> {
  const step: QuiesceStep = {
    name: 'Contact guest agent',
    outcome: 'skipped',
    message: 'the guest was not to be asked: the point is crash-consistent',
    durationMs: 0,
  };
  onStep?.(step);
  return {
    result: await snapshot(),
    quiesce: { consistency: 'CrashConsistent', frozenMs: undefined, steps: [step] },
    ended: Promise.resolve(),
  };
}
