/** What the backup of a VM is asked for, what it gives, and what its phases share. */
import type { Clock, ProgressListener } from '#base';
import type { Consistency, Hypervisor, PreparedBackup, QuiesceStep, Vm } from '#hypervisor';
import type { Repository } from '#repository';
import type { GuestLoadLimit } from './guest-wait.ts';
import type { SharedInstant } from './shared-instant.ts';
import type { KnownBases } from './tracking-bases.ts';
import type { VmContact } from './vm-contact.ts';
import type { DiskTracking } from './vm-note.ts';

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
  /** Above it the backup waits before it begins (R44); absent, or without `quiesces`: the guest's load does not matter. */
  readonly guestLoad?: GuestLoadLimit;
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

/** What one backup goes on with from step to step. */
export type Run = {
  readonly request: VmBackupRequest;
  readonly contact: VmContact;
  readonly vm: Vm;
  readonly item: string;
  readonly point: string;
  readonly known: KnownBases;
  readonly prepared: PreparedBackup;
  /** Undefined: the VM is backed up alone. */
  readonly shared: SharedInstant | undefined;
};
