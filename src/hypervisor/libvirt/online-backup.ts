/**
 * The backup of a VM that runs or is paused: libvirt's pull mode with a checkpoint (VM-LAB §4 gave the sequence);
 * where a disk must not be read from QEMU (`io-thread.ts`) push mode, which copies first (`push.ts`).
 *
 * ```
 *   prepare: claim the domain · folder, room · checkpoints in line · tracking of each disk
 *   snapshot: backup-begin (old bitmaps kept to be read, new ones begun, one QEMU transaction)
 *   disks: dirty extents over NBD, when nobody is frozen any more
 *   release: domjobabort (ends a pull backup) · committed: old checkpoints deleted, failed: the new one
 * ```
 */
import { HoldfastError, isHoldfastError, throwIfCancelled, type Clock } from '#base';
import { formatNbdUri } from '#disk';
import { formatBitmapName } from '../bitmap-name.ts';
import type {
  PreparedBackup,
  PreparedDisk,
  PrepareRequest,
  Snapshot,
  SnapshotDisk,
} from '../hypervisor.ts';
import type { VmDisk } from '../vm.ts';
import { makeBackupFolder, type BackupFolder } from './backup-folder.ts';
import { watchBackup } from './backup-watch.ts';
import { backupXml, bitmapExportName, pushXml } from './backup-xml.ts';
import {
  checkpointNames,
  checkpointXml,
  deleteCheckpoint,
  type CheckpointScope,
} from './checkpoints.ts';
import { readExport } from './dirty-extents.ts';
import type { Domain } from './domain.ts';
import { readImageFacts } from './image-facts.ts';
import { claimDomain, endBackup } from './jobs.ts';
import { dropReplaced, reconcileCheckpoints } from './our-checkpoints.ts';
import { followPush, untilPushBegins } from './push.ts';
import {
  auditedDisks,
  checkpointOf,
  countedImage,
  countedName,
  incrementBase,
  needsOfPush,
} from './push-plan.ts';
import { refuseImpassable } from './qemu-user.ts';
import { makeScratchImages } from './scratch-images.ts';
import { checkScratchSpace, scratchNeeds, type ScratchNeeds } from './scratch-space.ts';
import { whileStandingStill } from './stand-still.ts';
import { chooseTracking } from './tracking-choice.ts';
import type { Virsh } from './virsh.ts';

export type LibvirtParts = { readonly virsh: Virsh; readonly clock: Clock };

/** What one backup goes on with from step to step. */
type Backup = {
  readonly parts: LibvirtParts;
  readonly domain: Domain;
  readonly request: PrepareRequest;
  readonly folder: BackupFolder;
  readonly disks: readonly PreparedDisk[];
  readonly needs: ScratchNeeds;
  /** In push mode: all disks, so that they are of one instant. */
  readonly pushes: boolean;
  readonly scope: CheckpointScope;
  /** The command of virsh that takes the snapshot; its documents are written. */
  readonly beginning: readonly string[];
};

