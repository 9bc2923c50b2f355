/** A password that can be guessed is taken all the same: its owner may know why. An empty one never gets here. */
import type { Terminal } from '../output/terminal.ts';

const MIN_CHARACTERS = 12;

/** Warns of a new password that is short. */
export function warnOfShortPassword(terminal: Terminal, password: string): void {
  if (Array.from(password).length >= MIN_CHARACTERS) return;
  terminal.warn(
    `the password has fewer than ${MIN_CHARACTERS} characters: whoever gets the repository can guess it`,
  );
}
