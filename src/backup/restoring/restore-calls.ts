/** What the main thread and the worker threads of a restore ask of each other. Plain data only. */
import type { TargetSpec } from '#disk';
import type { FrameOpenerData, RestoreTask } from '#repository';

export type RestoreBeginData = {
  readonly repository: FrameOpenerData;
  readonly targets: readonly TargetSpec[];
  /** As `newDoneCount`. */
  readonly done: SharedArrayBuffer;
};

/** Ranges of a disk that must read as zeros. */
export type ZeroTask = {
  readonly disk: number;
  /** Pairs of offset and length in bytes. */
  readonly ranges: Float64Array<ArrayBuffer>;
};

/** A block whose copy cannot be used: another must be found. */
export type FailedPlace = {
  readonly id: Uint8Array;
  readonly disk: number;
  readonly block: number;
};

/** Handlers of the worker. */
export type RestoreWorkerCalls = {
  readonly begin: (data: RestoreBeginData) => Promise<void>;
  /** @returns what could not be restored; failures to write may come with a later call. */
  readonly restore: (task: RestoreTask) => Promise<readonly FailedPlace[]>;
  readonly clear: (task: ZeroTask) => Promise<void>;
  /** All that was written is durable on return. @returns the bytes written, by disk. */
  readonly flush: (reason: undefined) => Promise<readonly number[]>;
  /** Makes what is under way, and all that follows, fail with `Cancelled`. */
  readonly stop: (reason: undefined) => void;
  readonly close: (reason: undefined) => Promise<void>;
};
