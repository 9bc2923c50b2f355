/**
 * For work whose failure is thrown to whoever waits for it, now or later: where nobody does, it must not end the process
 * as an unhandled one. Nothing is swallowed: who awaits the promise has its failure.
 *
 * @returns the same promise.
 */
export function toldElsewhere<Result>(work: Promise<Result>): Promise<Result> {
  void Promise.allSettled([work]);
  return work;
}
