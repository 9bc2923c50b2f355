/** What a backup is asked for, what it gives, and what its parts share while it runs. */
import type { Clock, ProgressListener } from '#base';
import type { BackupSession, Repository } from '#repository';
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
  readonly signal?: AbortSignal;
  readonly onProgress?: ProgressListener;
  /** Told in one line of what went wrong and did not stop the backup. */
  readonly warn?: (message: string) => void;
  readonly threads?: number;
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
  }[];
  readonly seconds: number;
};

/** What one run of a backup is made of. */
export type BackupRun = {
  readonly request: BackupRequest;
  readonly session: BackupSession;
  readonly crew: BackupCrew;
  readonly sources: readonly BackupSource[];
  readonly results: DiskResults;
  readonly done: SharedArrayBuffer;
  /** Copies that threads could not read. */
  readonly damaged: DamagedPlace[];
};
