/** A gate that opens when all who are awaited have come, or is closed for good. */
import { toldElsewhere } from '#base';

export class Gate {
  readonly #missing: Set<string>;
  readonly #opened = Promise.withResolvers<void>();
  readonly #onOpen: () => void;
  #isClosed = false;

  /** @param onOpen called as it opens. */
  constructor(awaited: readonly string[], onOpen: () => void = () => undefined) {
    this.#missing = new Set(awaited);
    this.#onOpen = onOpen;
    void toldElsewhere(this.#opened.promise); // Whoever comes is told.
  }

  /** Resolves when it is open, rejects when it is closed. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  /** Who has not come yet. */
  get missing(): readonly string[] {
    return [...this.#missing];
  }

  /** Comes, which counts once, and waits. @throws what it is closed with. */
  async come(who: string): Promise<void> {
    if (this.#missing.delete(who) && this.#missing.size === 0 && !this.#isClosed) {
      this.#opened.resolve();
      this.#onOpen();
    }
    await this.#opened.promise;
  }

  /** Whoever comes or waits is refused, unless it is open. */
  close(reason: unknown): void {
    this.#isClosed = true;
    this.#opened.reject(reason);
  }
}
