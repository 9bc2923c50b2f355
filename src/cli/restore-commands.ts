/** Declares the commands of `holdfast repo` that get data out of points. */
import type { Command } from 'commander';
import type { RestoreOptions } from './repo/restore.ts';
import type { ServeOptions } from './repo/serve.ts';
import {
  collect,
  commandAction,
  ITEM,
  POINT,
  REPO,
  withCommonOptions,
  type Running,
} from './run-command.ts';

export function addRestoreCommands(repo: Command, running: Running): void {
  withCommonOptions(repo.command('restore').description('write the disks of a point to images'))
    .argument('<repo>', REPO)
    .argument('<point>', POINT)
    .option('--item <name>', ITEM)
    .option('--disk <disk=path>', 'a disk and the image to write; repeatable', collect)
    .option('--format <disk=format>', 'raw, qcow2, vmdk, vhdx, vpc or vdi', collect)
    .option('--overwrite', 'write over existing images, where they differ')
    .action(
      commandAction<RestoreOptions>(
        running,
        async ({ context, location, rest, options }) => {
          const { restore } = await import('./repo/restore.ts');
          await restore(context, { location, point: rest[0]!, options });
        },
        { whenCancelled: 'new images were removed, overwritten ones are incomplete' },
      ),
    );
  withCommonOptions(repo.command('serve').description('show a disk of a point over NBD'))
    .argument('<repo>', REPO)
    .argument('<point>', POINT)
    .option('--item <name>', ITEM)
    .requiredOption('--disk <disk>', 'the disk')
    .requiredOption('--socket <path>', 'the unix socket to make')
    .action(
      commandAction<ServeOptions>(running, async ({ context, location, rest, options }) => {
        const { serve } = await import('./repo/serve.ts');
        await serve(context, { location, point: rest[0]!, options });
      }),
    );
  withCommonOptions(repo.command('diff').description('show where two points differ'))
    .argument('<repo>', REPO)
    .argument('<from>', POINT)
    .argument('<to>', POINT)
    .option('--item <name>', ITEM)
    .action(
      commandAction<{ readonly item?: string }>(
        running,
        async ({ context, location, rest, options: { item } }) => {
          const [from, to] = rest as [string, string];
          await (await import('./repo/diff.ts')).diff(context, { location, from, to, item });
        },
      ),
    );
}
