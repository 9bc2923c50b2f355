/** Tells what is gone or damaged from what is only out of reach at the moment. */
import { type HoldfastError, isHoldfastError } from '#base';

/** Whether `error` says that an object, block or page is gone or damaged. */
export function isLost(error: unknown): error is HoldfastError {
  return isHoldfastError(error) && (error.kind === 'corrupt' || error.kind === 'notFound');
}
