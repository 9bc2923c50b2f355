/**
 * The command line as a whole: which commands there are, and how each is run. A command's own code
 * is loaded only when it runs, so that `holdfast --version` loads none of the rooms below.
 */
import { Command, CommanderError } from 'commander';
import { addGroupCommands } from './group-commands.ts';
import { addKeyCommands } from './key-commands.ts';
import { addProtectionCommands } from './protection-commands.ts';
import { addRepoCommands } from './repo-commands.ts';
import { addRestoreCommands } from './restore-commands.ts';
import { addServeCommands } from './serve-commands.ts';
import { addServiceCommands } from './service-commands.ts';
import { addVaultCommands } from './vault-commands.ts';
import { addCompletionCommands } from './completion-commands.ts';
import { failureOf, usageFailure, type Failure } from './failures.ts';
import { describeSteps, stepsOf } from './vm/failed-after-steps.ts';
import { addVmCommands } from './vm-commands.ts';
import { fullNameOf } from './run-command.ts';
import { Interruption, type Surroundings } from './surroundings.ts';
import { typedCommand } from './typed-command.ts';

/**
 * Runs one command. Whatever goes wrong has been said when it returns: in one line on standard error, and
 * with `--json` as one document on standard output too.
 *
 * @param args what follows the program's name.
 * @returns the exit code: 0 done, 1 failed, 2 wrong usage, 128 + the signal's number if cancelled by one.
 */
export async function runCli(args: readonly string[], surroundings: Surroundings): Promise<number> {
  let exitCode = 0;
  const program = makeProgram(surroundings, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(withPercentAttached(args), { from: 'user' });
    return exitCode;
  } catch (error) {
    const command = fullNameOf(typedCommand(program, args).command);
    return sayFailure(error, { surroundings, command, isJson: args.includes('--json') });
  }
}

function makeProgram(surroundings: Surroundings, exitWith: (code: number) => void): Command {
  const { stdout, stderr, version } = surroundings;
  const program = new Command('holdfast')
    .description('Self-hosted backup for virtual machines')
    .version(version, '--version', 'print the version')
    .helpOption('-h, --help', 'explain a command')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      outputError: () => {},
    });
  const repo = program
    .command('repo')
    .description('back up disk images to a repository and restore them, without a server');
  const access = { surroundings, exitWith };
  addRepoCommands(repo, access);
  addRestoreCommands(repo, access);
  addKeyCommands(repo.command('key').description('the ways into a repository'), access);
  addVmCommands(
    program
      .command('vm')
      .description(
        'VMs: of the service, or of a hypervisor to back up and restore without a server',
      ),
    access,
  );
  addServeCommands(program, access);
  addServiceCommands(program, access);
  addVaultCommands(program, access);
  addProtectionCommands(program, access);
  addGroupCommands(program, access);
  addCompletionCommands(program, access);
  program
    .command('start')
    .description('run the service as npm start does: with a sample VM where there is none')
    .option('--data <dir>', 'its folder (default: HOLDFAST_DATA, else one of the user)')
    .option('--listen <address:port>', 'where the API listens', '127.0.0.1:8443')
    .action(async (options: { readonly data?: string; readonly listen: string }) => {
      const { start } = await import('./start/start.ts');
      exitWith(await start({ surroundings, options, run: runCli }));
    });
  program
    .command('tour')
    .description('back up, change, expire and restore a sample disk, and show what happens')
    .option('--keep', 'keep the folder of the tour')
    .action(async ({ keep }: { readonly keep?: boolean }) => {
      const { takeTour } = await import('./tour/tour.ts');
      const { environment } = surroundings;
      const run = (args: readonly string[], password: string): Promise<number> =>
        runCli(args, { ...surroundings, environment: { ...environment, password } });
      exitWith(await takeTour({ surroundings, keeps: keep === true, run }));
    });
  return program;
}

/**
 * `--read-data REPO` must not take the repository for its percentage: only a number that follows
 * belongs to it.
 */
function withPercentAttached(args: readonly string[]): string[] {
  const attached: string[] = [];
  for (const [index, arg] of args.entries()) {
    if (index > 0 && args[index - 1] === '--read-data' && isPercent(arg)) continue;
    const next = args[index + 1];
    if (arg !== '--read-data') attached.push(arg);
    else attached.push(`--read-data=${next !== undefined && isPercent(next) ? next : '100'}`);
  }
  return attached;
}

function isPercent(text: string): boolean {
  return /^\d+(\.\d+)?%?$/.test(text);
}

function sayFailure(
  error: unknown,
  of: { readonly surroundings: Surroundings; readonly command: string; readonly isJson: boolean },
): number {
  const { surroundings, command, isJson } = of;
  const { stdout, stderr, environment } = surroundings;
  let failure: Failure;
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    if (error.code === 'commander.help') return 2; // A group of commands without one: help was shown.
    failure = usageFailure(error.message.replace(/^error: /, ''), command);
  } else {
    failure = failureOf(error, { command, interruption: interruptionOf(surroundings) });
  }
  const { code, message, line } = failure;
  const steps = stepsOf(error);
  if (isJson) {
    const document = { error: { code, message, ...(steps.length === 0 ? {} : { steps }) } };
    stdout.write(`${JSON.stringify(document)}\n`);
  } else if (steps.length > 0) {
    stderr.write(`${describeSteps(steps)}\n`);
  }
  stderr.write(`holdfast: ${line}\n`);
  if (error instanceof CommanderError) return failure.exitCode;
  if (environment.showsStacks && error instanceof Error) stderr.write(`${stackOf(error)}\n`);
  return failure.exitCode;
}

/** Undefined as well where a question was answered with Ctrl-C: no signal comes of that. */
function interruptionOf({ signal }: Surroundings): Interruption | undefined {
  const reason: unknown = signal.reason;
  return reason instanceof Interruption ? reason : undefined;
}

function stackOf(error: Error): string {
  const { cause, stack } = error;
  return cause instanceof Error ? `${stack}\ncaused by ${stackOf(cause)}` : String(stack);
}
