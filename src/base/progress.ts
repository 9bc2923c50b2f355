/** How long work reports its progress: plain numbers, pushed to whoever shows them. */

export type Progress = {
  /** What is being done, a verb phrase: "backing up vda". */
  readonly phase: string;
  readonly doneBytes: number;
  /** Undefined while not known. */
  readonly totalBytes?: number;
};

export type ProgressListener = (progress: Progress) => void;
