/** What the main thread and the worker threads of a backup ask of each other. Plain data only. */
import type { DiskSpec } from '#disk';
import type {
  DamagedCopy,
  IndexViewData,
  SealedPack,
  SessionThreadData,
  WaitingFrames,
} from '#repository';
import type { AuditBatch, AuditBatchResult, UnitBatch, UnitBatchResult } from './unit-job.ts';

export type DamagedPlace = Pick<DamagedCopy, 'pack' | 'frame'>;

export type BeginData = {
  readonly session: SessionThreadData;
  readonly disks: readonly DiskSpec[];
  /** As `newDoneCount`. */
  readonly done: SharedArrayBuffer;
};

/** Handlers of the worker. */
export type BackupWorkerCalls = {
  readonly begin: (data: BeginData) => Promise<void>;
  readonly backUp: (batch: UnitBatch) => Promise<UnitBatchResult>;
  readonly audit: (batch: AuditBatch) => Promise<AuditBatchResult>;
  /** As `SessionThread.flush`; no other call is under way. */
  readonly flush: (options: { readonly sealAll: boolean }) => Promise<WaitingFrames>;
  readonly renew: (view: IndexViewData) => Promise<void>;
  readonly avoid: (copies: readonly DamagedPlace[]) => void;
  /** Makes what is under way, and all that follows, fail with `Cancelled`; not `flush` and `close`. */
  readonly stop: (reason: undefined) => void;
  readonly close: (reason: undefined) => Promise<void>;
};

/** Handlers of the main thread. */
export type BackupMainCalls = {
  readonly sealed: (pack: SealedPack) => void;
  readonly damaged: (copy: DamagedPlace) => void;
  readonly view: (reason: undefined) => Promise<IndexViewData>;
  /** The worker has opened the view that it was given last. */
  readonly viewOpened: (reason: undefined) => Promise<void>;
};
