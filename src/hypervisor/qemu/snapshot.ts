/** A snapshot of a VM of QEMU: taken, read over NBD or where it was pushed, watched, released. */
import { HoldfastError, isHoldfastError, throwIfCancelled } from '#base';
import { formatNbdUri, type NbdClient } from '#disk';
import type { Snapshot, SnapshotDisk } from '../hypervisor.ts';
import { whileAtRest } from './at-rest.ts';
import type { Backup, Mechanism } from './backup.ts';
import { keepNewBitmaps, restoreOldBitmaps } from './bitmaps.ts';
import { changedExtents, connectExport } from './changes.ts';
import { exportDisks, savedName, startServer, takeInstant } from './instant.ts';
import { followPush } from './push.ts';
import { addScratch } from './scratch.ts';
import { removeTraces } from './traces.ts';
import { watchSnapshot } from './watch.ts';

type Outcome = 'committed' | 'failed';

/**
 * Takes the snapshot; the scratch nodes for `mechanism` are there. Where a device does not take the filter,
 * a job takes its place.
 *
 * @throws {HoldfastError} with everything undone, the scratch folder too.
 */
export async function takeSnapshot(backup: Backup, mechanism: Mechanism): Promise<Snapshot> {
  try {
    return await attempt(backup, mechanism);
  } catch (error) {
    if (
      mechanism === 'filter' &&
      isRefusedDrive(error) &&
      backup.request.signal?.aborted !== true
    ) {
      await undo(backup, error);
      backup.request.warn(
        `a backup job is used, QEMU takes no filter: ${(error as Error).message}`,
      );
      await addScratch(backup, 'job');
      await startServer(backup);
      return await takeSnapshot(backup, 'job');
    }
    try {
      await undo(backup, error);
    } finally {
      await backup.folder.close();
    }
    throw error;
  }
}

async function attempt(backup: Backup, mechanism: Mechanism): Promise<Snapshot> {
  const { signal, atRest } = backup.request;
  throwIfCancelled(signal);
  if (atRest === undefined) {
    await takeInstant(backup, mechanism);
  } else {
    await whileAtRest(backup, async () => {
      await takeInstant(backup, mechanism);
      await atRest();
    });
  }
  if (mechanism === 'push') return snapshotOf(backup, followPush(backup));
  return snapshotOf(backup, heldForReading(backup, mechanism));
}

/** The disks are shown when they are asked for: while the guest may be frozen nothing is done but the instant. */
function heldForReading(backup: Backup, mechanism: 'filter' | 'job'): Held {
  const clients: NbdClient[] = [];
  const watch = watchSnapshot({ backup, mechanism, clients });
  const show = async (signal = backup.request.signal): Promise<SnapshotDisk[]> => {
    throwIfCancelled(signal);
    await exportDisks(backup, mechanism);
    const disks: SnapshotDisk[] = [];
    for (const one of backup.disks) {
      throwIfCancelled(signal);
      const client = await connectExport(backup, one);
      clients.push(client);
      const { name, sizeBytes } = one.prepared;
      const location = locationOf(backup, name);
      const saved = mechanism === 'filter' ? { saved: locationOf(backup, savedName(name)) } : {};
      const dirty = await changedExtents(client, one);
      disks.push({ name, sizeBytes, location, ...saved, dirty });
    }
    return disks;
  };
  let shown: Promise<readonly SnapshotDisk[]> | undefined;
  return {
    disks: async ({ signal } = {}) => await (shown ??= show(signal)),
    lost: watch.lost,
    stop: async () => {
      await watch.stop();
      await shown?.catch(() => {}); // Whoever asked for the disks has its failure.
      for (const client of clients) await client.close();
    },
  };
}

function locationOf({ folder }: Backup, exportName: string): string {
  return formatNbdUri({ endpoint: { path: folder.socketPath }, exportName });
}

type Held = Pick<Snapshot, 'disks' | 'lost'> & {
  /** On return nothing is read or watched any more. */
  stop(): Promise<void>;
};

function snapshotOf(backup: Backup, held: Held): Snapshot {
  let released: Promise<void> | undefined;
  const release = async (outcome: Outcome): Promise<void> => {
    await held.stop();
    try {
      if (backup.qmp.isOpen) await end(backup, outcome);
    } catch (error) {
      if (!backup.qmp.isGone) throw error;
    } finally {
      await backup.folder.close();
    }
  };
  return {
    disks: async (waiting) => await held.disks(waiting),
    lost: held.lost,
    release: async (outcome) => {
      released ??= release(outcome);
      await released;
    },
  };
}

async function end(backup: Backup, outcome: Outcome): Promise<void> {
  await removeTraces(backup);
  await (outcome === 'committed' ? keepNewBitmaps(backup) : restoreOldBitmaps(backup));
}

function isRefusedDrive(error: unknown): boolean {
  return isHoldfastError(error, 'HypervisorFailed') && error.details['command'] === 'qom-set';
}

/** @throws {HoldfastError} `HypervisorFailed` where that fails too, with the first reason as its cause. */
async function undo(backup: Backup, reason: unknown): Promise<void> {
  try {
    if (!backup.qmp.isOpen) return;
    await removeTraces(backup);
    await restoreOldBitmaps(backup);
  } catch (error) {
    if (backup.qmp.isGone) return;
    throw new HoldfastError(
      'HypervisorFailed',
      `the snapshot failed (${(reason as Error).message}), and not all of it could be undone: ` +
        `${(error as Error).message}. The next backup of the VM tries again`,
      { cause: reason },
    );
  }
}
