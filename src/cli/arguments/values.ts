/** Values of options as commander parses them; what is wrong is its usage error, which names the option. */
import { InvalidArgumentError } from 'commander';

/** A whole number from 0. */
export function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('write a whole number.');
}

/** A whole number from 1. */
export function numberFromOne(text: string): number {
  if (/^0*[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('write a whole number from 1.');
}

/** `0,2,3`; repeated ones add to it. */
export function lunList(text: string, previous: readonly number[] = []): readonly number[] {
  const luns = text.split(',').map((part) => part.trim());
  if (luns.some((part) => !/^\d{1,4}$/.test(part))) {
    throw new InvalidArgumentError('write LUNs, as 0,2,3.');
  }
  return [...new Set([...previous, ...luns.map(Number)])];
}

/** `90m`, `12h` or `2d`, in minutes. */
export function minutes(text: string): number {
  const [, count, unit = ''] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  const factor = { m: 1, h: 60, d: 24 * 60 }[unit];
  if (Number(count) === 0) throw new InvalidArgumentError('write a time of at least a minute.');
  if (factor !== undefined) return Number(count) * factor;
  throw new InvalidArgumentError('write a time, as 90m, 12h or 2d.');
}

/** `2026-11` */
export function month(text: string): string {
  if (/^[12]\d{3}-(0[1-9]|1[0-2])$/.test(text)) return text;
  throw new InvalidArgumentError('write a month, as 2026-11.');
}

/** `name=value`; repeated ones add to it. */
export function tag(
  text: string,
  previous: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  const at = text.indexOf('=');
  if (at > 0) return { ...previous, [text.slice(0, at)]: text.slice(at + 1) };
  throw new InvalidArgumentError('write NAME=VALUE.');
}
