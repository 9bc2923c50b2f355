/** Declares what recovery points are used for without restoring them: `holdfast boot`, `holdfast export`. */
import type { Command } from 'commander';
import { lunList, minutes } from './arguments/values.ts';
import type { Running } from './run-command.ts';
import type { BootOptions } from './service/boot.ts';
import type { ExportOptions } from './service/export.ts';
import { ofService, serviceAction } from './service/run-service-command.ts';

const VM = 'the VM, or GROUP/NAME';
const POINT = 'its id, how the id begins, or "latest"';
const ITS_VAULT = 'the vault, or GROUP/NAME (default: the one that protects it)';
const DISKS = 'only these disks, as 0,2, and the system disk';

export function addBootCommands(program: Command, running: Running): void {
  ofService(
    program
      .command('boot')
      .description('start a VM from a recovery point at once, and copy its disks while it runs'),
  )
    .argument('<vm>', VM)
    .argument('[point]', POINT, 'latest')
    .requiredOption('--as <new-name>', 'the name of the new VM')
    .option('--vault <vault>', ITS_VAULT)
    .option('--host <host>', 'on this host (default: the one of the VM)')
    .option('--network <network>', 'plugged in here (default: nowhere)')
    .option('--storage-account <account>', 'where its disks go (default: an idle one with room)')
    .option('--disks <luns>', DISKS, lunList)
    .option('--trial', 'copy nothing; Ctrl-C, or "jobs stop", discards the VM')
    .option('--no-wait', 'do not wait for the job')
    .addHelpText('after', BOOT_HELP)
    .action(
      serviceAction<BootOptions>(running, async ({ context, args, options }) => {
        const [vm, point] = args as [string, string];
        await (await import('./service/boot.ts')).bootVm(context, { vm, point }, options);
      }),
    );
  ofService(
    program
      .command('export')
      .description('show the disks of a recovery point over NBD, read-only, until Ctrl-C'),
  )
    .argument('<vm>', VM)
    .argument('[point]', POINT, 'latest')
    .option('--vault <vault>', ITS_VAULT)
    .option('--disks <luns>', DISKS, lunList)
    .option('--only-os-disk', 'only the system disk')
    .option('--for <time>', 'it ends after this time, as 90m or 2d (default: "12h")', minutes)
    .option('--no-wait', 'leave it to the service; "jobs stop" ends it')
    .action(
      serviceAction<ExportOptions>(running, async ({ context, args, options }) => {
        const [vm, point] = args as [string, string];
        await (await import('./service/export.ts')).exportPoint(context, { vm, point }, options);
      }),
    );
}

const BOOT_HELP = `
While its disks are copied the VM needs the service: it stands still while the service does not run. Ctrl-C ends
the waiting only; "jobs stop", before all is copied, discards the VM with what it wrote.`;
