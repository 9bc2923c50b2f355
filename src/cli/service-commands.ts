/** Declares the commands of the service on its surroundings: hosts, storage accounts, accounts, its health. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { month, numberFromOne, wholeNumber } from './arguments/values.ts';
import type { Running } from './run-command.ts';
import type { ChargesOptions } from './service/charges.ts';
import type { NewHost } from './service/hosts.ts';
import { ofService, serviceAction } from './service/run-service-command.ts';

const HOST = 'the host; "host list" shows them';
const ACCOUNT = 'the storage account, or GROUP/NAME';
const PRINCIPAL = 'its name or client id';
const CONNECT_HELP = `
--connect says where its VMs are, on the machine that the service runs on:
  qemu:///system, qemu:///session                libvirt
  qmp:/run/vm.qmp[,agent=/run/vm.agent]          one QEMU, by its QMP socket and its guest agent's
  images:/srv/images                             disk images of VMs that do not run, a folder a VM`;

export function addServiceCommands(program: Command, running: Running): void {
  addHostCommands(
    program.command('host').description('hypervisors, whose VMs are protected'),
    running,
  );
  addAccountCommands(
    program.command('storage-account').description('folders that disks are restored to'),
    running,
  );
  addPrincipalCommands(
    program.command('principal').description('who may use the service'),
    running,
  );
  addCharges(program, running);
  ofService(program.command('activities').description('list who did what, newest first'))
    .option('--last <count>', 'at most so many (default: "50")', numberFromOne)
    .action(
      serviceAction<{ readonly last?: number }>(running, async ({ context, options }) => {
        await (await import('./service/activities.ts')).showActivities(context, options);
      }),
    );
  ofService(
    program.command('doctor').description('look whether all is well with the service'),
  ).action(
    serviceAction(running, async ({ context }) => {
      return await (await import('./service/doctor.ts')).examine(context);
    }),
  );
}

const PRICES_HELP = `
A price sheet is a JSON file, valid from --month on (default: this month) until another one's:
  {"currency": "USD", "instance": {"small": 5, "standard": 10}, "storage": {"vault": {"LocallyRedundant": 0.0224}}}
an instance and month of up to 50 GB, of each 500 GB of a larger one, and a GB-month.`;

function addCharges(program: Command, running: Running): void {
  ofService(program.command('charges').description('what backups cost, by VM, point and month'))
    .argument('[name]', 'a VM or a vault, or GROUP/NAME (default: the only vault)')
    .option('--month <month>', 'as 2026-11, in UTC (default: this month)', month)
    .option('--forecast', 'of a VM: the next twelve months at the present churn')
    .option('--prices <file>', 'give the vault a price sheet')
    .addHelpText('after', PRICES_HELP)
    .action(
      serviceAction<ChargesOptions>(running, async ({ context, args, options }) => {
        await (await import('./service/charges.ts')).showCharges(context, args[0], options);
      }),
    );
}

function addHostCommands(host: Command, running: Running): void {
  ofService(host.command('add').description('add a hypervisor, and list its VMs'))
    .argument('<name>', 'its name, also that of the resource group of its VMs')
    .requiredOption('--connect <uri>', 'where its VMs are (needed)')
    .option('--snapshots-at-once <count>', 'how many VMs are snapshotted at once', wholeNumber)
    .option('--allow-absent', 'with qmp: also where no QEMU listens yet')
    .addHelpText('after', CONNECT_HELP)
    .action(
      serviceAction<NewHost>(running, async ({ context, args, options }) => {
        await (await import('./service/hosts.ts')).addHost(context, args[0]!, options);
      }),
    );
  ofService(host.command('list').description('list the hosts')).action(
    serviceAction(running, async ({ context }) => {
      await (await import('./service/hosts.ts')).showHosts(context);
    }),
  );
  ofService(host.command('show').description('show a host'))
    .argument('<host>', HOST)
    .action(
      serviceAction(running, async ({ context, args }) => {
        await (await import('./service/hosts.ts')).showHost(context, args[0]!);
      }),
    );
  ofService(host.command('refresh').description('list the VMs of a host anew'))
    .argument('<host>', HOST)
    .action(
      serviceAction(running, async ({ context, args }) => {
        await (await import('./service/hosts.ts')).refreshHost(context, args[0]!);
      }),
    );
  ofService(host.command('remove').description('forget a host, none of whose VMs is protected'))
    .argument('<host>', HOST)
    .action(
      serviceAction(running, async ({ context, args }) => {
        await (await import('./service/hosts.ts')).removeHost(context, args[0]!);
      }),
    );
}

type NewAccount = {
  readonly group?: string;
  readonly path: string;
  readonly restoresAtOnce?: number;
};

function addAccountCommands(account: Command, running: Running): void {
  ofService(account.command('add').description('make a folder a storage account'))
    .argument('<name>', 'its name')
    .requiredOption(
      '--path <dir>',
      "a folder of the service's machine; made where it is not there (needed)",
    )
    .option(
      '--group <group>',
      'its resource group, made where it is not there (default: the only one)',
    )
    .option('--restores-at-once <count>', 'how many restores write to it at once', wholeNumber)
    .action(
      serviceAction<NewAccount>(running, async ({ context, args, options }) => {
        const { addAccount } = await import('./service/storage-accounts.ts');
        await addAccount(context, args[0]!, { ...options, path: resolve(options.path) });
      }),
    );
  ofService(account.command('list').description('list the storage accounts')).action(
    serviceAction(running, async ({ context }) => {
      await (await import('./service/storage-accounts.ts')).showAccounts(context);
    }),
  );
  ofService(account.command('remove').description('forget a storage account; its folder stays'))
    .argument('<account>', ACCOUNT)
    .action(
      serviceAction(running, async ({ context, args }) => {
        await (await import('./service/storage-accounts.ts')).removeAccount(context, args[0]!);
      }),
    );
}

function addPrincipalCommands(principal: Command, running: Running): void {
  ofService(principal.command('create').description('make an account, and show its secret once'))
    .argument('<name>', 'what it is for')
    .action(
      serviceAction(running, async ({ context, args }) => {
        await (await import('./service/principals.ts')).createPrincipal(context, args[0]!);
      }),
    );
  ofService(principal.command('list').description('list the accounts')).action(
    serviceAction(running, async ({ context }) => {
      await (await import('./service/principals.ts')).showPrincipals(context);
    }),
  );
  ofService(principal.command('rotate').description('give an account another secret, shown once'))
    .argument('<principal>', PRINCIPAL)
    .action(
      serviceAction(running, async ({ context, args }) => {
        await (await import('./service/principals.ts')).rotateSecret(context, args[0]!);
      }),
    );
  ofService(
    principal.command('delete').description('delete an account; its tokens are void at once'),
  )
    .argument('<principal>', PRINCIPAL)
    .option('--yes', 'do not ask')
    .option('--own', 'also the one that the command itself signs in with')
    .action(
      serviceAction<{ readonly yes?: boolean; readonly own?: boolean }>(
        running,
        async ({ context, args, options }) => {
          const { deletePrincipal } = await import('./service/principals.ts');
          await deletePrincipal(context, args[0]!, options);
        },
      ),
    );
}
