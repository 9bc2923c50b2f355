/** Readies a backup of a VM of QEMU; see `Hypervisor.prepare`. */
import { HoldfastError, throwIfCancelled, type Clock } from '#base';
import { formatBitmapName } from '../bitmap-name.ts';
import type { PreparedBackup, PrepareRequest, Snapshot } from '../hypervisor.ts';
import { imageFingerprint } from '../image-fingerprint.ts';
import { imageIdentity } from '../image-identity.ts';
import type { QmpClient } from '../qmp/qmp-client.ts';
import type { Vm } from '../vm.ts';
import type { Backup, BackupDisk, Mechanism } from './backup.ts';
import { planBitmaps } from './bitmap-plan.ts';
import { probeBitmap, transact } from './bitmaps.ts';
import { readBlockLayer, type QemuDisk } from './block-layer.ts';
import { startServer } from './instant.ts';
import { namesOf } from './names.ts';
import { checkPushRoom } from './push.ts';
import { checkDisks, checkReady } from './readiness.ts';
import { makeScratchFolder } from './scratch-folder.ts';
import { addScratch } from './scratch.ts';
import { takeSnapshot } from './snapshot.ts';
import { guardStandStill, type StandStillGuard } from './stand-still.ts';
import { removeLeftovers, removeTraces } from './traces.ts';

export type PrepareContext = {
  readonly qmp: QmpClient;
  readonly clock: Clock;
  readonly random: (byteCount: number) => Buffer;
  /** The user of QEMU. */
  readonly owner: { readonly uid: number; readonly gid: number };
  /** Absent: a filter where QEMU can. */
  readonly mechanism: Mechanism | undefined;
  readonly vm: Vm;
  /** Called once, when nothing of the backup is left. */
  readonly onEnd: () => void;
};

export async function prepareBackup(
  context: PrepareContext,
  request: PrepareRequest,
): Promise<PreparedBackup> {
  const { qmp, vm } = context;
  throwIfCancelled(request.signal);
  if (await removeLeftovers(context)) {
    request.warn(`${vm.name}: a backup that was killed had left its snapshot: it was removed`);
  }
  await checkReady(qmp);
  const layer = await readBlockLayer(qmp);
  const chosen = chooseDisks(layer.disks, request);
  const mechanism = context.mechanism ?? (await mechanismOf(qmp, chosen));
  const audits = mechanism === 'push' ? request.tracking.audits : undefined;
  checkDisks(chosen, layer);
  const disks: BackupDisk[] = [];
  for (const [place, disk] of chosen.entries()) {
    throwIfCancelled(request.signal);
    const ready = await readyDisk(qmp, { request, disk, place });
    disks.push(withAudit(ready, audits?.get(disk.name)));
  }
  const isHeld = request.atRest !== undefined || standsStill(mechanism, disks);
  const guard = isHeld ? guardStandStill(qmp.path) : undefined;
  try {
    const backup = await readyScratch(context, { request, disks, mechanism, guard });
    return preparedBackup(context, { backup, mechanism });
  } catch (error) {
    guard?.over();
    throw error;
  }
}

/** If it runs then; it may be started or continued until the instant. */
function standsStill(mechanism: Mechanism, disks: readonly BackupDisk[]): boolean {
  return mechanism === 'push' || (mechanism === 'filter' && disks.length > 1);
}

/** Filters that give up the snapshot and not the guest's write came with QEMU 7.1. */
async function mechanismOf(qmp: QmpClient, disks: readonly QemuDisk[]): Promise<Mechanism> {
  // All of them, so that they are of one instant.
  if (disks.some(({ isUnshowable }) => isUnshowable)) return 'push';
  const { qemu } = await qmp.execute('query-version');
  return qemu.major > 7 || (qemu.major === 7 && qemu.minor >= 1) ? 'filter' : 'job';
}

function chooseDisks(all: readonly QemuDisk[], { disks, vm }: PrepareRequest): QemuDisk[] {
  const names = disks ?? all.map(({ name }) => name);
  if (names.length === 0) throw new HoldfastError('DiskNotFound', `${vm} has no disk to back up`);
  return names.map((name) => {
    const disk = all.find((candidate) => candidate.name === name);
    if (disk === undefined) {
      const there = all.map((candidate) => candidate.name).join(', ');
      throw new HoldfastError('DiskNotFound', `${vm} has no disk ${name}; it has ${there}`, {
        details: { disk: name },
      });
    }
    if (disk.refusal === undefined) return disk;
    throw new HoldfastError('DiskUnsupported', `disk ${name} of ${vm}: ${disk.refusal}`, {
      details: { disk: name },
    });
  });
}

