/**
 * What may come next on a command line that is being typed: commands and options from their declarations, names from
 * the service. Says nothing where it cannot be told quickly: completion must never hang or complain.
 */
import type { Command, Option } from 'commander';
import type { Surroundings } from '../surroundings.ts';
import { isNameKind, namesOf, type NameKind } from './service-names.ts';

type Place = {
  readonly command: Command;
  /** Arguments before the word, without options. */
  readonly operands: readonly string[];
  readonly options: ReadonlyMap<string, string>;
  /** Whose value the word is. */
  readonly option: Option | undefined;
};

/** Commands that work without the service: their names are others. */
const PLUMBING: ReadonlySet<string> = new Set([
  'repo',
  'tour',
  'serve',
  'env',
  'start',
  'completion',
]);

/** @param words what follows `holdfast`, the last one being typed, perhaps empty. */
export async function complete(
  program: Command,
  words: readonly string[],
  surroundings: Surroundings,
): Promise<readonly string[]> {
  const typed = words.at(-1) ?? '';
  const place = placeOf(program, words.slice(0, -1));
  const candidates = await candidatesAt(place, typed, surroundings);
  return [...new Set(candidates)].filter((word) => word.startsWith(typed));
}

async function candidatesAt(
  place: Place,
  typed: string,
  surroundings: Surroundings,
): Promise<readonly string[]> {
  const { command, operands, option } = place;
  if (option !== undefined) {
    if (option.argChoices !== undefined) return option.argChoices;
    return await named(place, valueNameOf(option), surroundings);
  }
  if (typed.startsWith('-')) {
    return command
      .createHelp()
      .visibleOptions(command)
      .flatMap(({ long }) => long ?? []);
  }
  const subcommands = command
    .createHelp()
    .visibleCommands(command)
    .map((one) => one.name());
  if (subcommands.length > 0 && operands.length === 0) return subcommands;
  const argument = command.registeredArguments[operands.length];
  if (argument?.argChoices !== undefined) return argument.argChoices;
  return argument === undefined ? [] : await named(place, argument.name(), surroundings);
}

async function named(
  { command, operands, options }: Place,
  kind: string,
  surroundings: Surroundings,
): Promise<readonly string[]> {
  const isOfService =
    !PLUMBING.has(topOf(command)) && !options.has('connect') && !options.has('repo');
  if (!isOfService || !isNameKind(kind)) return [];
  const of = { vault: options.get('vault'), vm: operands[0] };
  return await namesOf(kind satisfies NameKind, { ...of, data: options.get('data') }, surroundings);
}

/** Follows the words as far as they are commands, options and their values. */
function placeOf(program: Command, words: readonly string[]): Place {
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

/** `--vault <vault>` → `vault` */
function valueNameOf({ flags }: Option): string {
  return /<([^>]+)>/.exec(flags)?.[1] ?? '';
}

function topOf(command: Command): string {
  const { parent } = command;
  return parent === null || parent.parent === null ? command.name() : topOf(parent);
}
