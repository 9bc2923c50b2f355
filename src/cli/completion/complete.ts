/**
 * What may come next on a command line that is being typed: commands and options from their declarations, names from
 * the service. Says nothing where it cannot be told quickly: completion must never hang or complain.
 */
import type { Command, Option } from 'commander';
import type { Surroundings } from '../surroundings.ts';
import { typedCommand, type TypedCommand } from '../typed-command.ts';
import { isNameKind, namesOf, type NameKind } from './service-names.ts';

/** Commands that work without the service: their names are others. */
const PLUMBING: ReadonlySet<string> = new Set([
  'repo',
  'tour',
  'serve',
  'env',
  'start',
  'completion',
]);

/** @param words what follows `holdfast`, unquoted, the last one being typed, perhaps empty. */
export async function complete(
  program: Command,
  words: readonly string[],
  surroundings: Surroundings,
): Promise<readonly string[]> {
  const typed = words.at(-1) ?? '';
  const [, option, value = ''] = /^(--[\w-]+)=(.*)$/s.exec(typed) ?? [];
  if (option !== undefined) {
    const values = await complete(program, [...words.slice(0, -1), option, value], surroundings);
    return values.map((one) => `${option}=${one}`);
  }
  const place = typedCommand(program, words.slice(0, -1));
  const candidates = await candidatesAt(place, typed, surroundings);
  return [...new Set(candidates)].filter((word) => word.startsWith(typed));
}

async function candidatesAt(
  place: TypedCommand,
  typed: string,
  surroundings: Surroundings,
): Promise<readonly string[]> {
  const { command, operands, option } = place;
  if (option !== undefined) {
    if (option.argChoices !== undefined) return option.argChoices;
    return await named(place, { kind: valueNameOf(option), typed }, surroundings);
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
  if (argument === undefined) return [];
  return await named(place, { kind: argument.name(), typed }, surroundings);
}

async function named(
  { command, operands, options }: TypedCommand,
  { kind, typed }: { readonly kind: string; readonly typed: string },
  surroundings: Surroundings,
): Promise<readonly string[]> {
  const isOfService =
    !PLUMBING.has(topOf(command)) && !options.has('connect') && !options.has('repo');
  if (!isOfService || !isNameKind(kind)) return [];
  const of = { vault: options.get('vault'), vm: operands[0] };
  const asked = { ...of, data: options.get('data'), isFull: typed.includes('/') };
  return await namesOf(kind satisfies NameKind, asked, surroundings);
}

/** `--vault <vault>` → `vault` */
function valueNameOf({ flags }: Option): string {
  return /<([^>]+)>/.exec(flags)?.[1] ?? '';
}

function topOf(command: Command): string {
  const { parent } = command;
  return parent === null || parent.parent === null ? command.name() : topOf(parent);
}
