/** Declares `holdfast vm …`: VMs of a hypervisor on this machine, without a server. */
import { InvalidArgumentError, type Command } from 'commander';
import type { VmBackupOptions } from './vm/backup.ts';
import type { ConnectOptions } from './vm/options.ts';
import type { ExtensionOptions } from './vm/extension.ts';
import type { VmBootOptions } from './vm/boot.ts';
import type { VmRestoreOptions } from './vm/restore.ts';
import { collect, commandAction, POINT, withCommonOptions, type Running } from './run-command.ts';

const VM = 'the name of the VM; "vm list" shows them';
const CONNECT_HELP = `
--connect says where VMs are:
  qemu:///system, qemu:///session                libvirt on this machine
  qmp:/run/vm.qmp[,agent=/run/vm.agent]          one QEMU, by its QMP socket and its guest agent's
  images:/srv/images                             disk images of VMs that do not run`;

export function addVmCommands(vm: Command, running: Running): void {
  addLookingCommands(vm, running);
  addBackupCommand(vm, running);
  addRestoreCommands(vm, running);
  addExtensionCommand(vm, running);
}

function addLookingCommands(vm: Command, running: Running): void {
  onVms(vm.command('list').description('list the VMs and their disks')).action(
    commandAction<ConnectOptions>(running, async ({ context, options }) => {
      await (await import('./vm/list.ts')).list(context, options);
    }),
  );
  onVms(vm.command('show').description('show one VM'))
    .argument('<name>', VM)
    .action(
      commandAction<ConnectOptions>(running, async ({ context, location: name, options }) => {
        await (await import('./vm/show.ts')).show(context, name, options);
      }),
    );
}

function addExtensionCommand(vm: Command, running: Running): void {
  onVms(vm.command('extension').description('show the backup extension in the guest of a VM'))
    .argument('<name>', VM)
    .option('--install', 'install or repair it; a backup does so by itself')
    .option('--uninstall', 'remove it; the next backup installs it again')
    .action(
      commandAction<ExtensionOptions>(running, async ({ context, location: name, options }) => {
        await (await import('./vm/extension.ts')).extension(context, name, options);
      }),
    );
}

function addBackupCommand(vm: Command, running: Running): void {
  onVms(vm.command('backup').description('take a recovery point of a VM, running or not'))
    .argument('<name>', VM)
    .requiredOption('--repo <repo>', 'the folder of the repository')
    .option('--item <name>', 'its name in the repository, if not that of the VM')
    .option('--disk <disk>', 'only this disk; repeatable', collect)
    .option('--exclude-disk <disk>', 'all disks but this; repeatable', collect)
    .option('--no-quiesce', 'do not ask the guest: the point is crash-consistent')
    .option('--scratch <dir>', 'for what the guest overwrites meanwhile', folder, '/var/tmp')
    .action(
      commandAction<VmBackupOptions>(
        running,
        async ({ context, location: name, options }) => {
          await (await import('./vm/backup.ts')).backup(context, name, options);
        },
        { whenCancelled: 'the VM runs on, and what was stored is used by the next backup' },
      ),
    );
}

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
      commandAction<VmRestoreOptions>(
        running,
        async ({ context, location: name, options }) => {
          await (await import('./vm/restore.ts')).restore(context, name, options);
        },
        {
          whenCancelled:
            'new images were removed; what was written in place may be incomplete, and the safety point has what was there',
        },
      ),
    );
  onPoints(vm.command('boot').description('start a VM from a point at once, then copy its disks'))
    .requiredOption('--as <new-name>', 'the name of the VM that is started')
    .option('--trial', 'copy nothing; Ctrl-C ends the VM and removes it')
    .addHelpText('after', BOOT_HELP + QEMU_HELP)
    .action(
      commandAction<VmBootOptions>(
        running,
        async ({ context, location: name, options }) => {
          await (await import('./vm/boot.ts')).boot(context, name, options);
        },
        {
          whenCancelled:
            'a VM that had started was powered off; its overlays are kept, and need the point served',
        },
      ),
    );
}

const RESTORE_HELP = `
Without --as and --replace only images are written.`;

const BOOT_HELP = `
If this command dies before the disks are copied, the VM pauses at the next read of the point. To
go on, serve each disk again, holdfast repo serve REPO POINT --disk DISK --socket DIR/DISK.nbd, then
resume the VM (virsh resume, cont over QMP; again if it pauses again), or start it if it is off.`;

const QEMU_HELP = `
With qmp: the new VM listens at the sockets that --connect names, if none does yet, else at
sockets of its own in the folder; NAME.start.sh there starts it by hand.`;

function onPoints(command: Command): Command {
  return onVms(command)
    .argument('<name>', 'the VM as it is called in the repository')
    .requiredOption('--repo <repo>', 'the folder of the repository')
    .option('--point <point>', `${POINT} (default: "latest", but for --replace)`)
    .option('--dir <dir>', 'a folder for the images', folder)
    .option('--disk <disk>', 'only this disk, and the one that the VM boots from', collect)
    .option('--same-identity', 'keep UUID and MAC addresses, where the old VM is gone')
    .option('--network <network>', '"none", "same", or MAC=NETWORK; repeatable', collect);
}

function onVms(command: Command): Command {
  return withCommonOptions(command)
    .option('--connect <uri>', 'where the VMs are', 'qemu:///system')
    .addHelpText('after', CONNECT_HELP);
}

function folder(text: string): string {
  if (text.startsWith('/')) return text;
  throw new InvalidArgumentError('write an absolute path.');
}
