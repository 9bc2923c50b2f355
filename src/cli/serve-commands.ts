/** The commands that run the service and point others to it. */
import type { Command } from 'commander';
import type { Running } from './run-command.ts';
import type { ServeCommandOptions } from './serving/serve.ts';

const DATA = 'the folder of the service (default: HOLDFAST_DATA, else the one of npm start)';
const DEFAULT_LISTEN = '127.0.0.1:8443';

export function addServeCommands(program: Command, { surroundings }: Running): void {
  program
    .command('serve')
    .description("run the service: vaults, policies and jobs, by Azure's API")
    .option('--data <dir>', DATA)
    .option('--listen <address:port>', 'where the API listens; port 0: a free one', DEFAULT_LISTEN)
    .option('--certificate <file>', 'your own certificate for https, PEM, its chain after it')
    .option('--key <file>', 'its private key')
    .option('--managed-identity', 'also give tokens as the managed identities of Azure do')
    .option('--json', 'print where it listens as one JSON document')
    .action(async (options: ServeCommandOptions) => {
      const { serve } = await import('./serving/serve.ts');
      await serve(surroundings, options);
    });
  program
    .command('env')
    .description('print what a shell evaluates to use the service with az: eval "$(holdfast env)"')
    .option('--data <dir>', DATA)
    .action(async (options: { readonly data?: string }) => {
      const { printEnvironment } = await import('./serving/env.ts');
      await printEnvironment(surroundings, options);
    });
}
