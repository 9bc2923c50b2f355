/** What all commands of the service have in common: their options, and how they start and end. */
import type { Command } from 'commander';
import { HoldfastError, isHoldfastError } from '#base';
import type { Terminal } from '../output/terminal.ts';
import type { Running } from '../run-command.ts';
import type { Surroundings } from '../surroundings.ts';
import type { Service } from './service.ts';

export type ServiceContext = {
  readonly surroundings: Surroundings;
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
  readonly service: Service;
};

type CommonOptions = { readonly json?: boolean; readonly data?: string };

type Invocation<Options> = {
  readonly context: ServiceContext;
  /** The arguments. */
  readonly args: readonly string[];
  readonly options: Options;
};

/** Adds the options that every command of the service has. */
export function ofService(command: Command): Command {
  return command
    .option('--json', 'print the result as one JSON document')
    .option('--data <dir>', 'the data folder of the service (default: HOLDFAST_DATA)');
}

/**
 * Makes the action of a command: finds the service, runs it, and takes every error after Ctrl-C for the
 * consequence of it. `run` returns an exit code, or nothing for 0.
 */
export function serviceAction<Options>(
  running: Running,
  run: (invocation: Invocation<Options>) => Promise<number | void>,
): (...args: unknown[]) => Promise<void> {
  return async (...given) => {
    const command = given.at(-1) as Command;
    const args = command.processedArgs.flat().filter((arg) => arg !== undefined) as string[];
    const options = command.opts<Options & CommonOptions>();
    await withService(running.surroundings, options, async (context) => {
      running.exitWith((await run({ context, args, options })) ?? 0);
    });
  };
}

/** @throws {HoldfastError} `ServiceNotFound`; `Cancelled` after Ctrl-C, whatever was thrown. */
export async function withService(
  surroundings: Surroundings,
  options: CommonOptions,
  use: (context: ServiceContext) => Promise<void>,
): Promise<void> {
  const [{ findService }, { ServiceHttp }, { Service }, { Terminal }] = await Promise.all([
    import('./find-service.ts'),
    import('./service-http.ts'),
    import('./service.ts'),
    import('../output/terminal.ts'),
  ]);
  const { signal, clock, environment } = surroundings;
  const address = await findService(options.data, environment.service);
  const http = new ServiceHttp(address, () => clock.nowMs());
  const terminal = new Terminal(surroundings, { isJson: options.json === true });
  try {
    await use({ surroundings, terminal, signal, service: new Service(http, clock) });
  } catch (error) {
    if (!signal.aborted || isHoldfastError(error, 'Cancelled')) throw error;
    throw new HoldfastError('Cancelled', 'cancelled: what was begun goes on in the service', {
      cause: error,
    });
  } finally {
    terminal.clearProgress();
    http.close();
  }
}
