/** A fake clock that knows who sleeps on it. */
import { FakeClock, type Clock } from '#base';

export class CountedClock implements Clock {
  readonly #clock: FakeClock;
  readonly #asleep = new Map<object, number>();

  constructor(startMs: number) {
    this.#clock = new FakeClock(startMs);
  }

  readonly nowMs = (): number => this.#clock.nowMs();
  readonly monotonicMs = (): number => this.#clock.monotonicMs();
  readonly sleep = async (durationMs: number, signal?: AbortSignal): Promise<void> => {
    const sleeper = {};
    this.#asleep.set(sleeper, durationMs);
    try {
      await this.#clock.sleep(durationMs, signal);
    } finally {
      this.#asleep.delete(sleeper);
    }
  };

  advance(ms: number): void {
    this.#clock.advance(ms);
  }

  jump(ms: number): void {
    this.#clock.jump(ms);
  }

  durations(): readonly number[] {
    return [...this.#asleep.values()];
  }

  /** How many sleep, but for so long. */
  sleeping(butFor: number): number {
    return this.durations().filter((duration) => duration !== butFor).length;
  }
}
