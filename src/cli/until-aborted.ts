/** Waits for Ctrl-C, where that is the normal end. */
export async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((settle) => {
    signal.addEventListener('abort', () => settle(), { once: true });
  });
}
