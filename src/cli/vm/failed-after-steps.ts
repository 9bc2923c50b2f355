/** A backup that failed, with what had been tried in the guest until then. */
import type { VmBackupResult } from '#backup';
import { oneLine } from '../output/one-line.ts';

export type Steps = VmBackupResult['steps'];

export class FailedAfterSteps extends Error {
  override readonly name = 'FailedAfterSteps';
  readonly steps: Steps;

  /** `cause`: the failure itself, which says what happened. */
  constructor(cause: unknown, steps: Steps) {
    super('failed after steps in the guest', { cause });
    this.steps = steps.map((step) => ({ ...step, durationMs: Math.round(step.durationMs) }));
  }
}

/** The steps that `error` or one of its causes carries; none if no guest was asked. */
export function stepsOf(error: unknown): Steps {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof FailedAfterSteps) return at.steps;
  }
  return [];
}

/** For people; of failed steps the message has been told already. */
export function describeSteps(steps: Steps): string {
  const lines = steps.map(({ name, outcome, code, message }) => {
    if (outcome === 'failed') return `${name}: failed${code === undefined ? '' : ` [${code}]`}`;
    return `${name}: ${outcome === 'skipped' ? 'skipped, ' : ''}${message}`;
  });
  return ['What was done in the guest:', ...lines.map((line) => `  ${oneLine(line)}`)].join('\n');
}
