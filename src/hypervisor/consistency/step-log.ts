/** The steps of quiescing one guest, gathered for the result and told as they end. */
import type { Clock } from '#base';
import type { QuiesceStep } from '../quiesce.ts';

type Ended = Pick<QuiesceStep, 'outcome' | 'message'> & {
  readonly code?: string;
  /** When it ended, where that was before now. */
  readonly endedMs?: number;
};

export class StepLog {
  readonly steps: QuiesceStep[] = [];
  readonly #clock: Clock;
  readonly #warn: (message: string) => void;
  readonly #onStep: ((step: QuiesceStep) => void) | undefined;

  constructor(options: {
    readonly clock: Clock;
    readonly warn: (message: string) => void;
    readonly onStep?: ((step: QuiesceStep) => void) | undefined;
  }) {
    this.#clock = options.clock;
    this.#warn = options.warn;
    this.#onStep = options.onStep;
  }

  /** Now, for `end`. */
  begin(): number {
    return this.#clock.monotonicMs();
  }

  /** A failed step is a warning too. */
  end(name: string, begunMs: number, ended: Ended): void {
    const { endedMs = this.#clock.monotonicMs(), ...rest } = ended;
    const step: QuiesceStep = { name, durationMs: Math.max(0, endedMs - begunMs), ...rest };
    this.steps.push(step);
    this.#onStep?.(step);
    const code = ended.code === undefined ? '' : ` [${ended.code}]`;
    if (ended.outcome === 'failed') this.#warn(`${name}: ${ended.message}${code}`);
  }

  succeeded(name: string, begunMs: number, message: string): void {
    this.end(name, begunMs, { outcome: 'succeeded', message });
  }

  skipped(name: string, message: string): void {
    this.end(name, this.begin(), { outcome: 'skipped', message });
  }

  failed(name: string, begunMs: number, failure: { code: string; message: string }): void {
    this.end(name, begunMs, { outcome: 'failed', ...failure });
  }
}
