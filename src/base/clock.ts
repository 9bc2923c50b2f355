/**
 * Time, injected: whatever reads the time or waits takes a `Clock`. The real one is made in
 * `src/main.ts` (and in worker entry files); tests use the fake one, whose time moves only when told.
 */

export type Clock = {
  /** Wall time in milliseconds since 1970, for people and records; never for a decision to delete. */
  readonly nowMs: () => number;
  /** Monotonic milliseconds, for durations and speeds. */
  readonly monotonicMs: () => number;
  /** Resolves after `durationMs`; rejects with the signal's reason when aborted before. */
  readonly sleep: (durationMs: number, signal?: AbortSignal) => Promise<void>;
};

export class FakeClock implements Clock {
  #nowMs: number;
  readonly #startMs: number;
  /** What has passed, whatever the wall says. */
  #passedMs = 0;
  #sleepers: { readonly atMs: number; readonly wake: () => void }[] = [];

  constructor(nowMs = Date.UTC(2026, 0, 1)) {
    this.#nowMs = nowMs;
    this.#startMs = nowMs;
  }

  readonly nowMs = (): number => this.#nowMs;
  readonly monotonicMs = (): number => this.#startMs + this.#passedMs;

  readonly sleep = (durationMs: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const stop = (): void => reject(signal!.reason as Error);
      if (signal?.aborted === true) return stop();
      signal?.addEventListener('abort', stop, { once: true });
      this.#sleepers.push({ atMs: this.#passedMs + durationMs, wake: resolve });
    });

  /** Moves time forward and wakes every sleeper whose time has come. */
  advance(durationMs: number): void {
    this.#nowMs += durationMs;
    this.#passedMs += durationMs;
    const due = this.#sleepers.filter((sleeper) => sleeper.atMs <= this.#passedMs);
    this.#sleepers = this.#sleepers.filter((sleeper) => sleeper.atMs > this.#passedMs);
    for (const sleeper of due) sleeper.wake();
  }

  /** Sets the wall by so much, forward or back; no time passes. */
  jump(byMs: number): void {
    this.#nowMs += byMs;
  }
}
