/** What all commands on a repository have in common: their options, and how they start and end. */
import type { Command } from 'commander';
import { parseSeconds } from './arguments/size.ts';
import { cancelled, saysWhatIsLeft } from './cancelled.ts';
import type { CommonOptions, Context } from './context.ts';
import type { Surroundings } from './surroundings.ts';

export type Running = {
  readonly surroundings: Surroundings;
  /** Sets the exit code of a command that ended without an error. */
  readonly exitWith: (code: number) => void;
};

export type Invocation<Options> = {
  readonly context: Context;
  /** The arguments, REPO first. */
  readonly location: string;
  readonly rest: readonly string[];
  readonly options: Options;
};

type RunOptions = {
  /** Said when the command is cancelled, and does not say it itself (`cancelled`). */
  readonly whenCancelled?: string;
};

/** What the arguments that many commands have are. */
export const REPO = 'the folder of the repository';
export const POINT = 'a point: its id, six or more of its first digits, or "latest"';
export const ITEM = 'only points of this item';

const DEFAULT_WAIT_SECONDS = '10';
const NOTHING_LOST = 'nothing is lost, run it again';

/** Adds the options that every command on a repository has. */
export function withCommonOptions(command: Command): Command {
  return command
    .option('--json', 'print the result as one JSON document')
    .option('--password-file <file>', 'read the password from a file')
    .option('--no-encryption', 'the repository has no password')
    .option(
      '--wait <seconds>',
      'how long to wait for another command on the repository',
      DEFAULT_WAIT_SECONDS,
    );
}

/**
 * Makes the action of a command: builds its context, runs it, and takes every error after Ctrl-C for
 * the consequence of it. `run` returns an exit code, or nothing for 0.
 */
export function commandAction<Options>(
  running: Running,
  run: (invocation: Invocation<Options>) => Promise<number | void>,
  { whenCancelled = NOTHING_LOST }: RunOptions = {},
): (...args: unknown[]) => Promise<void> {
  return async (...args) => {
    const command = args.at(-1) as Command;
    const [location, ...rest] = command.processedArgs.flat() as string[];
    const options = command.opts<Options & Omit<CommonOptions, 'waitMs'> & { wait: string }>();
    const { Context } = await import('./context.ts');
    const common = { ...options, waitMs: parseSeconds('--wait', options.wait) };
    const context = new Context(running.surroundings, common, fullNameOf(command));
    const { signal } = running.surroundings;
    try {
      const exitCode = await run({ context, location: location!, rest, options });
      running.exitWith(exitCode ?? 0);
    } catch (error) {
      context.terminal.clearProgress();
      if (!signal.aborted || saysWhatIsLeft(error)) throw error;
      throw cancelled(whenCancelled, error);
    }
  };
}

/** `holdfast repo backup` */
export function fullNameOf(command: Command): string {
  const parent = command.parent;
  return parent === null ? command.name() : `${fullNameOf(parent)} ${command.name()}`;
}

/** For options that may be repeated. */
export function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}
