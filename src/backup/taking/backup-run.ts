/** What a backup is asked for, what it gives, and what its parts share while it runs. */
import type { Clock, ProgressListener } from '#base';
import type { BackupSession, ReadyPoint, Repository } from '#repository';
import type { DamagedPlace } from './backup-calls.ts';
import type { BackupCrew } from './backup-crew.ts';
import type { BackupSource, DiskToBackUp } from './backup-source.ts';
import type { DiskResults } from './disk-results.ts';

export type BackupRequest = {
  /** Open as owner. */
  readonly repository: Repository;
  /** The name of what the disks belong to. */
  readonly item: string;
  readonly disks: readonly DiskToBackUp[];
  readonly clock: Clock;
  readonly consistency?: string;
  /** The id that the point will have; absent: made here. */
  readonly point?: string;
  /** By disk, the point that its hint counts from; absent: the newest. */
  readonly bases?: ReadonlyMap<string, string>;
  /** Of the VM, for the manifest: JSON. Asked when the disks are read, with the hints that failed. */
  readonly vm?: (hintFailures: HintFailures) => unknown;
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressListener;
  /** Told in one line of what went wrong and did not stop the backup. */
  readonly warn?: (message: string) => void;
  readonly threads?: number;
  /**
   * Given the point when all of it is stored, instead of its commit: it is not visible, and whoever is given it
   * commits it with others (`commitTogether`) or cancels it (`cancelReady`).
   */
  readonly onReady?: (point: ReadyPoint) => void;
  /** How much new data to expect, for the size of tables; default: all that is allocated. */
  readonly expectedBytes?: number;
};

export type BackupResult = {
  readonly pointId: string;
  readonly disks: readonly {
    readonly name: string;
    /** Bytes, as all that follow. */
    readonly size: number;
    /** Read from the source. */
    readonly read: number;
    /** Blocks that differ from the point before × block size. */
    readonly changed: number;
    /** Added to the repository. */
    readonly stored: number;
    /** Why the hint was not used and all of the disk compared, where one was given. */
    readonly hintFailure?: HintFailure;
  }[];
  readonly seconds: number;
};

/** `isWrong`: the hint called unchanged what had changed. */
export type HintFailure = { readonly isWrong: boolean; readonly reason: string };

/** By disk. */
export type HintFailures = ReadonlyMap<string, HintFailure>;

/** What one run of a backup is made of. */
export type BackupRun = {
  readonly request: BackupRequest;
  readonly session: BackupSession;
  readonly crew: BackupCrew;
  readonly sources: readonly BackupSource[];
  readonly results: DiskResults;
  /** Filled while plans are made. */
  readonly hintFailures: Map<string, HintFailure>;
  readonly done: SharedArrayBuffer;
  /** Copies that threads could not read. */
  readonly damaged: DamagedPlace[];
};
