/** A question before something that cannot be undone. */
import { HoldfastError } from '#base';
import { canPrompt, promptLine } from '../password/prompt.ts';
import { UsageError } from '../usage-error.ts';
import type { ServiceContext } from './run-service-command.ts';

/**
 * @param what will be done: "delete the vault v1".
 * @throws {UsageError} where nobody can be asked and `--yes` was not given; {HoldfastError} `Cancelled` for a no.
 */
export async function confirm(
  { surroundings, terminal }: Pick<ServiceContext, 'surroundings' | 'terminal'>,
  what: string,
  isGiven: boolean | undefined,
): Promise<void> {
  if (isGiven === true) return;
  if (!canPrompt(surroundings)) {
    throw new UsageError(`give --yes to ${what}: there is nobody to ask`);
  }
  terminal.clearProgress();
  const answer = await promptLine(surroundings, `This will ${what}. Go on? [y/N] `);
  if (/^y(es)?$/i.test(answer.trim())) return;
  throw new HoldfastError('Cancelled', 'cancelled: nothing was changed');
}
