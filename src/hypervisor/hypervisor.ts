/**
 * The contract of a hypervisor: what can be asked of QEMU, of libvirt, of a folder of images. One suite
 * (hypervisor.contract.ts) runs on each.
 *
 * ```
 *   prepare ──► PreparedBackup ──snapshot──► Snapshot ──release(committed)──► old bitmaps dropped
 *      │             └──close──► nothing was changed         └──release(failed)──► merged back
 *      └─ leftovers of a backup that died are removed, its bitmaps merged back
 * ```
 *
 * Tracking: a bitmap's name says which repository and point it starts from (`bitmap-name.ts`). It is a hint
 * about where to look, never the truth; what cannot be trusted is not offered, with the reason.
 */
import type { ProgressListener } from '#base';
import type { Extent } from '#disk';
import type { AgentChannel } from './agent/agent-channel.ts';
import type { Vm, VmDefinition } from './vm.ts';
import type { VmCreation } from './vm-creation.ts';
import type { VmTracking } from './vm-tracking.ts';

export interface Hypervisor {
  readonly kind: 'qemu' | 'libvirt' | 'images';
  /** As `--connect` was given. */
  readonly uri: string;

  /** @throws {HoldfastError} `HypervisorUnavailable`. */
  list(): Promise<readonly Vm[]>;

  /** @throws {HoldfastError} `VmNotFound`, naming those that there are; `HypervisorUnavailable`. */
  find(name: string): Promise<Vm>;

  /** Everything that the VM needs to start elsewhere. Reads only. */
  definition(name: string): Promise<VmDefinition>;

  /** The way to the VM's guest agent; undefined: it has none, or the VM does not run. The caller closes. */
  agent(name: string): Promise<AgentChannel | undefined>;

  /**
   * Checks that a backup is safe and readies it; changes nothing that the guest could notice. What a
   * backup that died left in the hypervisor is removed first.
   *
   * @throws {HoldfastError} `VmNotFound`; `VmBusy` (retryable: a migration, a block job, another backup);
   *   `DiskUnsupported` for a disk with a `refusal` that is not excluded; `DiskInUse`; `StoreFull` where the
   *   scratch folder has no room; `HypervisorUnavailable`, `HypervisorFailed`.
   */
  prepare(request: PrepareRequest): Promise<PreparedBackup>;

  /** What backups left on VMs to follow their changes. */
  readonly tracking: VmTracking;

  /** Making and starting VMs. */
  readonly creation: VmCreation;

  /** Ends connections. Idempotent. */
  close(): Promise<void>;
}

export type PrepareRequest = {
  readonly vm: string;
  /** Names of the disks to back up; absent: all. */
  readonly disks?: readonly string[];
  readonly tracking: TrackingRequest;
  /** A folder for scratch images and sockets; what is made there is removed by `release` or `close`. */
  readonly scratchDir: string;
  readonly signal?: AbortSignal;
  /**
   * Waited for when the snapshot is there: until it has ended the VM stands still, from before its instant. For an
   * instant that several VMs share. Where it fails, or the VM ran meanwhile, the snapshot does too. Of a VM that
   * runs it takes some seconds at most.
   */
  readonly atRest?: () => Promise<void>;
  /** Told in one line of what was repaired and of what is odd. */
  readonly warn: (message: string) => void;
};

export type TrackingRequest = {
  /** Hex, 32 digits: bitmaps of other repositories, and of other products, are left alone. */
  readonly repositoryId: string;
  /** The point that will be taken: new bitmaps carry its id. Decimal digits. */
  readonly point: string;
  /**
   * By disk, the points that its content may be compared with, newest first, each with the fingerprint that
   * `PreparedDisk.fingerprint` had then. No entry: the disk has no point yet.
   */
  readonly bases: ReadonlyMap<string, readonly TrackingBase[]>;
  /**
   * Points of this repository that backups under another item count from. Bitmaps that begin there stay and go
   * on recording; all others of the repository are gone after a commit, so that there is one an item at most.
   */
  readonly otherBases: ReadonlySet<string>;
  /** By disk, why no bitmap may be used this time: all of it will be compared. */
  readonly distrusted?: ReadonlyMap<string, string>;
  /**
   * By disk, why its bitmap is to be audited: where a snapshot would show only what changed, it shows all of the
   * disk, and in `dirty` what the bitmap counted.
   */
  readonly audits?: ReadonlyMap<string, string>;
  /** Bytes of a block: the granularity of bitmaps that we make. */
  readonly blockSize: number;
};

