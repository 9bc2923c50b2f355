import { type FakeClock, toldElsewhere } from '#base';

/** Time passes only while the event loop turns, so that a slow machine changes nothing. */
export async function driven<T>(clock: FakeClock, work: Promise<T>): Promise<T> {
  let isOver = false;
  const ended = work.finally(() => {
    isOver = true;
  });
  void toldElsewhere(ended); // Given to the caller below.
  while (!isOver) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(10);
  }
  return await ended;
}
