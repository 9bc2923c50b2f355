/**
 * What an item may be called when it is backed up: whatever a VM may reasonably be called, and nothing that
 * looks like another name or steers a terminal. Items that a repository has already are named as they are.
 */
import { UsageError } from '../usage-error.ts';

const MAX_CHARACTERS = 200;
/** Control and invisible characters, line ends, what is not text; but for the joiners of scripts and emoji. */
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\p{Co}\ufffd]|(?![\u200c\u200d])\p{Cf}/u;

/** @throws {UsageError} naming what is wrong with it. */
export function parseItemName(text: string): string {
  if (text.trim() === '') throw new UsageError('--item is empty');
  const bad = UNSEEN.exec(text)?.[0];
  if (bad !== undefined) {
    const code = bad.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0');
    throw new UsageError(`--item contains a character that cannot be seen or read (U+${code})`);
  }
  if (text !== text.trim()) {
    throw new UsageError(`--item "${text}" begins or ends with a blank: leave it out`);
  }
  const count = Array.from(text).length;
  if (count <= MAX_CHARACTERS) return text;
  throw new UsageError(`--item has ${count} characters: at most ${MAX_CHARACTERS}`);
}