export type TrackingBase = { readonly point: string; readonly fingerprint: string | undefined };

/** How a disk's changes will be found. */
export type Tracking =
  /** By the bitmap that starts from `base`. */
  | { readonly kind: 'bitmap'; readonly base: string }
  /** By comparing everything, because no bitmap can be trusted. */
  | { readonly kind: 'compare'; readonly reason: string }
  /** There is no point to compare with. */
  | { readonly kind: 'initial' };

export type PreparedDisk = {
  readonly name: string;
  readonly sizeBytes: number;
  readonly tracking: Tracking;
  /**
   * What the image was when its bitmap began: a bitmap of an image with another fingerprint is not used.
   * Changes when the image is replaced, resized, reverted to an internal snapshot, or gets another
   * backing file; does not change by being written or by the VM being restarted.
   */
  readonly fingerprint: string;
  /** Why all of the disk is copied although its bitmap is used (`TrackingRequest.audits`); absent: it is not. */
  readonly audit?: string;
  /** Why no bitmap can be begun for the next backup; absent: one will be. */
  readonly untracked?: string;
};

export type PreparedBackup = {
  readonly vm: Vm;
  readonly disks: readonly PreparedDisk[];
  /**
   * The instant: from its return on every disk can be read as it was at one moment in it, whatever the
   * guest writes. No write falls between the old bitmap and the new one. Short: the guest may be frozen.
   *
   * @throws {HoldfastError} `HypervisorFailed`, with everything undone; `Cancelled`.
   */
  snapshot(): Promise<Snapshot>;
  /** Without a snapshot: removes what was readied. Idempotent. */
  close(): Promise<void>;
};

export type SnapshotDisk = {
  readonly name: string;
  readonly sizeBytes: number;
  /** For `prepareSource`: an NBD address, or the path of an image that nobody writes. */
  readonly location: string;
  readonly format?: string;
  /** Of a disk that QEMU shows by `snapshot-access`: see `PrepareOptions.saved`. */
  readonly saved?: string;
  /** With tracking `bitmap`: what may have changed, by then or a moment later, ascending, within the disk. */
  readonly dirty: readonly Extent[] | undefined;
  /** Only what is in `dirty` can be read: the rest was not copied, and reads as zeros. */
  readonly holdsDirtyOnly?: true;
};

export type Snapshot = {
  /**
   * The disks as they were at the instant, in the order of `PreparedBackup.disks`; asked when no guest is frozen
   * any more. Where the hypervisor has to copy them first, waits for that and tells its progress. Asked again,
   * the answer is the same.
   *
   * @throws {HoldfastError} what `lost` rejects with; `HypervisorFailed`; `Cancelled`.
   */
  disks(waiting?: {
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: ProgressListener | undefined;
  }): Promise<readonly SnapshotDisk[]>;
  /**
   * Ends the snapshot. `committed`: old bitmaps are dropped, the new ones go on. `failed`: the new ones are
   * merged back into the old ones. Nothing of ours is left in the hypervisor but the bitmaps.
   * Idempotent; what cannot be undone because the VM is gone is not an error.
   *
   * @throws {HoldfastError} `HypervisorFailed` naming what was left.
   */
  release(outcome: 'committed' | 'failed'): Promise<void>;
  /** Rejects when the snapshot is lost before `release` (VM gone, scratch full), with the reason. */
  readonly lost: Promise<never>;
};
