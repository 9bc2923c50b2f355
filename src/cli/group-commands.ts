/** Declares `holdfast group …`: VMs of a vault that are backed up at one instant. */
import type { Command } from 'commander';
import { collect, type Running } from './run-command.ts';
import type { GroupBackupOptions, GroupOptions } from './service/groups.ts';
import { ofService, serviceAction } from './service/run-service-command.ts';

const GROUP = 'the group; "group list" shows them';
const VAULT = 'the vault, or GROUP/NAME';
const ITS_VAULT = `${VAULT} (default: the one that has the group)`;

type OfVault = { readonly vault?: string };

export function addGroupCommands(program: Command, running: Running): void {
  const group = program
    .command('group')
    .description('consistency groups: VMs that are backed up at one instant');
  addChanges(group, running);
  addViews(group, running);
  ofService(
    group.command('backup').description('take recovery points of all its VMs at one instant, now'),
  )
    .argument('<consistency-group>', GROUP)
    .option('--vault <vault>', ITS_VAULT)
    .option('--expires <date>', 'keep them until then: 2026-12-31, or 30d (default: 30 days)')
    .option('--no-wait', 'do not wait for the job')
    .action(
      serviceAction<GroupBackupOptions>(running, async ({ context, args, options }) => {
        await (await import('./service/groups.ts')).backUpGroup(context, args[0]!, options);
      }),
    );
}

function addChanges(group: Command, running: Running): void {
  ofService(group.command('create').description('make a group, or change which VMs are in it'))
    .argument('<name>', 'its name')
    .requiredOption('--vm <vm>', 'a protected VM, or GROUP/NAME; repeatable', collect)
    .option('--policy <policy>', 'back it up by the schedule of this policy')
    .option('--vault <vault>', `${VAULT} (default: the only one)`)
    .addHelpText('after', CREATE_HELP)
    .action(
      serviceAction<GroupOptions>(running, async ({ context, args, options }) => {
        await (await import('./service/groups.ts')).createGroup(context, args[0]!, options);
      }),
    );
  ofService(group.command('delete').description('delete a group; its VMs stay protected'))
    .argument('<consistency-group>', GROUP)
    .option('--vault <vault>', ITS_VAULT)
    .action(
      serviceAction<OfVault>(running, async ({ context, args, options }) => {
        await (await import('./service/groups.ts')).deleteGroup(context, args[0]!, options);
      }),
    );
}

const CREATE_HELP = `
All of its points are of one instant, and all of them are taken or none. With --policy its VMs' own
schedules rest; how long each point is kept is still by the policy of its VM.`;

function addViews(group: Command, running: Running): void {
  ofService(group.command('list').description('list the groups'))
    .option('--vault <vault>', 'only those of this vault')
    .action(
      serviceAction<OfVault>(running, async ({ context, options }) => {
        await (await import('./service/groups.ts')).showGroups(context, options);
      }),
    );
  ofService(group.command('show').description('show a group and its VMs'))
    .argument('<consistency-group>', GROUP)
    .option('--vault <vault>', ITS_VAULT)
    .action(
      serviceAction<OfVault>(running, async ({ context, args, options }) => {
        await (await import('./service/groups.ts')).showGroup(context, args[0]!, options);
      }),
    );
}
