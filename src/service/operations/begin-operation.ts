/** Operations whose work goes on after the request was accepted, and what becomes of them when the service ends. */
import { isHoldfastError } from '#base';
import type { RecordParts } from '../record-parts.ts';
import { finishOperation, startOperation, type NewOperation } from './operations.ts';

/** Work that must have ended before the catalogue closes. */
export type Underway = {
  readonly add: (work: Promise<void>) => void;
  /** When all that was added, until then too, has ended. */
  readonly ended: () => Promise<void>;
};

export function watchUnderway(): Underway {
  const running = new Set<Promise<void>>();
  return {
    add: (work) => {
      const ended = work.finally(() => running.delete(ended));
      running.add(ended);
    },
    ended: async () => {
      while (running.size > 0) await Promise.all(running);
    },
  };
}

/** @returns the operation's id at once; `work` runs on, and its failure is the operation's. */
export async function beginOperation(
  parts: RecordParts & { readonly underway: Underway },
  operation: NewOperation,
  work: () => Promise<void>,
): Promise<string> {
  const { catalogue, log } = parts;
  const id = await catalogue.change(async (change) => startOperation(parts, change, operation));
  const whole = async (): Promise<void> => {
    let failure: { readonly code: string; readonly message: string } | undefined;
    try {
      await work();
    } catch (error) {
      failure = isHoldfastError(error)
        ? { code: error.code, message: error.message }
        : { code: 'InternalServerError', message: `The service failed at it: ${String(error)}` };
    }
    await catalogue.change(async (change) => finishOperation(parts, change, { id, failure }));
  };
  parts.underway.add(
    whole().catch((error: unknown) => {
      // The next start ends it.
      log.error({ operation: id, error: String(error) }, 'an operation could not be ended');
    }),
  );
  return id;
}

/** Nobody works any more at what an earlier run of the service had begun. */
export async function endAbandonedOperations(parts: RecordParts): Promise<void> {
  await parts.catalogue.change(async (change) => {
    const open = change.selectFrom('operations').select('id').where('endedAt', 'is', null);
    const failure = { code: 'Cancelled', message: 'The service ended meanwhile: ask again.' };
    for (const { id } of await open.execute())
      await finishOperation(parts, change, { id, failure });
  });
}
