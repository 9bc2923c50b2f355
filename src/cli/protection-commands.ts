/** Declares what is done with VMs by the service: `holdfast protect`, `backup`, `points`, `restore`, `jobs` … */
import { Option, type Command } from 'commander';
import { lunList, numberFromOne } from './arguments/values.ts';
import { addBootCommands } from './boot-commands.ts';
import { addPointCommands } from './point-commands.ts';
import type { Running } from './run-command.ts';
import type { BackupOptions } from './service/backup.ts';
import type { JobsOptions } from './service/jobs.ts';
import type { PointsOptions } from './service/points.ts';
import type { ProtectOptions, UnprotectOptions } from './service/protect.ts';
import type { RestoreOptions } from './service/restore.ts';
import { ofService, serviceAction } from './service/run-service-command.ts';

const VM = 'the VM, or GROUP/NAME';
const VAULT = 'the vault, or GROUP/NAME';
const ITS_VAULT = `${VAULT} (default: the one that protects it)`;
const JOB = 'the job: its id, or how the id begins';

type OfVault = { readonly vault?: string };

export function addProtectionCommands(program: Command, running: Running): void {
  addProtection(program, running);
  addEnds(program, running);
  addPoints(program, running);
  addPointCommands(program, running);
  addRestore(program, running);
  addBootCommands(program, running);
  addJobs(
    program.command('jobs').description('what the service does and did; alone: "jobs list"'),
    running,
  );
}

function addProtection(program: Command, running: Running): void {
  ofService(
    program
      .command('protect')
      .description('back a VM up by a policy, or change by which, and which disks'),
  )
    .argument('<vm>', VM)
    .option('--vault <vault>', `${VAULT} (default: the one of the policy, else the only one)`)
    .option('--policy <policy>', 'the policy (default: "DefaultPolicy")')
    .option('--exclude-lun <luns>', 'all disks but these, as 0,2', lunList)
    .option('--only-lun <luns>', 'only these, and the system disk', lunList)
    .option('--all-disks', 'all disks again')
    .action(
      serviceAction<ProtectOptions>(running, async ({ context, args, options }) => {
        await (await import('./service/protect.ts')).protectVm(context, args[0]!, options);
      }),
    );
  ofService(program.command('backup').description('take a recovery point of a protected VM now'))
    .argument('<vm>', VM)
    .option('--vault <vault>', ITS_VAULT)
    .option('--expires <date>', 'keep it until then: 2026-12-31, or 30d (default: 30 days)')
    .option('--no-wait', 'do not wait for the job')
    .action(
      serviceAction<BackupOptions>(running, async ({ context, args, options }) => {
        await (await import('./service/backup.ts')).backUpVm(context, args[0]!, options);
      }),
    );
}

function addEnds(program: Command, running: Running): void {
  ofService(program.command('unprotect').description('stop the backups of a VM'))
    .argument('<vm>', VM)
    .option('--vault <vault>', ITS_VAULT)
    .option('--retain', 'keep its points for ever')
    .option('--by-policy', 'let its points expire by the policy; the last one stays')
    .option('--delete-data', 'delete its points; with soft delete they can be brought back a while')
    .option('--yes', 'do not ask')
    .action(
      serviceAction<UnprotectOptions>(running, async ({ context, args, options }) => {
        return await (await import('./service/protect.ts')).unprotectVm(context, args[0]!, options);
      }),
    );
  ofService(
    program.command('undelete').description('bring the points of a VM back from soft delete'),
  )
    .argument('<vm>', VM)
    .option('--vault <vault>', ITS_VAULT)
    .action(
      serviceAction<OfVault>(running, async ({ context, args, options }) => {
        await (await import('./service/protect.ts')).undeleteVm(context, args[0]!, options);
      }),
    );
  ofService(
    program.command('resume').description('go on with the backups of a VM that were stopped'),
  )
    .argument('<vm>', VM)
    .option('--vault <vault>', ITS_VAULT)
    .option('--policy <policy>', 'the policy (default: the one that it had)')
    .action(
      serviceAction<OfVault & { readonly policy?: string }>(
        running,
        async ({ context, args, options }) => {
          await (await import('./service/protect.ts')).resumeVm(context, args[0]!, options);
        },
      ),
    );
}

