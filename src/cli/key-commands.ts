/** Declares `holdfast repo key …`. */
import type { Command } from 'commander';
import { commandAction, REPO, withCommonOptions, type Running } from './run-command.ts';

export function addKeyCommands(key: Command, running: Running): void {
  withCommonOptions(key.command('list').description('list passwords and recovery keys'))
    .argument('<repo>', REPO)
    .action(
      commandAction(running, async ({ context, location }) => {
        await (await import('./repo/keys.ts')).showKeys(context, { location });
      }),
    );
  withCommonOptions(key.command('add').description('add a password'))
    .argument('<repo>', REPO)
    .option('--new-password-file <file>', 'read the new password from a file')
    .option('--label <text>', 'what the list shows for it', 'password')
    .action(
      commandAction<{ readonly newPasswordFile?: string; readonly label: string }>(
        running,
        async ({ context, location, options }) => {
          const { newPasswordFile, label } = options;
          const { addPassword } = await import('./repo/keys.ts');
          await addPassword(context, { location, newPasswordFile, label });
        },
      ),
    );
  withCommonOptions(key.command('remove').description('remove a password or recovery key'))
    .argument('<repo>', REPO)
    .argument('<key>', 'its id, or how the id begins')
    .action(
      commandAction(running, async ({ context, location, rest }) => {
        await (await import('./repo/keys.ts')).dropKey(context, { location, key: rest[0]! });
      }),
    );
  withCommonOptions(key.command('recovery').description('make a recovery key and show it once'))
    .argument('<repo>', REPO)
    .option('--label <text>', 'what the list shows for it', 'recovery key')
    .action(
      commandAction<{ readonly label: string }>(running, async ({ context, location, options }) => {
        const { addRecovery } = await import('./repo/keys.ts');
        await addRecovery(context, { location, label: options.label });
      }),
    );
}
