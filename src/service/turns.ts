/** Work that goes on under the same key comes one after another, in the order of arrival. */

export type Turns = <Result>(key: string, work: () => Promise<Result>) => Promise<Result>;

export function takeTurns(): Turns {
  const last = new Map<string, Promise<unknown>>();
  return async (key, work) => {
    const before = last.get(key) ?? Promise.resolve();
    const turn = before.then(work);
    const ended = turn.catch(() => undefined); // Its caller has the error.
    last.set(key, ended);
    try {
      return await turn;
    } finally {
      if (last.get(key) === ended) last.delete(key);
    }
  };
}
