/** Waiting that ends at once when it is cancelled. */
import { HoldfastError, throwIfCancelled } from './errors.ts';
import { toldElsewhere } from './told-elsewhere.ts';

/**
 * What `work` gives, or at an abort `Cancelled` without waiting for it; it goes on, and nobody sees how it ends. For
 * work that leaves nothing to undo.
 *
 * @throws {HoldfastError} `Cancelled`; and what `work` throws.
 */
export async function orCancelled<Result>(
  work: Promise<Result>,
  signal: AbortSignal | undefined,
): Promise<Result> {
  if (signal === undefined) return await work;
  void toldElsewhere(work); // Once cancelled, nobody asks.
  throwIfCancelled(signal);
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void =>
    reject(new HoldfastError('Cancelled', 'cancelled', { cause: signal.reason }));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
