/**
 * The backup of a VM that runs or is paused: libvirt's pull mode with a checkpoint (VM-LAB §4 gave the sequence).
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
import { backupXml, bitmapExportName } from './backup-xml.ts';
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
import { refuseImpassable } from './qemu-user.ts';
import { makeScratchImages } from './scratch-images.ts';
import { checkScratchSpace, scratchNeeds, type ScratchNeeds } from './scratch-space.ts';
import { chooseTracking } from './tracking-choice.ts';
import type { Virsh } from './virsh.ts';
import { withXmlFile } from './xml-file.ts';

export type LibvirtParts = { readonly virsh: Virsh; readonly clock: Clock };

/** What one backup goes on with from step to step. */
type Backup = {
  readonly parts: LibvirtParts;
  readonly domain: Domain;
  readonly request: PrepareRequest;
  readonly folder: BackupFolder;
  readonly disks: readonly PreparedDisk[];
  readonly needs: ScratchNeeds;
  readonly scope: CheckpointScope;
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
    const needs = scratchNeeds(chosen.map(({ sizeBytes }) => sizeBytes));
    await checkScratchSpace(request.scratchDir, needs);
    const scope = { virsh: parts.virsh, uuid: domain.uuid };
    const disks = await prepareDisks(scope, { request, chosen });
    await makeScratchImages(folder, { disks: chosen, owner: domain.facts.owner });
    throwIfCancelled(request.signal);
    return prepared({ parts, domain, request, folder, disks, needs, scope });
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

async function prepareDisks(
  scope: CheckpointScope,
  { request, chosen }: { readonly request: PrepareRequest; readonly chosen: readonly VmDisk[] },
): Promise<PreparedDisk[]> {
  const { tracking, warn, signal } = request;
  const facts = await Promise.all(
    chosen.map(async (disk) => ({
      ...(await readImageFacts(disk, signal)),
      name: disk.name,
      sizeBytes: disk.sizeBytes,
    })),
  );
  const checkpoints = await reconcileCheckpoints(scope, { tracking, disks: facts, warn });
  return facts.map((disk) => ({
    name: disk.name,
    sizeBytes: disk.sizeBytes,
    fingerprint: disk.fingerprint,
    tracking: chooseTracking(disk, {
      repositoryId: tracking.repositoryId,
      bases: tracking.bases.get(disk.name),
      checkpoints,
    }),
    ...(disk.untracked === undefined ? {} : { untracked: disk.untracked }),
  }));
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
    await begin(backup);
    throwIfCancelled(backup.request.signal);
    return begun(backup);
  } catch (error) {
    await undo(backup, error);
    throw error;
  }
}

/** Not cancelled half-way: libvirt goes on with what it has been asked for. */
async function begin(backup: Backup): Promise<void> {
  const { domain, request, folder, disks, scope } = backup;
  const { repositoryId } = request.tracking;
  const backedUp = disks.map((disk) => ({
    name: disk.name,
    scratchPath: folder.scratchPath(disk.name),
    base:
      disk.tracking.kind === 'bitmap'
        ? formatBitmapName({ repositoryId, point: disk.tracking.base })
        : undefined,
  }));
  const xml = backupXml({ socketPath: folder.socketPath, disks: backedUp });
  const tracked = trackedDisks(backup);
  // The scratch images are there: libvirt would make them while the guest is frozen.
  const args = ['backup-begin', domain.uuid, '--reuse-external', '--backupxml'];
  await withXmlFile(xml, async (path) => {
    if (tracked.length === 0) return await scope.virsh.run([...args, path]);
    const checkpoint = checkpointXml({
      name: formatBitmapName(request.tracking),
      disks: tracked,
    });
    return await withXmlFile(
      checkpoint,
      async (second) => await scope.virsh.run([...args, path, '--checkpointxml', second]),
    );
  });
}

function trackedDisks({ disks }: Backup): string[] {
  return disks.filter(({ untracked }) => untracked === undefined).map(({ name }) => name);
}

function begun(backup: Backup): Snapshot {
  const { parts, domain, request, folder, needs } = backup;
  const { socketPath } = folder;
  const { scratchDir } = request;
  const { uuid, vm } = domain;
  const watch = watchBackup({ ...parts, uuid, vmName: vm.name, socketPath, scratchDir, needs });
  let shown: Promise<readonly SnapshotDisk[]> | undefined;
  let released: Promise<void> | undefined;
  return {
    disks: async ({ signal = request.signal } = {}) => await (shown ??= readDisks(backup, signal)),
    lost: watch.lost,
    release: async (outcome) => {
      released ??= watch.stop().then(async () => await release(backup, outcome));
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

async function release(backup: Backup, outcome: 'committed' | 'failed'): Promise<void> {
  const { parts, domain, folder } = backup;
  try {
    await endBackup(parts, domain.uuid);
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
