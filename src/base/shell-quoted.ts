/** Text in commands that somebody is advised to type. */

/** As one word of a POSIX shell; as it is where no shell minds it. */
export function shellQuoted(text: string): string {
  if (/^[\w@%+:,./-][\w@%+=:,./-]*$/.test(text)) return text;
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
