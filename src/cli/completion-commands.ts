/** Declares `holdfast completion`, and what its scripts ask at each key press. */
import { Argument, type Command } from 'commander';
import type { Shell } from './completion/scripts.ts';
import type { Running } from './run-command.ts';

const HELP = `
bash:  source <(holdfast completion bash)          zsh:  source <(holdfast completion zsh)
fish:  holdfast completion fish | source`;

export function addCompletionCommands(program: Command, { surroundings }: Running): void {
  program
    .command('completion')
    .description('print what a shell evaluates to complete commands, options and names')
    .addArgument(new Argument('<shell>', 'the shell').choices(['bash', 'zsh', 'fish']))
    .addHelpText('after', HELP)
    .action(async (shell: Shell) => {
      const { completionScript } = await import('./completion/scripts.ts');
      surroundings.stdout.write(completionScript(shell));
    });
  program
    .command('__complete', { hidden: true })
    .argument('[words...]')
    .allowUnknownOption()
    .helpOption(false)
    .action(async (words: readonly string[]) => {
      const { complete } = await import('./completion/complete.ts');
      const found = await complete(program, words, surroundings);
      if (found.length > 0) surroundings.stdout.write(`${found.join('\n')}\n`);
    });
}
