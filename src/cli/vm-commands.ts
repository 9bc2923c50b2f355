/** Declares `holdfast vm …`: VMs of a hypervisor on this machine, without a server; `list` and `show` of the service, too. */
import { InvalidArgumentError, type Command } from 'commander';
import { HoldfastError, isHoldfastError } from '#base';
import { minutes } from './arguments/values.ts';
import { serviceAction } from './service/run-service-command.ts';
import type { VmBackupOptions } from './vm/backup.ts';
import type { ConnectOptions } from './vm/options.ts';
import type { ExtensionOptions } from './vm/extension.ts';
import type { VmBootOptions } from './vm/boot.ts';
import type { UntrackOptions } from './vm/untrack.ts';
import type { VmRestoreOptions } from './vm/restore.ts';
import { UsageError } from './usage-error.ts';
import { collect, commandAction, POINT, withCommonOptions, type Running } from './run-command.ts';

const SYSTEM = 'qemu:///system';
const VM = 'the name of the VM; "vm list --connect URI" shows them';
const CONNECT_HELP = `
--connect says where VMs are:
  qemu:///system, qemu:///session                libvirt on this machine
  qmp:/run/vm.qmp[,agent=/run/vm.agent]          one QEMU, by its QMP socket and its guest agent's
  images:/srv/images                             disk images of VMs that do not run`;

const NO_SERVICE_HELP = `
Without --connect: the VMs of the service; where no service is known, those of ${SYSTEM}.`;

export function addVmCommands(vm: Command, running: Running): void {
  addLookingCommands(vm, running);
  addBackupCommand(vm, running);
  addRestoreCommands(vm, running);
  addExtensionCommand(vm, running);
  addUntrackCommand(vm, running);
}

function addLookingCommands(vm: Command, running: Running): void {
  onServiceOrVms(vm.command('list').description('list the VMs, and what protects them')).action(
    eitherAction(running, {
      ofService: async ({ context }) => {
        await (await import('./service/vms.ts')).showVms(context);
      },
      ofHypervisor: async ({ context, options }) => {
        await (await import('./vm/list.ts')).list(context, options);
      },
    }),
  );
  onServiceOrVms(
    vm
      .command('show')
      .description('show one VM; of a hypervisor: its agent and what follows its changes'),
  )
    .argument('<vm>', VM)
    .action(
      eitherAction(running, {
        ofService: async ({ context, args }) => {
          await (await import('./service/vms.ts')).showVm(context, args[0]!);
        },
        ofHypervisor: async ({ context, location: name, options }) => {
          await (await import('./vm/show.ts')).show(context, name, options);
        },
      }),
    );
}

type Either = {
  readonly ofService: Parameters<typeof serviceAction<object>>[1];
  readonly ofHypervisor: Parameters<typeof commandAction<ConnectOptions>>[1];
};

/** The hypervisor's where `--connect` names one or no service is known, which is `qemu:///system` then; else the service's. */
function eitherAction(running: Running, { ofService, ofHypervisor }: Either) {
  const ofOne = commandAction<ConnectOptions>(running, ofHypervisor);
  const ofAll = serviceAction(running, ofService);
  return async (...args: unknown[]): Promise<void> => {
    const command = args.at(-1) as Command;
    const { connect, data } = command.opts<Partial<ConnectOptions> & { readonly data?: string }>();
    if (connect !== undefined) return await ofOne(...args);
    const { isServiceKnown } = await import('./service/find-service.ts');
    if (!(await isServiceKnown(data, running.surroundings.environment.service))) {
      command.setOptionValue('connect', SYSTEM);
      return await ofOne(...args);
    }
    try {
      await ofAll(...args);
    } catch (error) {
      const isThere =
        !isHoldfastError(error, 'ServiceNotFound') && !isHoldfastError(error, 'ServiceUnavailable');
      if (isThere) throw error;
      const message = `${error.message}; --connect ${SYSTEM} shows VMs without a service`;
      throw new HoldfastError(error.code, message, { cause: error });
    }
  };
}