function addPoints(program: Command, running: Running): void {
  ofService(program.command('points').description('list the recovery points of a VM'))
    .argument('<vm>', VM)
    .option('--vault <vault>', ITS_VAULT)
    .option('--since <time>', 'those taken from then on: 2026-12-31, or 7d ago')
    .option('--until <time>', 'those taken until then')
    .action(
      serviceAction<PointsOptions>(running, async ({ context, args, options }) => {
        await (await import('./service/points.ts')).showPoints(context, args[0]!, options);
      }),
    );
}

function addRestore(program: Command, running: Running): void {
  ofService(
    program
      .command('restore')
      .description('restore a VM: its disks, a new VM, or the disks of the VM that is there'),
  )
    .argument('<vm>', VM)
    .argument('[point]', 'its id, how the id begins, or "latest"', 'latest')
    .option('--vault <vault>', ITS_VAULT)
    .option(
      '--storage-account <account>',
      'where images are written (default: an idle one with room)',
    )
    .option('--disks <luns>', 'only these disks, as 0,2, and the system disk', lunList)
    .option('--only-os-disk', 'only the system disk')
    .option('--as <new-name>', 'make a new VM of this name')
    .option('--host <host>', 'with --as: on this host (default: the one of the VM)')
    .option('--network <network>', 'with --as: plugged in here (default: nowhere)')
    .option('--start', 'with --as: start it')
    .option('--replace', 'put the disks of the VM back; it must be off')
    .option('--yes', 'with --replace: do not ask')
    .option('--no-wait', 'do not wait for the job')
    .addHelpText('after', RESTORE_HELP)
    .action(
      serviceAction<RestoreOptions>(running, async ({ context, args, options }) => {
        const [vm, point] = args as [string, string];
        await (await import('./service/restore.ts')).restoreVm(context, { vm, point }, options);
      }),
    );
}

const RESTORE_HELP = `
Without --as and --replace only images are written, and the definition of the VM beside them.
--replace takes a recovery point of what is there, then gives the VM new images in the storage
account; its old images stay, and can be deleted when all is well.`;

function addJobs(jobs: Command, running: Running): void {
  addJobList(jobs, running);
  ofService(jobs.command('show').description('show a job with its tasks'))
    .argument('<job>', JOB)
    .option('--vault <vault>', VAULT)
    .action(
      serviceAction<OfVault>(running, async ({ context, args, options }) => {
        await (await import('./service/jobs.ts')).showJob(context, args[0]!, options);
      }),
    );
  ofService(jobs.command('wait').description('wait for a job, or for all; exit 1 if one fails'))
    .argument('[job]', `${JOB}; without it, all that run now`)
    .option('--vault <vault>', VAULT)
    .action(
      serviceAction<OfVault>(running, async ({ context, args, options }) => {
        return await (await import('./service/jobs.ts')).waitForJobs(context, args[0], options);
      }),
    );
  ofService(jobs.command('stop').description('cancel a job'))
    .argument('<job>', JOB)
    .option('--vault <vault>', VAULT)
    .option('--no-wait', 'do not wait until it has ended')
    .action(
      serviceAction<OfVault & { readonly wait: boolean }>(
        running,
        async ({ context, args, options }) => {
          await (await import('./service/jobs.ts')).stopJob(context, args[0]!, options);
        },
      ),
    );
}

function addJobList(jobs: Command, running: Running): void {
  ofService(jobs.command('list', { isDefault: true }).description('list the jobs, newest first'))
    .option('--vault <vault>', 'only those of this vault')
    .option('--vm <vm>', 'only those of this VM')
    .addOption(
      new Option('--status <status>', 'only those in this state').choices([
        'InProgress',
        'Cancelling',
        'Completed',
        'CompletedWithWarnings',
        'Failed',
        'Cancelled',
      ]),
    )
    .addOption(
      new Option('--operation <operation>', 'only those that do this').choices([
        'Backup',
        'GroupBackup',
        'Restore',
        'InstantBoot',
        'ExportDisks',
        'ConfigureBackup',
        'DisableBackup',
        'DeleteBackupData',
        'Undelete',
        'Expire',
        'Verify',
      ]),
    )
    .option('--last <count>', 'at most so many (default: "50")', numberFromOne)
    .action(
      serviceAction<JobsOptions>(running, async ({ context, options }) => {
        await (await import('./service/jobs.ts')).showJobs(context, options);
      }),
    );
}
