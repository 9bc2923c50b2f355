/** What the server of a point asks of its worker threads. Plain data and shared memory only. */
import type { FrameOpenerData } from '#repository';

type ServeBeginData = {
  readonly repository: FrameOpenerData;
  /** The cells of the frame pool. */
  readonly cells: SharedArrayBuffer;
};

type FrameAsked = {
  readonly packId: Uint8Array;
  readonly frame: number;
  /** Where in `cells` its content goes, and how much room is there. */
  readonly offset: number;
  readonly limitBytes: number;
};

/** Handlers of the worker. */
export type ServeWorkerCalls = {
  readonly begin: (data: ServeBeginData) => Promise<void>;
  /**
   * Opens a frame and checks all its slots.
   *
   * @returns the ids of its slots, 16 bytes each; its content is in `cells`.
   */
  readonly frame: (asked: FrameAsked) => Promise<Uint8Array>;
  readonly stop: (reason: undefined) => void;
  readonly close: (reason: undefined) => Promise<void>;
};