function addExtensionCommand(vm: Command, running: Running): void {
  onVmsOnly(
    vm.command('extension').description('show, install or remove the backup extension in a guest'),
  )
    .argument('<name>', VM)
    .option('--install', 'install or repair it; a backup does so by itself')
    .option('--uninstall', 'remove it; the next backup installs it again')
    .action(
      commandAction<ExtensionOptions>(running, async ({ context, location: name, options }) => {
        await (await import('./vm/extension.ts')).extension(context, name, options);
      }),
    );
}

function addUntrackCommand(vm: Command, running: Running): void {
  onVmsOnly(
    vm.command('untrack').description('remove the bitmaps and checkpoints of backups from a VM'),
  )
    .argument('<name>', VM)
    .option('--repo <repo>', 'those of backups into this repository')
    .option('--repository-id <id>', 'those of a repository that is gone; "vm show" lists them')
    .option('--all', 'those of all repositories')
    .option('--dry-run', 'only say what would be removed')
    .addHelpText('after', UNTRACK_HELP)
    .action(
      commandAction<UntrackOptions>(running, async ({ context, location: name, options }) => {
        await (await import('./vm/untrack.ts')).untrack(context, name, options);
      }),
    );
}

const UNTRACK_HELP = `
For a repository that was given up or lost: its backups no longer look after what they left on the
VM, running or off. What other products made stays, and so does the guest's extension ("vm
extension NAME --uninstall"). A later backup into the repository compares whole disks once.
Bitmaps in backing images stay, since other images may be based on them: it says how they go.`;

type VmBackupArguments = Omit<VmBackupOptions, 'connect'> & {
  readonly connect?: readonly string[];
  readonly group?: boolean;
};

function addBackupCommand(vm: Command, running: Running): void {
  withCommonOptions(vm.command('backup'))
    .description('take a recovery point of a VM, running or not')
    .argument('<name...>', `${VM}; several with --group`)
    .option(
      '--connect <uri>',
      `where the VMs are (default: "${SYSTEM}"); with --group repeatable`,
      collect,
    )
    .option('--group', 'several VMs at one instant: all of their points or none')
    .requiredOption('--repo <repo>', 'the folder of the repository (needed)')
    .option('--item <name>', 'its name in the repository, if not that of the VM')
    .option('--disk <disk>', 'only this disk; repeatable', collect)
    .option('--exclude-disk <disk>', 'all disks but this; repeatable', collect)
    .option('--no-quiesce', 'do not ask the guest: the point is crash-consistent')
    .option('--guest-load <percent>', 'wait while more of its CPU or memory is in use')
    .option('--guest-wait <time>', 'for so long at most, then fail (default: 140m)', minutes)
    .option('--scratch <dir>', 'for what the guest overwrites while it is read', folder, '/var/tmp')
    .addHelpText('after', CONNECT_HELP)
    .addHelpText('after', SCRATCH_HELP)
    .action(
      commandAction<VmBackupArguments>(
        running,
        async ({ context, location: name, rest, options }) => {
          const connect = options.connect ?? [SYSTEM];
          if (options.group === true) {
            const { backUpGroup } = await import('./vm/back-up-group.ts');
            return await backUpGroup(context, [name, ...rest], { ...options, connect });
          }
          if (rest.length > 0 || connect.length > 1) {
            throw new UsageError(
              'one VM, and one --connect, at a time: --group backs several up at one instant',
            );
          }
          const { backup } = await import('./vm/backup.ts');
          await backup(context, name, { ...options, connect: connect[0]! });
        },
        { whenCancelled: 'the VM runs on, and what was stored is used by the next backup' },
      ),
    );
}

const SCRATCH_HELP = `
The scratch folder needs as much room as the guest overwrites during the backup; of libvirt a tenth
of the disks, at least 1 GiB, must be free. Where it runs out, the backup fails and the VM goes on.`;

