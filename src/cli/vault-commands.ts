/** Declares `holdfast vault …` and `holdfast policy …`. */
import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { tag, wholeNumber } from './arguments/values.ts';
import type { Running } from './run-command.ts';
import type { PolicyChange } from './service/policies.ts';
import type { PreviewOptions } from './service/policy-preview.ts';
import { ofService, serviceAction } from './service/run-service-command.ts';
import type { VaultChange } from './service/vaults.ts';
import { UsageError } from './usage-error.ts';

const VAULT = 'the vault, or GROUP/NAME';
const ONLY_VAULT = `${VAULT} (default: the only one)`;
const ITS_VAULT = `${VAULT} (default: the only one that has the policy)`;
const POLICY = 'the policy; "policy list" shows them';

export function addVaultCommands(program: Command, running: Running): void {
  const vault = program.command('vault').description('vaults, each with its repository');
  addChangingCommands(vault, running);
  addDeletions(vault, running);
  addShowingCommands(vault, running);
  const policy = program
    .command('policy')
    .description('when VMs are backed up, and how long their points are kept');
  addPolicyChanges(policy, running);
  addPolicyViews(policy, running);
}

type SettingOptions = {
  readonly softDelete?: VaultChange['softDelete'];
  readonly softDeleteDays?: number;
  readonly immutability?: VaultChange['immutability'];
  readonly tag?: Readonly<Record<string, string>>;
  readonly clearTags?: boolean;
};

const IMMUTABILITY = 'whether no point goes before its date, whoever asks';

function withSettings(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--soft-delete <state>',
        'whether deleted points stay a while; "always" is for ever',
      ).choices(['on', 'off', 'always']),
    )
    .option('--soft-delete-days <days>', 'how long they stay', wholeNumber)
    .option('--tag <name=value>', 'a tag, instead of those there are; repeatable', tag);
}

function changeOf({
  softDelete,
  softDeleteDays,
  immutability,
  tag: tags,
  clearTags,
}: SettingOptions): VaultChange {
  if (clearTags === true && tags !== undefined) {
    throw new UsageError('--clear-tags and --tag contradict each other');
  }
  const wanted = clearTags === true ? {} : tags;
  return {
    ...(softDelete === undefined ? {} : { softDelete }),
    ...(softDeleteDays === undefined ? {} : { softDeleteDays }),
    ...(immutability === undefined ? {} : { immutability }),
    ...(wanted === undefined ? {} : { tags: wanted }),
  };
}

type CreateOptions = SettingOptions & { readonly group?: string; readonly repo?: string };

function addChangingCommands(vault: Command, running: Running): void {
  withSettings(ofService(vault.command('create').description('make a vault and its repository')))
    .argument('<name>', 'its name')
    .option(
      '--group <group>',
      'its resource group, made where it is not there (default: the only one)',
    )
    .option(
      '--repo <repo>',
      'where its repository is made (default: in the data folder of the service)',
    )
    .addOption(new Option('--immutability <state>', IMMUTABILITY).choices(['on', 'off']))
    .action(
      serviceAction<CreateOptions>(running, async ({ context, args, options }) => {
        const { group, repo } = options;
        const { createVault } = await import('./service/vaults.ts');
        await createVault(context, args[0]!, {
          ...changeOf(options),
          ...(group === undefined ? {} : { group }),
          ...(repo === undefined ? {} : { repo: resolve(repo) }),
        });
      }),
    );
  withSettings(ofService(vault.command('set').description('change the settings of a vault')))
    .argument('<vault>', VAULT)
    .option('--clear-tags', 'without any tag')
    .addOption(
      new Option(
        '--immutability <state>',
        `${IMMUTABILITY}; "locked", where it is on, is for ever`,
      ).choices(['on', 'off', 'locked']),
    )
    .option('--yes', 'do not ask, also where it can never be undone')
    .action(
      serviceAction<SettingOptions & { readonly yes?: boolean }>(
        running,
        async ({ context, args, options: { yes, ...options } }) => {
          const change = changeOf(options);
          if (Object.keys(change).length === 0) {
            throw new UsageError(
              'say what to set: --soft-delete, --soft-delete-days, --immutability, --tag or --clear-tags',
            );
          }
          await (
            await import('./service/vaults.ts')
          ).setVault(context, args[0]!, { ...change, ...(yes === undefined ? {} : { yes }) });
        },
      ),
    );
}

function addDeletions(vault: Command, running: Running): void {
  ofService(vault.command('delete').description('delete a vault that protects nothing any more'))
    .argument('<vault>', VAULT)
    .option('--yes', 'do not ask')
    .option('--forget-repository', 'its repository is gone for good: delete all but that')
    .action(
      serviceAction<{ readonly yes?: boolean; readonly forgetRepository?: boolean }>(
        running,
        async ({ context, args, options }) => {
          await (await import('./service/vaults.ts')).deleteVault(context, args[0]!, options);
        },
      ),
    );
  ofService(vault.command('undelete').description('bring a soft-deleted vault back'))
    .argument('<vault>', 'its name, or GROUP/NAME, or its id; "vault list" shows them')
    .option(
      '--group <group>',
      'into this resource group, made where it is not there (default: that it was in)',
    )
    .action(
      serviceAction<{ readonly group?: string }>(running, async ({ context, args, options }) => {
        await (
          await import('./service/deleted-vaults.ts')
        ).undeleteVault(context, args[0]!, options);
      }),
    );
}