/** Where only what changed would be copied. */
function withAudit(disk: BackupDisk, audit: string | undefined): BackupDisk {
  if (audit === undefined || disk.base === undefined) return disk;
  return { ...disk, prepared: { ...disk.prepared, audit } };
}

async function readyDisk(
  qmp: QmpClient,
  ready: { readonly request: PrepareRequest; readonly disk: QemuDisk; readonly place: number },
): Promise<BackupDisk> {
  const { disk } = ready;
  const { tracking: wanted, warn } = ready.request;
  const { name, sizeBytes, imageNode: node, bitmaps } = disk;
  const fingerprint = imageFingerprint(disk.node.image, await imageIdentity(disk.location));
  const probe = await probeBitmap(qmp, { node, granularity: wanted.blockSize });
  const bases = wanted.bases.get(name) ?? [];
  const state = { node, bitmaps, fingerprint, persists: 'persistent' in probe && probe.persistent };
  const plan = planBitmaps(state, { ...wanted, bases });
  await transact(qmp, plan.repairs);
  if (plan.repaired !== undefined) warn(`disk ${name}: ${plan.repaired}`);
  const shared = { disk, names: namesOf(ready.place) };
  const prepared = { name, sizeBytes, fingerprint };
  if ('refused' in probe) {
    // Without a new bitmap the old one would have to end, and what is written meanwhile be lost.
    const untracked = `QEMU makes no bitmap on it: ${probe.refused}`;
    const tracking =
      plan.tracking.kind === 'bitmap'
        ? ({ kind: 'compare', reason: untracked } as const)
        : plan.tracking;
    return {
      ...shared,
      base: undefined,
      next: undefined,
      prepared: { ...prepared, tracking, untracked },
    };
  }
  const next = { name: formatBitmapName(wanted), persistent: probe.persistent };
  const distrust = wanted.distrusted?.get(name);
  if (plan.tracking.kind === 'bitmap' && distrust !== undefined) {
    const tracking = { kind: 'compare', reason: distrust } as const;
    return { ...shared, base: undefined, next, prepared: { ...prepared, tracking } };
  }
  return { ...shared, base: plan.base, next, prepared: { ...prepared, tracking: plan.tracking } };
}

async function readyScratch(
  { qmp, clock, random, owner }: PrepareContext,
  {
    request,
    disks,
    mechanism,
    guard,
  }: {
    readonly request: PrepareRequest;
    readonly disks: readonly BackupDisk[];
    readonly mechanism: Mechanism;
    readonly guard: StandStillGuard | undefined;
  },
): Promise<Backup> {
  const { scratchDir, signal } = request;
  const diskCount = disks.length;
  const folder = await makeScratchFolder(scratchDir, { owner, diskCount, random });
  const backup: Backup = { qmp, clock, request, folder, disks, guard };
  try {
    if (mechanism === 'push') await checkPushRoom(backup);
    await addScratch(backup, mechanism);
    if (mechanism !== 'push') await startServer(backup);
    await guard?.ready();
    throwIfCancelled(signal);
    return backup;
  } catch (error) {
    if (qmp.isOpen) await removeTraces(backup);
    await folder.close();
    throw error;
  }
}

function preparedBackup(
  { vm, onEnd }: PrepareContext,
  { backup, mechanism }: { readonly backup: Backup; readonly mechanism: Mechanism },
): PreparedBackup {
  let taken: Promise<Snapshot> | undefined;
  let closed: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    try {
      if (backup.qmp.isOpen) await removeTraces(backup);
    } catch (error) {
      if (!backup.qmp.isGone) throw error;
    } finally {
      backup.guard?.over();
      await backup.folder.close();
      onEnd();
    }
  };
  const take = async (): Promise<Snapshot> => {
    try {
      const snapshot = await takeSnapshot(backup, mechanism);
      return {
        ...snapshot,
        release: async (outcome) => {
          await snapshot.release(outcome).finally(onEnd);
        },
      };
    } catch (error) {
      onEnd();
      throw error;
    } finally {
      backup.guard?.over();
    }
  };
  return {
    vm,
    disks: backup.disks.map(({ prepared }) => prepared),
    snapshot: async () => {
      if (taken !== undefined || closed !== undefined) {
        throw new HoldfastError('ArgumentInvalid', 'a prepared backup takes one snapshot');
      }
      taken = take();
      return await taken;
    },
    close: async () => {
      // Once there is a snapshot, its release ends everything.
      if (taken === undefined) closed ??= close();
      await closed;
    },
  };
}