function addRestoreCommands(vm: Command, running: Running): void {
  onPoints(
    vm.command('restore').description('bring a VM back: its disks, a new VM, or in its place'),
  )
    .option('--as <new-name>', 'define a new VM of this name')
    .option('--start', 'with --as: start it')
    .option('--replace', 'put the disks of the VM back; it must be off')
    .option('--in-place', 'with --replace: write the images that are there, where they differ')
    .addHelpText('after', RESTORE_HELP + QEMU_HELP)
    .action(
      commandAction<VmRestoreOptions>(running, async ({ context, location: name, options }) => {
        await (await import('./vm/restore.ts')).restore(context, name, options);
      }),
    );
  withPointOptions(
    withCommonOptions(vm.command('boot'))
      .description('start a VM from a point at once, then copy its disks')
      .argument('[name]', 'the VM as it is called in the repository')
      .option('--repo <repo>', 'the folder of the repository'),
  )
    .option('--connect <uri>', 'where the VMs are (default: "qemu:///system", or as it was booted)')
    .option('--as <new-name>', 'the name of the VM that is started')
    .option('--trial', 'copy nothing; Ctrl-C ends the VM and removes it')
    .option('--resume', 'go on with the VM that was booted into --dir')
    .option('--discard', 'remove the VM that was booted into --dir, and what it wrote')
    .addHelpText('after', CONNECT_HELP)
    .addHelpText('after', BOOT_HELP + QEMU_HELP)
    .action(
      commandAction<VmBootOptions>(running, async ({ context, location: name, options }) => {
        await (await import('./vm/boot.ts')).boot(context, name, options);
      }),
    );
}

const RESTORE_HELP = `
Without --as and --replace only images are written. --replace of a VM whose QEMU was started by hand
(qmp:) cannot find its images once it is off: holdfast repo restore REPO POINT --disk vd0=IMAGE
--overwrite puts them back.`;

const BOOT_HELP = `
If this command ends or dies before the disks are copied, the VM is off, or pauses at the next read
of the point. Nothing is lost: holdfast vm boot --resume --dir DIR --repo REPO goes on from there,
and holdfast vm boot --discard --dir DIR removes VM and disks.`;

const QEMU_HELP = `
With qmp: the new VM listens at the sockets that --connect names, if none does yet, else at
sockets of its own in the folder; NAME.start.sh there starts it by hand.`;

function onPoints(command: Command): Command {
  return withPointOptions(
    onVms(command)
      .argument('<name>', 'the VM as it is called in the repository')
      .requiredOption('--repo <repo>', 'the folder of the repository'),
    '"latest", but for --replace',
  );
}

function withPointOptions(command: Command, point = '"latest"'): Command {
  return command
    .option('--point <point>', `${POINT} (default: ${point})`)
    .option('--dir <dir>', 'a folder for the images', folder)
    .option('--disk <disk>', 'only this disk, and the one that the VM boots from', collect)
    .option('--same-identity', 'keep UUID and MAC addresses, where the old VM is gone')
    .option('--network <network>', '"none", "same", or MAC=NETWORK; repeatable', collect);
}

function onVms(command: Command): Command {
  return withCommonOptions(command)
    .option('--connect <uri>', 'where the VMs are', SYSTEM)
    .addHelpText('after', CONNECT_HELP);
}

/** VMs of the service, or of the hypervisor that is named. */
function onServiceOrVms(command: Command): Command {
  const shown = withCommonOptions(command)
    .option('--data <dir>', 'the data folder of the service (default: HOLDFAST_DATA)')
    .option('--connect <uri>', 'VMs of this hypervisor instead, without a service')
    .addHelpText('after', CONNECT_HELP + NO_SERVICE_HELP);
  return withoutRepositoryHelp(shown);
}

/** These open no repository: they take its options, so that a script may give them always, and do not show them. */
function onVmsOnly(command: Command): Command {
  return withoutRepositoryHelp(onVms(command));
}

function withoutRepositoryHelp(command: Command): Command {
  for (const option of command.options) {
    if (OF_REPOSITORY.has(option.attributeName())) option.hideHelp();
  }
  return command;
}

const OF_REPOSITORY: ReadonlySet<string> = new Set(['passwordFile', 'encryption', 'wait']);

function folder(text: string): string {
  if (text.startsWith('/')) return text;
  throw new InvalidArgumentError('write an absolute path.');
}
