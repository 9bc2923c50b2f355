/** Which command a line is about, as far as it is typed: for completion, and for whoever typed it wrongly. */
import type { Command, Option } from 'commander';

export type TypedCommand = {
  readonly command: Command;
  /** Arguments, without options. */
  readonly operands: readonly string[];
  readonly options: ReadonlyMap<string, string>;
  /** Whose value comes next. */
  readonly option: Option | undefined;
};

/** Follows the words as far as they are commands, options and their values; whether they are right does not matter. */
export function typedCommand(program: Command, words: readonly string[]): TypedCommand {
  let command = program;
  let option: Option | undefined;
  const operands: string[] = [];
  const options = new Map<string, string>();
  for (const word of words) {
    if (option !== undefined) {
      options.set(option.attributeName(), word);
      option = undefined;
    } else if (word.startsWith('-')) {
      const [name = '', value] = word.split('=', 2);
      const known = command.options.find(({ long, short }) => long === name || short === name);
      if (value !== undefined && known !== undefined) options.set(known.attributeName(), value);
      else if (known?.required === true) option = known;
    } else {
      const inner = operands.length === 0 ? subcommandOf(command, word) : undefined;
      if (inner === undefined) operands.push(word);
      else command = inner;
    }
  }
  return { command, operands, options, option };
}

function subcommandOf(command: Command, word: string): Command | undefined {
  return command.commands.find((one) => one.name() === word || one.aliases().includes(word));
}
