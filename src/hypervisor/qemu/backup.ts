/** What the steps of one backup of a VM of QEMU share. */
import type { Clock } from '#base';
import type { PrepareRequest, PreparedDisk } from '../hypervisor.ts';
import type { QmpClient } from '../qmp/qmp-client.ts';
import type { QemuDisk } from './block-layer.ts';
import type { DiskNames } from './names.ts';
import type { ScratchFolder } from './scratch-folder.ts';
import type { StandStillGuard } from './stand-still.ts';

/**
 * How the instant is held, until it is read: from QEMU's NBD server, or where it is pushed from its copy.
 *
 * - `filter`: a copy-before-write filter between device and disk. If its scratch image is full, the snapshot
 *   is lost and the guest writes on.
 * - `job`: a backup job (sync=none), where QEMU is older than 7.1 or the device cannot be given another node.
 *   If its scratch image is full, QEMU stops the guest: it must be watched.
 * - `push`: a backup job that copies what is needed into the scratch image, which is read when it has ended. For
 *   disks that QEMU must not show over NBD (`io-thread.ts`). Watched like `job` until it has ended.
 */
export type Mechanism = 'filter' | 'job' | 'push';

export type BackupDisk = {
  readonly disk: QemuDisk;
  readonly names: DiskNames;
  readonly prepared: PreparedDisk;
  /** The bitmap that the changes are read from. */
  readonly base: string | undefined;
  /** The bitmap that is begun. */
  readonly next: { readonly name: string; readonly persistent: boolean } | undefined;
};

export type Backup = {
  readonly qmp: QmpClient;
  readonly clock: Clock;
  readonly request: PrepareRequest;
  readonly folder: ScratchFolder;
  readonly disks: readonly BackupDisk[];
  /** There if the VM will stand still for the instant. */
  readonly guard: StandStillGuard | undefined;
};
