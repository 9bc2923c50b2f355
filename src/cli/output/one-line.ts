/** Text from outside (names, messages of tools) as one line that cannot steer a terminal. */

const CONTROL = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** Line ends become spaces, other control characters `\xNN`. */
export function oneLine(text: string): string {
  return text
    .trim()
    .replaceAll(/\s*\n\s*/g, ' ')
    .replaceAll(CONTROL, (character) => `\\x${character.codePointAt(0)!.toString(16)}`);
}
