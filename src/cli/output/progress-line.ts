/**
 * Progress for people on standard error. On a terminal one line that is drawn over; elsewhere a line
 * every ten seconds. The speed is that of the last seconds, so that "time left" follows what happens.
 */
import type { Clock, Progress } from '#base';
import { formatBytes, formatDuration, formatSpeed } from './units.ts';

type ProgressOutput = {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly write: (text: string) => void;
  readonly isTerminal: boolean;
  /** Characters a line of the terminal has, now. */
  readonly columns: () => number;
};

type Sample = { readonly atMs: number; readonly doneBytes: number };

const REDRAW_MS = 100;
const LINE_MS = 10_000;
const SPEED_WINDOW_MS = 5_000;
/** Before that a speed says nothing. */
const FIRST_SPEED_MS = 500;
/** Of a terminal that does not tell: some consoles say 0. */
const USUAL_COLUMNS = 80;
const CLEAR_LINE = '\r\u001b[K';

export class ProgressLine {
  readonly #output: ProgressOutput;
  #phase = '';
  #samples: Sample[] = [];
  #shownMs: number;
  #isDrawn = false;

  constructor(output: ProgressOutput) {
    this.#output = output;
    this.#shownMs = output.isTerminal ? Number.NEGATIVE_INFINITY : output.clock.monotonicMs();
  }

  readonly report = (progress: Progress): void => {
    const nowMs = this.#output.clock.monotonicMs();
    this.#sample(progress, nowMs);
    if (nowMs - this.#shownMs < (this.#output.isTerminal ? REDRAW_MS : LINE_MS)) return;
    this.#shownMs = nowMs;
    const line = describe(progress, this.#speed());
    if (this.#output.isTerminal) this.#draw(line);
    else this.#output.write(`${line}\n`);
  };

  /** Shows on a terminal what is going on before the first report. */
  announce(phase: string): void {
    if (this.#output.isTerminal) this.#draw(phase);
  }

  /** Takes the line off the terminal, for other output or for good; the next report draws it again. */
  clear(): void {
    if (!this.#isDrawn) return;
    this.#isDrawn = false;
    this.#shownMs = Number.NEGATIVE_INFINITY;
    this.#output.write(CLEAR_LINE);
  }

  #draw(line: string): void {
    this.#isDrawn = true;
    const told = this.#output.columns();
    const columns = told > 0 ? told : USUAL_COLUMNS;
    this.#output.write(CLEAR_LINE + line.slice(0, Math.max(20, columns - 1)));
  }

  #sample({ phase, doneBytes }: Progress, atMs: number): void {
    const last = this.#samples.at(-1);
    if (phase !== this.#phase || (last !== undefined && doneBytes < last.doneBytes)) {
      this.#phase = phase;
      this.#samples = [];
    }
    if (last !== undefined && this.#samples.length > 0 && atMs - last.atMs < REDRAW_MS) return;
    this.#samples.push({ atMs, doneBytes });
    while (this.#samples.length > 2 && atMs - this.#samples[1]!.atMs > SPEED_WINDOW_MS) {
      this.#samples.shift();
    }
  }

  /** Bytes a second; undefined while unknown. */
  #speed(): number | undefined {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined) return undefined;
    const durationMs = last.atMs - first.atMs;
    if (durationMs < FIRST_SPEED_MS) return undefined;
    return ((last.doneBytes - first.doneBytes) * 1000) / durationMs;
  }
}

function describe(
  { phase, doneBytes, totalBytes }: Progress,
  bytesPerSecond: number | undefined,
): string {
  const parts = [phase];
  if (totalBytes === undefined) parts.push(formatBytes(doneBytes));
  else parts.push(`${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`);
  if (totalBytes !== undefined && totalBytes > 0) {
    parts.push(`${Math.floor((Math.min(doneBytes, totalBytes) * 100) / totalBytes)}%`);
  }
  if (bytesPerSecond === undefined) return parts.join('  ');
  parts.push(formatSpeed(bytesPerSecond, 1));
  if (totalBytes !== undefined && bytesPerSecond > 0 && totalBytes > doneBytes) {
    const leftSeconds = Math.ceil((totalBytes - doneBytes) / bytesPerSecond);
    parts.push(`${leftSeconds < 60 ? `${leftSeconds} s` : formatDuration(leftSeconds)} left`);
  }
  return parts.join('  ');
}
