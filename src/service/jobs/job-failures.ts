/** What jobs fail with by the runner's own doing, and why some cannot be cancelled. */
import { HoldfastError, isHoldfastError } from '#base';
import type { JobFailure } from './job-records.ts';

/** R45's words. */
export function notCancellable(why: string): HoldfastError {
  return new HoldfastError(
    'UserErrorJobNotCancellable',
    `The job isn't in a cancelable state: ${why}.`,
  );
}

export function interrupted(attempt: number): HoldfastError {
  return new HoldfastError(
    'JobInterrupted',
    `The service ended ${attempt} times while the job ran, without an end of the job.`,
  );
}

export function failureOf(error: unknown): JobFailure {
  if (isHoldfastError(error)) return { code: error.code, message: error.message };
  return { code: 'InternalError', message: `Holdfast has a fault: ${String(error)}` };
}
