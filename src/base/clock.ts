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
  #sleepers: { readonly atMs: number; readonly wake: () => void }[] = [];

  constructor(nowMs = Date.UTC(2026, 0, 1)) {
    this.#nowMs = nowMs;
  }

  readonly nowMs = (): number => this.#nowMs;
  readonly monotonicMs = (): number => this.#nowMs;

  readonly sleep = (durationMs: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      this.#sleepers.push({ atMs: this.#nowMs + durationMs, wake: resolve });
    });

  /** Moves time forward and wakes every sleeper whose time has come. */
  advance(durationMs: number): void {
    this.#nowMs += durationMs;
    const due = this.#sleepers.filter((sleeper) => sleeper.atMs <= this.#nowMs);
    this.#sleepers = this.#sleepers.filter((sleeper) => sleeper.atMs > this.#nowMs);
    for (const sleeper of due) sleeper.wake();
  }
}
