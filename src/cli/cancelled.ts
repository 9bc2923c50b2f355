/** What Ctrl-C and SIGTERM end a command with: one line that says what it has left. */
import { HoldfastError, isHoldfastError } from '#base';

/** @param left in a sentence: what is there now, and what goes on with it. */
export function cancelled(left: string, cause: unknown): HoldfastError {
  return new HoldfastError('Cancelled', `cancelled: ${left}`, {
    cause,
    details: { left },
  });
}

/** Whether the command itself has said it, who knows better than its declaration. */
export function saysWhatIsLeft(error: unknown): boolean {
  return isHoldfastError(error, 'Cancelled') && error.details['left'] !== undefined;
}
