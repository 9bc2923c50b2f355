/** Declares `holdfast point …`: what is done with one recovery point of a VM. */
import type { Command } from 'commander';
import type { Running } from './run-command.ts';
import type { Hold, HoldOptions } from './service/held-points.ts';
import { ofService, serviceAction } from './service/run-service-command.ts';

type Options = HoldOptions & { readonly until?: string; readonly yes?: boolean };

export function addPointCommands(program: Command, running: Running): void {
  const point = program.command('point').description('pin, extend or delete a recovery point');
  const add = (hold: Hold, description: string): Command =>
    ofService(point.command(hold).description(description))
      .argument('<vm>', 'the VM, or GROUP/NAME')
      .argument('<point>', 'its id, how the id begins, or "latest"')
      .option('--vault <vault>', 'the vault, or GROUP/NAME (default: the one that protects it)')
      .action(
        serviceAction<Options>(running, async ({ context, args, options }) => {
          const { holdPoint } = await import('./service/held-points.ts');
          await holdPoint(context, hold, { ...options, vm: args[0]!, point: args[1]! });
        }),
      );
  add('pin', 'keep a recovery point until it is unpinned').option(
    '--yes',
    'do not ask, also where nobody can unpin it',
  );
  add('unpin', 'leave a recovery point to its policy again');
  add('extend', 'keep a recovery point longer than its policy does').requiredOption(
    '--until <date>',
    'as 2030-12-31, or 30d from now (needed)',
  );
  add('delete', 'delete a recovery point; its vault may keep it restorable for a while').option(
    '--yes',
    'do not ask',
  );
  add('undelete', 'bring back a recovery point that was deleted');
}
