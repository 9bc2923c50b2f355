/**
 * Runs jobs: takes due rows in the order of their creation, within the limits of their queues, holds a lease on
 * each while it works, and writes how it went. One a service; `start` after the catalogue agrees with the
 * repositories.
 */
import type { Progress } from '#base';
import type { CatalogueChange } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import type { JobFailure, JobTask } from './job-records.ts';

export type JobOperation =
  | 'Backup'
  | 'ConfigureBackup'
  | 'DeleteBackupData'
  | 'DisableBackup'
  | 'Restore'
  | 'Undelete'
  /** Holdfast's own. */
  | 'Expire'
  | 'ExportDisks'
  | 'GroupBackup'
  | 'InstantBoot'
  | 'Verify';

/** Places in a queue: at most `limit` of `name` are held at once. `places` are taken together; absent: one. */
export type JobSlot = { readonly name: string; readonly limit: number; readonly places?: number };

/** What the work of one job sees. */
export type JobRun = {
  readonly job: Row<'jobs'>;
  /** Aborted by cancel, by the time limit and by the service's end; its reason says which. */
  readonly signal: AbortSignal;
  /** Waits for the slots (first come, first served), holds them while `work` runs. */
  readonly holding: <Result>(
    slots: readonly JobSlot[],
    work: () => Promise<Result>,
  ) => Promise<Result>;
  /**
   * Changes of the job as it is seen; written at once for tasks, every second for progress. The first task in
   * progress counts as a try: a job that was still in a queue when the service ended has not failed.
   */
  readonly task: (task: JobTask) => Promise<void>;
  readonly progress: (progress: Progress) => void;
  /** An empty value removes it. */
  readonly property: (name: string, value: string) => void;
  /** The job ends CompletedWithWarnings if it ends well. The same is said once. */
  readonly warn: (message: string, code?: string) => void;
  /** What was done stands, and a later try goes on from it: the tries until now count no more. Durable on return. */
  readonly settled: () => Promise<void>;
  /** Kept in the row before anything depends on it (decision 0008, invariant 3). */
  readonly setPoint: (pointId: string) => Promise<void>;
};

/** How one operation is done. Rows are looked at again after a restart: `run` must bear being run twice. */
export type JobWork = {
  readonly tasks: readonly string[];
  /** Whether a user may end it (R45). */
  readonly isCancellable: boolean;
  readonly run: (run: JobRun) => Promise<void>;
  /**
   * Asked before the job ends without success, whatever it failed by: is all that it was to make there? Then it
   * is recorded, and the job has ended well. For what is made in one place and recorded in another.
   */
  readonly isDone?: (run: JobRun) => Promise<boolean>;
  /**
   * Told that the job has failed or was cancelled for good; before its row says so, so it may come twice. What it
   * throws is logged: the job ends all the same. What it tells `run` is in the row that says so.
   */
  readonly failed?: (job: Row<'jobs'>, failure: JobFailure, run: JobRun) => Promise<void>;
};

export type JobWorks = Readonly<Partial<Record<JobOperation, JobWork>>>;

export type NewJob = {
  readonly vaultId: string;
  readonly itemId?: string;
  readonly entity: string;
  readonly operation: JobOperation;
  readonly isUserTriggered: boolean;
  readonly request: unknown;
  readonly properties?: Readonly<Record<string, string>>;
  /** Jobs that share one run one after another: `item:<id>`. */
  readonly claims?: readonly string[];
  readonly deadlineAt?: number;
};

export type JobRunner = {
  /** Adds the row within a change; it runs once that is durable. @returns the job's id. */
  readonly add: (change: CatalogueChange, job: NewJob) => Promise<string>;
  /** A job that is done already: Azure shows one for configuring, stopping, undeleting. */
  readonly addDone: (change: CatalogueChange, job: NewJob) => Promise<string>;
  /** @throws {HoldfastError} `UserErrorJobNotCancellable`-like codes for a job that has ended or cannot be cancelled. */
  readonly cancel: (vaultId: string, jobId: string, actor?: string) => Promise<void>;
  /**
   * Cancels every open job of a vault that is no more, whether a user may cancel it or not; who waits gets to his end,
   * too. @returns the ids of those that have not ended yet.
   */
  readonly cancelAll: (vaultId: string) => Promise<readonly string[]>;
  /** Voids leases of dead instances, then runs what is due, until `stop`. */
  readonly start: (works: JobWorks) => Promise<void>;
  /** Ends running work so that the next start takes it up again. */
  readonly stop: () => Promise<void>;
  /** Something became due. */
  readonly wake: () => void;
};
