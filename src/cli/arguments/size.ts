/** Sizes and numbers as people write them. What is wrong is a `UsageError` that names the option. */
import { UsageError } from '../usage-error.ts';

const FACTORS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 1024,
  kib: 1024,
  m: 1024 ** 2,
  mib: 1024 ** 2,
  g: 1024 ** 3,
  gib: 1024 ** 3,
};

/** "16KiB", "64K", "1MiB", "4096": bytes. Decimal units ("16KB") are refused: nobody would mean them. */
export function parseSize(option: string, text: string): number {
  const [, digits, unit] = /^(\d+)\s*([a-z]*)$/i.exec(text.trim()) ?? [];
  const factor = unit === undefined ? undefined : FACTORS[unit.toLowerCase()];
  if (digits === undefined || factor === undefined) {
    throw new UsageError(`${option} "${text}" is not a size: write 16KiB, 64K or 1MiB`);
  }
  return Number(digits) * factor;
}

/** A whole number from 0. */
export function parseCount(option: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`${option} "${text}" is not a whole number`);
}

/** Seconds, as milliseconds. */
export function parseSeconds(option: string, text: string): number {
  if (/^\d{1,7}(\.\d+)?$/.test(text)) return Number(text) * 1000;
  throw new UsageError(`${option} "${text}" is not a number of seconds`);
}

/** "10", "12.5" or "10%": more than 0, at most 100. */
export function parsePercent(option: string, text: string): number {
  const percent = /^\d+(\.\d+)?%?$/.test(text) ? Number.parseFloat(text) : Number.NaN;
  if (percent > 0 && percent <= 100) return percent;
  throw new UsageError(`${option} "${text}" is not a percentage: write a number up to 100`);
}
