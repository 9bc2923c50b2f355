/** Names that end in a number: `log/<20 digits>`, `checkpoint/<20 digits>`. */

import assert from 'node:assert/strict';

const DIGITS = 20;

/** @param folder with its slash: `log/`. */
export function numberedName(folder: string, number: number): string {
  assert(Number.isSafeInteger(number) && number >= 0, `not an object number: ${number}`);
  return folder + String(number).padStart(DIGITS, '0');
}

/**
 * The number in a name of that folder, undefined for any other name. Above 2^53 it is inexact, which
 * comparing it with a real one survives.
 */
export function numberInName(folder: string, name: string): number | undefined {
  if (!name.startsWith(folder)) return undefined;
  const digits = name.slice(folder.length);
  return digits.length === DIGITS && /^\d+$/.test(digits) ? Number(digits) : undefined;
}
