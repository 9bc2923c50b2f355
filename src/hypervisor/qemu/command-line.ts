/** Reads QEMU's arguments for what it tells nowhere else. */

/** The settings of every `FLAG kind,key=value,…`; a value without a key is under its own name. */
export function settingsOf(
  commandLine: readonly string[],
  flag: string,
): readonly ReadonlyMap<string, string>[] {
  return commandLine.flatMap((argument, at) => {
    if (argument !== flag) return [];
    const options = (commandLine[at + 1] ?? '').split(',');
    return [new Map(options.map((option) => keyAndValue(option)))];
  });
}

function keyAndValue(option: string): [string, string] {
  const at = option.indexOf('=');
  return at < 0 ? [option, ''] : [option.slice(0, at), option.slice(at + 1)];
}

/** The argument after the first `flag`. */
export function valueAfter(commandLine: readonly string[], flag: string): string | undefined {
  const at = commandLine.indexOf(flag);
  return at < 0 ? undefined : commandLine[at + 1];
}