function addShowingCommands(vault: Command, running: Running): void {
  ofService(vault.command('list').description('list the vaults')).action(
    serviceAction(running, async ({ context }) => {
      await (await import('./service/vaults.ts')).showVaults(context);
    }),
  );
  ofService(vault.command('show').description('show a vault'))
    .argument('[vault]', ONLY_VAULT)
    .action(
      serviceAction(running, async ({ context, args }) => {
        await (await import('./service/vaults.ts')).showVault(context, args[0]);
      }),
    );
  ofService(
    vault
      .command('recovery-key')
      .description('make a key to the repository of a vault, and print it'),
  )
    .argument('[vault]', ONLY_VAULT)
    .addHelpText('after', RECOVERY_HELP)
    .action(
      serviceAction(running, async ({ context, args }) => {
        await (await import('./service/vaults.ts')).showRecoveryKey(context, args[0]);
      }),
    );
}

const RECOVERY_HELP = `
The key opens the repository without this service, as --password-file of holdfast repo:
  holdfast vault recovery-key VAULT >key.txt
Each call makes another one; "holdfast repo key list" shows them, "key remove" removes one.`;

function withPolicyOptions(command: Command, vault: string): Command {
  return command
    .option('--vault <vault>', vault)
    .option('--daily <time>', 'back up every day at this time, as 22:00')
    .option('--weekly <days>', 'back up on these days, as sunday,wednesday')
    .option('--at <time>', 'with --weekly: at this time')
    .option('--hourly <hours>', 'back up every 4, 6, 8 or 12 hours; makes it an enhanced policy')
    .option('--from <time>', 'with --hourly: from this time each day (default: "08:00")')
    .option('--for <hours>', 'with --hourly: for so long (default: "12")')
    .option('--time-zone <zone>', 'a Windows name, as "W. Europe Standard Time" (default: "UTC")')
    .option('--keep-daily <days>', 'keep points so many days (default: "30")')
    .option('--keep-weekly <weeks>', 'keep one a week so many weeks')
    .option('--keep-weekly-on <days>', 'that of these days (default: "sunday")')
    .option('--keep-monthly <months>', 'keep one a month so many months')
    .option('--keep-monthly-on <days>', 'as "first sunday", or 1,15,last (default: "first sunday")')
    .option('--keep-yearly <years>', 'keep one a year so many years')
    .option('--keep-yearly-on <days>', 'as "january first sunday" (the default)')
    .option('--instant-days <days>', 'how long points stay in the snapshot tier')
    .option('--enhanced', "Azure's enhanced policy, V2, also without --hourly")
    .option('--file <file>', "a whole policy as JSON in Azure's form instead")
    .addHelpText('after', POLICY_HELP);
}

const POLICY_HELP = `
"--keep-weekly none" leaves that rule out. "policy show NAME --json" prints what --file reads.`;

function addPolicyChanges(policy: Command, running: Running): void {
  withPolicyOptions(ofService(policy.command('create').description('make a policy')), ONLY_VAULT)
    .argument('<name>', 'its name')
    .action(
      serviceAction<PolicyChange>(running, async ({ context, args, options }) => {
        await (await import('./service/policies.ts')).createPolicy(context, args[0]!, options);
      }),
    );
  withPolicyOptions(
    ofService(policy.command('set').description('change a policy, and with it all its VMs')),
    ITS_VAULT,
  )
    .argument('<policy>', POLICY)
    .option('--yes', 'do not ask, also where recovery points go by it')
    .action(
      serviceAction<PolicyChange & { readonly yes?: boolean }>(
        running,
        async ({ context, args, options }) => {
          await (await import('./service/set-policy.ts')).setPolicy(context, args[0]!, options);
        },
      ),
    );
  ofService(policy.command('delete').description('delete a policy that protects nothing'))
    .argument('<policy>', POLICY)
    .option('--vault <vault>', ITS_VAULT)
    .option('--yes', 'do not ask')
    .action(
      serviceAction<{ readonly vault?: string; readonly yes?: boolean }>(
        running,
        async ({ context, args, options }) => {
          await (await import('./service/policies.ts')).deletePolicy(context, args[0]!, options);
        },
      ),
    );
}

function addPolicyViews(policy: Command, running: Running): void {
  ofService(policy.command('list').description('list the policies'))
    .option('--vault <vault>', `only those of this vault`)
    .action(
      serviceAction<{ readonly vault?: string }>(running, async ({ context, options }) => {
        await (await import('./service/policies.ts')).showPolicies(context, options);
      }),
    );
  ofService(policy.command('show').description('show a policy'))
    .argument('<policy>', POLICY)
    .option('--vault <vault>', ITS_VAULT)
    .action(
      serviceAction<{ readonly vault?: string }>(running, async ({ context, args, options }) => {
        await (await import('./service/policies.ts')).showPolicy(context, args[0]!, options);
      }),
    );
  withPolicyOptions(
    ofService(
      policy
        .command('preview')
        .description(
          'show when a policy would start backups, and what a change would do to points',
        ),
    ),
    ITS_VAULT,
  )
    .argument('[policy]', `${POLICY}; without it, the one that the options say`)
    .option('--vm <vm>', 'what giving it to this VM would do to its points')
    .option('--count <count>', 'so many runs', wholeNumber, 10)
    .option('--since <time>', 'from this time on (default: now)')
    .action(
      serviceAction<PreviewOptions>(running, async ({ context, args, options }) => {
        await (
          await import('./service/policy-preview.ts')
        ).previewPolicy(context, args[0], options);
      }),
    );
}