/** @param chosen the disks to back up: all are readable. */
export async function prepareOnline(
  parts: LibvirtParts,
  domain: Domain,
  { request, chosen }: { readonly request: PrepareRequest; readonly chosen: readonly VmDisk[] },
): Promise<PreparedBackup> {
  await claimDomain({ ...parts, warn: request.warn }, domain);
  throwIfCancelled(request.signal);
  await refuseImpassable(domain.facts.owner, request.scratchDir, {
    code: 'ArgumentInvalid',
    instead: 'choose another scratch folder',
  });
  const folder = await makeBackupFolder(request.scratchDir, domain.facts.owner);
  try {
    const scope = { virsh: parts.virsh, uuid: domain.uuid };
    const pushes = chosen.some(({ name }) => domain.unshowable.has(name));
    const disks = await prepareDisks(scope, { request, chosen, pushes });
    const needs = pushes
      ? await needsOfPush(scope, { request, chosen, disks })
      : scratchNeeds(chosen.map(({ sizeBytes }) => sizeBytes));
    await checkScratchSpace(request.scratchDir, needs);
    const images = [...chosen, ...auditedDisks(disks).map(countedImage)];
    await makeScratchImages(folder, { disks: images, owner: domain.facts.owner });
    throwIfCancelled(request.signal);
    const backup = { parts, domain, request, folder, disks, needs, pushes, scope };
    return prepared({ ...backup, beginning: await writeDocuments(backup) });
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

async function prepareDisks(
  scope: CheckpointScope,
  {
    request,
    chosen,
    pushes,
  }: {
    readonly request: PrepareRequest;
    readonly chosen: readonly VmDisk[];
    readonly pushes: boolean;
  },
): Promise<PreparedDisk[]> {
  const { tracking: wanted, warn, signal } = request;
  const facts = await Promise.all(
    chosen.map(async (disk) => ({
      ...(await readImageFacts(disk, signal)),
      name: disk.name,
      sizeBytes: disk.sizeBytes,
    })),
  );
  const checkpoints = await reconcileCheckpoints(scope, { tracking: wanted, disks: facts, warn });
  return facts.map((disk) => {
    const { name, sizeBytes, fingerprint, untracked } = disk;
    const tracking = chooseTracking(disk, {
      repositoryId: wanted.repositoryId,
      bases: wanted.bases.get(name),
      checkpoints,
      distrust: wanted.distrusted?.get(name),
    });
    const audit = pushes && tracking.kind === 'bitmap' ? wanted.audits?.get(name) : undefined;
    return {
      name,
      sizeBytes,
      fingerprint,
      tracking,
      ...(audit === undefined ? {} : { audit }),
      ...(untracked === undefined ? {} : { untracked }),
    };
  });
}

function prepared(backup: Backup): PreparedBackup {
  let isBegun = false;
  return {
    vm: backup.domain.vm,
    disks: backup.disks,
    snapshot: async () => {
      throwIfCancelled(backup.request.signal);
      isBegun = true;
      return await takeSnapshot(backup);
    },
    close: async () => {
      if (!isBegun) await backup.folder.remove();
    },
  };
}

async function takeSnapshot(backup: Backup): Promise<Snapshot> {
  try {
    await beginJob(backup);
    throwIfCancelled(backup.request.signal);
    return backup.pushes ? pushed(backup) : begun(backup);
  } catch (error) {
    await undo(backup, error);
    throw error;
  }
}

/**
 * Not cancelled half-way: libvirt goes on with what it has been asked for. It copies old bitmaps in actions of their
 * own before its jobs, and a job that pushes takes up its bitmap when it begins to run: in between a thread of a
 * disk must not write. Main-loop disks have no such moment.
 */
async function beginJob(backup: Backup): Promise<void> {
  const { parts, domain, scope, disks, pushes, beginning } = backup;
  const counted = disks.flatMap((disk) =>
    incrementBase(backup.request, disk) === undefined ? [] : [disk.name],
  );
  const { uuid, vm, facts } = domain;
  const isThreaded = facts.disks.some(({ name, hasThread }) => hasThread && counted.includes(name));
  const { atRest } = backup.request;
  const mustStandStill = atRest !== undefined || (pushes ? counted.length > 0 : isThreaded);
  const begin = async (): Promise<void> => void (await scope.virsh.run(beginning));
  if (!mustStandStill) return await begin();
  await whileStandingStill({ virsh: scope.virsh, uuid, vmName: vm.name }, async () => {
    await begin();
    if (pushes && counted.length > 0) await untilPushBegins(parts, { uuid, disks: counted });
    await atRest?.();
  });
}

/** Before anybody is frozen: on a busy machine files take their time. */
async function writeDocuments(backup: Omit<Backup, 'beginning'>): Promise<string[]> {
  const { request, domain, folder, disks } = backup;
  const backedUp = disks.map((disk) => ({
    name: disk.name,
    scratchPath: folder.scratchPath(disk.name),
    base: incrementBase(request, disk),
  }));
  const { socketPath } = folder;
  const xml = backup.pushes ? pushXml(backedUp) : backupXml({ socketPath, disks: backedUp });
  const tracked = trackedDisks(backup);
  // The scratch images are there: libvirt would make them while the guest is frozen.
  const args = ['backup-begin', domain.uuid, '--reuse-external', '--backupxml'];
  args.push(await folder.writeDocument('backup.xml', xml));
  if (tracked.length === 0) return args;
  const checkpoint = checkpointXml({ name: formatBitmapName(request.tracking), disks: tracked });
  return [...args, '--checkpointxml', await folder.writeDocument('checkpoint.xml', checkpoint)];
}

/** The job that tells what the bitmaps of audited disks counted. */
function countingOf(backup: Backup): Parameters<typeof followPush>[0]['counting'] {
  const { domain, folder, request, scope } = backup;
  const disks = auditedDisks(backup.disks);
  if (disks.length === 0) return undefined;
  const imageOf = (name: string): string => folder.scratchPath(countedName(name));
  const counted = disks.map((disk) => ({
    name: disk.name,
    scratchPath: imageOf(disk.name),
    base: checkpointOf(request, disk),
  }));
  return {
    disks,
    imageOf,
    begin: async () => {
      const path = await folder.writeDocument('counted.xml', pushXml(counted));
      const args = ['backup-begin', domain.uuid, '--reuse-external', '--backupxml', path];
      await scope.virsh.run(args);
    },
  };
}

function trackedDisks({ disks }: Pick<Backup, 'disks'>): string[] {
  return disks.filter(({ untracked }) => untracked === undefined).map(({ name }) => name);
}

function begun(backup: Backup): Snapshot {
  const { parts, domain, request, folder, needs } = backup;
  const { socketPath } = folder;
  const { scratchDir } = request;
  const { uuid, vm } = domain;
  const watch = watchBackup({ ...parts, uuid, vmName: vm.name, socketPath, scratchDir, needs });
  let shown: Promise<readonly SnapshotDisk[]> | undefined;
  return snapshotOf(backup, {
    disks: async ({ signal = request.signal } = {}) => await (shown ??= readDisks(backup, signal)),
    lost: watch.lost,
    stop: async () => {
      await watch.stop();
      return false;
    },
  });
}

function pushed(backup: Backup): Snapshot {
  const { parts, domain, request, folder, disks, needs } = backup;
  const { uuid, vm } = domain;
  const { scratchDir, signal } = request;
  const imageOf = (name: string): string => folder.scratchPath(name);
  const of = { ...parts, uuid, vmName: vm.name, scratchDir, needs, disks, imageOf, signal };
  return snapshotOf(backup, followPush({ ...of, counting: countingOf(backup) }));
}

type Held = Pick<Snapshot, 'disks' | 'lost'> & {
  /** On return nothing is watched any more. @returns whether the job has ended by itself. */
  stop(): Promise<boolean>;
};

function snapshotOf(backup: Backup, held: Held): Snapshot {
  let released: Promise<void> | undefined;
  return {
    disks: async (waiting) => await held.disks(waiting),
    lost: held.lost,
    release: async (outcome) => {
      released ??= held
        .stop()
        .then(async (hasEnded) => await release(backup, { outcome, hasEnded }));
      await released;
    },
  };
}

async function readDisks(
  { parts, folder: { socketPath }, disks }: Backup,
  signal: AbortSignal | undefined,
): Promise<readonly SnapshotDisk[]> {
  throwIfCancelled(signal);
  const reading = disks.map(async ({ name, tracking }) => {
    const from = { socketPath, exportName: name, clock: parts.clock, signal };
    const bitmap = tracking.kind === 'bitmap' ? bitmapExportName(name) : undefined;
    const location = formatNbdUri({ endpoint: { path: socketPath }, exportName: name });
    return { name, location, ...(await readExport(from, bitmap)) };
  });
  return await Promise.all(reading);
}

async function release(
  backup: Backup,
  { outcome, hasEnded }: { readonly outcome: 'committed' | 'failed'; readonly hasEnded: boolean },
): Promise<void> {
  const { parts, domain, folder } = backup;
  try {
    // A job that runs by now is another's.
    if (!hasEnded) await endBackup(parts, domain.uuid);
    await whileRunning(async () => {
      if (outcome === 'failed') await deleteNew(backup);
      else await deleteOld(backup);
    });
  } catch (cause) {
    throw new HoldfastError(
      'HypervisorFailed',
      `the backup of "${domain.vm.name}" is ${outcome}, but its job or checkpoints could not be put in order, which the next backup does: ${(cause as Error).message}`,
      { cause, details: { vm: domain.vm.name } },
    );
  } finally {
    await folder.remove();
  }
}

/** Without QEMU, bitmaps cannot be changed through libvirt: the next backup puts them in order. */
async function whileRunning(change: () => Promise<void>): Promise<void> {
  try {
    await change();
  } catch (error) {
    const isGone =
      isHoldfastError(error, 'VmNotFound') ||
      (isHoldfastError(error) && /inactive domain|domain is not running/.test(error.message));
    if (!isGone) throw error;
  }
}

async function deleteNew({ scope, request }: Backup): Promise<void> {
  const name = formatBitmapName(request.tracking);
  if ((await checkpointNames(scope)).includes(name)) await deleteCheckpoint(scope, name);
}

async function deleteOld(backup: Backup): Promise<void> {
  await dropReplaced(backup.scope, {
    tracking: backup.request.tracking,
    newDisks: trackedDisks(backup),
    vmDisks: backup.domain.facts.disks.map(({ name }) => name),
  });
}

/** A snapshot that failed or was cancelled leaves nothing. */
async function undo(backup: Backup, error: unknown): Promise<void> {
  const { parts, domain, folder } = backup;
  try {
    await endBackup(parts, domain.uuid);
    await whileRunning(async () => await deleteNew(backup));
  } catch (second) {
    throw new HoldfastError(
      'HypervisorFailed',
      `the snapshot of "${domain.vm.name}" failed (${(error as Error).message}) and could not be undone (${(second as Error).message}), which the next backup does`,
      { cause: error, details: { vm: domain.vm.name } },
    );
  } finally {
    await folder.remove();
  }
}
