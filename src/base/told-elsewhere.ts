/**
 * For work whose failure is thrown to whoever waits for it, now or later: where nobody does, it must not end the process
 * as an unhandled one.
 *
 * @returns the same promise.
 */
export function toldElsewhere<Result>(work: Promise<Result>): Promise<Result> {
  work.catch(() => {}); // Those who wait have a branch of their own, which fails.
  return work;
}
