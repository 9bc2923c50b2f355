/** Work that goes on beside what follows, and is waited for before the end: no failure of it is lost. */
import { toldElsewhere } from '#base';

export class Later {
  readonly #works: Promise<unknown>[] = [];

  add(work: Promise<unknown>): void {
    void toldElsewhere(work); // Thrown by `settled`.
    this.#works.push(work);
  }

  /** Waits for all that was added. @throws the first failure, when all have ended. */
  readonly settled = async (): Promise<void> => {
    const ended = await Promise.allSettled(this.#works);
    const failed = ended.find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  };
}
