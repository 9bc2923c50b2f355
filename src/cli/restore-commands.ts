/** Declares the commands of `holdfast repo` that get data out of points. */
import type { Command } from 'commander';
import type { RestoreOptions } from './repo/restore.ts';
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
    .option('--disk <disk=path>', 'a disk and the image to write; repeatable', collect, [])
    .option('--format <disk=format>', 'raw, qcow2, vmdk, vhdx, vpc or vdi', collect, [])
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
}
