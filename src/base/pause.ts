/** Waiting in a loop that looks at its signal itself. */
import type { Clock } from './clock.ts';

/** Waits `durationMs`, or until the signal is aborted if that is before: whoever calls looks at it then. */
export async function pause(
  clock: Clock,
  durationMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const isAborted = (): boolean => signal?.aborted === true;
  if (isAborted()) return;
  try {
    await clock.sleep(durationMs, signal);
  } catch (error) {
    if (!isAborted()) throw error;
  }
}
