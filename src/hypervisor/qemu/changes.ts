/** What a disk's bitmap says was written, read over NBD. */
import type { Clock } from '#base';
import { ExtentCollector, NbdClient, type Extent } from '#disk';
import { HoldfastError } from '#base';
import type { Backup, BackupDisk } from './backup.ts';

const DIRTY = 1;

/** A client of a disk's export, which can tell its changes; not made again when lost. */
export async function connectExport(backup: Backup, disk: BackupDisk): Promise<NbdClient> {
  const contexts = disk.base === undefined ? [] : [contextOf(disk.base)];
  return await NbdClient.connect({
    address: { endpoint: { path: backup.folder.socketPath }, exportName: disk.disk.name },
    clock: backup.clock satisfies Clock,
    contexts,
    reconnectAttempts: 0,
  });
}

/**
 * @returns what may have changed since the bitmap began, ascending, in at most about a million extents (where
 *   there are more, small gaps count as changed); undefined without a bitmap.
 */
export async function changedExtents(
  client: NbdClient,
  { disk, base }: BackupDisk,
): Promise<readonly Extent[] | undefined> {
  if (base === undefined) return undefined;
  if (!client.hasContext(contextOf(base))) {
    throw new HoldfastError(
      'HypervisorFailed',
      `QEMU does not show the bitmap ${base} of ${disk.name}`,
    );
  }
  const changed = new ExtentCollector();
  const whole = { offset: 0, length: client.sizeBytes };
  for await (const { offset, length, flags } of client.statuses(contextOf(base), whole)) {
    if ((flags & DIRTY) !== 0) changed.add({ offset, length });
  }
  return changed.extents();
}

function contextOf(bitmap: string): string {
  return `qemu:dirty-bitmap:${bitmap}`;
}
