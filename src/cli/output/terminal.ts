/**
 * Where a command's output goes: its result on standard output (for people, or one JSON document with
 * `--json`), everything else on standard error.
 */
import type { ProgressListener } from '#base';
import type { Surroundings } from '../surroundings.ts';
import { oneLine } from './one-line.ts';
import { ProgressLine } from './progress-line.ts';

export class Terminal {
  readonly isJson: boolean;
  readonly #surroundings: Surroundings;
  readonly #progress: ProgressLine | undefined;

  constructor(surroundings: Surroundings, options: { readonly isJson: boolean }) {
    const { clock, stderr } = surroundings;
    this.isJson = options.isJson;
    this.#surroundings = surroundings;
    const isTerminal = stderr.isTTY;
    if (options.isJson && !isTerminal) return;
    this.#progress = new ProgressLine({
      clock,
      write: (text) => stderr.write(text),
      isTerminal,
      columns: () => stderr.columns,
    });
  }

  /** Takes the progress of an operation; undefined where none is shown. */
  get onProgress(): ProgressListener | undefined {
    return this.#progress?.report;
  }

  /** Shows on a terminal what is going on before there is progress to show. */
  announce(phase: string): void {
    this.#progress?.announce(phase);
  }

  /** The command's result: `value` as the JSON document, or what `text` makes for people. */
  result(value: unknown, text: () => string): void {
    this.clearProgress();
    const shown = this.isJson ? JSON.stringify(value, toMilliseconds) : text();
    if (shown !== '') this.#surroundings.stdout.write(`${shown}\n`);
  }

  /** For people, beside the result. */
  readonly note = (text: string): void => {
    this.clearProgress();
    this.#surroundings.stderr.write(`${text}\n`);
  };

  readonly warn = (text: string): void => {
    this.note(`holdfast: warning: ${oneLine(text)}`);
  };

  clearProgress(): void {
    this.#progress?.clear();
  }
}

/** For `JSON.stringify`: durations say no more than was measured. */
function toMilliseconds(name: string, value: unknown): unknown {
  if (typeof value !== 'number') return value;
  if (name.endsWith('Ms')) return Math.round(value);
  return /seconds$/i.test(name) ? Math.round(value * 1000) / 1000 : value;
}
