/** Figures and Markdown tables. */
import type { Measured } from './run-command.ts';

const MEBIBYTE = 1024 ** 2;

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The value that `percent` of all do not exceed (nearest rank). */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)]!;
}

/** What `runCells` shows. */
export const RUN_COLUMNS = ['seconds (range)', 'CPU s', 'others’ cores', 'private MiB'] as const;

/** The runs as cells of a table: median seconds with their range, CPU, what disturbed them, memory. */
export function runCells(runs: readonly Measured[]): string[] {
  const seconds = runs.map((run) => run.seconds);
  return [
    `${median(seconds).toFixed(2)}${range(seconds)}`,
    median(runs.map((run) => run.cpuSeconds)).toFixed(1),
    median(runs.map((run) => run.otherCores)).toFixed(2),
    mebibytes(Math.max(...runs.map((run) => run.peakPrivateBytes))),
  ];
}

export function medianSeconds(runs: readonly Measured[]): number {
  return median(runs.map((run) => run.seconds));
}

function range(values: readonly number[]): string {
  if (values.length < 2) return '';
  return ` (${Math.min(...values).toFixed(2)}–${Math.max(...values).toFixed(2)})`;
}

export function mebibytes(bytes: number): string {
  const value = bytes / MEBIBYTE;
  return value < 100 ? value.toFixed(1) : Math.round(value).toString();
}

/** A ratio and whether it meets its target. */
export function ratio(value: number, target: { readonly most: number }): string {
  return `${value.toFixed(3)}× (${verdict(value, { most: target.most, unit: '×' })})`;
}

/** A time in ms and whether it meets its target. */
export function milliseconds(value: number, target: { readonly most: number }): string {
  return `${value.toFixed(0)} ms (${verdict(value, { most: target.most, unit: ' ms' })})`;
}

function verdict(value: number, target: { readonly most: number; readonly unit: string }): string {
  return `target ≤ ${target.most}${target.unit}: ${value <= target.most ? 'met' : 'missed'}`;
}

export function printTable(
  title: string,
  columns: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  const rule = columns.map((_, at) => (at === 0 ? '---' : '---:'));
  process.stdout.write(`\n### ${title}\n\n${line(columns)}${line(rule)}${rows.map(line).join('')}`);
}

export function printNote(text: string): void {
  process.stdout.write(`\n${text}\n`);
}

export function tell(text: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}
