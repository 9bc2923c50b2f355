/** Declares `holdfast repo …` (DESIGN's plumbing commands); each loads its own code when it runs. */
import type { Command } from 'commander';
import type { BackupOptions } from './repo/backup.ts';
import type { ExpireOptions } from './repo/expire.ts';
import {
  collect,
  commandAction,
  ITEM,
  POINT,
  REPO,
  withCommonOptions,
  type Running,
} from './run-command.ts';

export function addRepoCommands(repo: Command, running: Running): void {
  addWritingCommands(repo, running);
  addReadingCommands(repo, running);
  addExpireCommand(repo, running);
  addUpkeepCommands(repo, running);
}

function addWritingCommands(repo: Command, running: Running): void {
  withCommonOptions(repo.command('init').description('make a repository'))
    .argument('<repo>', 'an empty folder, or one to be made in a folder that is there')
    .option('--block-size <size>', 'the unit of change: 16KiB, or 64KiB above 10 TB of data')
    .action(
      commandAction<{ readonly blockSize?: string }>(
        running,
        async ({ context, location, options: { blockSize } }) => {
          await (await import('./repo/init.ts')).init(context, { location, blockSize });
        },
      ),
    );
  withCommonOptions(repo.command('backup').description('take a recovery point of disk images'))
    .argument('<repo>', REPO)
    .requiredOption('--item <name>', 'what the disks belong to, such as the name of the VM')
    .option('--disk <disk=path>', 'a disk and its image, device or nbd URI; repeatable', collect)
    .option('--format <disk=format>', 'raw, qcow2, vmdk, vhdx, vpc or vdi', collect)
    .option(
      '--changed-only-hint <disk=file>',
      'where the disk has changed: JSON [{"offset","length"}]',
      collect,
    )
    .option('--allow-file <path>', 'a backing file outside its folder; repeatable', collect)
    .action(
      commandAction<BackupOptions>(
        running,
        async ({ context, location, options }) => {
          await (await import('./repo/backup.ts')).backup(context, location, options);
        },
        { whenCancelled: 'what was stored is kept, and the next backup uses it' },
      ),
    );
}

function addReadingCommands(repo: Command, running: Running): void {
  withCommonOptions(repo.command('points').description('list the recovery points and their cost'))
    .argument('<repo>', REPO)
    .option('--item <name>', ITEM)
    .action(
      commandAction<{ readonly item?: string }>(
        running,
        async ({ context, location, options: { item } }) => {
          await (await import('./repo/points.ts')).points(context, { location, item });
        },
      ),
    );
  withCommonOptions(repo.command('show').description('show one recovery point'))
    .argument('<repo>', REPO)
    .argument('<point>', POINT)
    .option('--item <name>', ITEM)
    .action(
      commandAction<{ readonly item?: string }>(
        running,
        async ({ context, location, rest: [point], options: { item } }) => {
          await (await import('./repo/show.ts')).show(context, { location, point: point!, item });
        },
      ),
    );
}

function addExpireCommand(repo: Command, running: Running): void {
  const expire = withCommonOptions(
    repo.command('expire').description('expire points, by id or by what to keep'),
  )
    .argument('<repo>', REPO)
    .argument('[points...]', POINT)
    .option('--item <name>', ITEM);
  for (const kind of ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly']) {
    const what = kind === 'last' ? 'the last N points' : `the last point of N ${PERIODS[kind]}`;
    expire.option(`--keep-${kind} <n>`, `keep ${what}`);
  }
  expire.addHelpText('after', KEEP_HELP);
  expire.option('--of-vault', 'also where the repository is the vault of a service');
  expire.option('--dry-run', 'only say what would expire').action(
    commandAction<ExpireOptions>(running, async ({ context, location, rest, options }) => {
      await (await import('./repo/expire.ts')).expire(context, { location, ids: rest, options });
    }),
  );
}

const KEEP_HELP = `
The --keep-… rules add up: a point stays if any of them keeps it. They apply to each item by itself.
Hours, days, weeks (from Monday), months and years are those of UTC.`;

const PERIODS: Readonly<Record<string, string>> = {
  hourly: 'hours',
  daily: 'days',
  weekly: 'weeks',
  monthly: 'months',
  yearly: 'years',
};

function addUpkeepCommands(repo: Command, running: Running): void {
  withCommonOptions(repo.command('compact').description('give back the space of expired points'))
    .argument('<repo>', REPO)
    .option('--delete-unknown', 'also delete objects of backups that the log does not know')
    .action(
      commandAction<{ readonly deleteUnknown?: boolean }>(
        running,
        async ({ context, location, options }) => {
          await (await import('./repo/compact.ts')).compact(context, location, options);
        },
      ),
    );
  withCommonOptions(repo.command('verify').description('check the repository; exit 1 on damage'))
    .argument('<repo>', REPO)
    .option('--read-data [percent]', 'read the data too; least recently read first')
    .action(
      commandAction<{ readonly readData?: string }>(
        running,
        async ({ context, location, options: { readData } }) =>
          await (await import('./repo/verify.ts')).verify(context, { location, readData }),
      ),
    );
  withCommonOptions(repo.command('stats').description('show the sizes of the repository'))
    .argument('<repo>', REPO)
    .action(
      commandAction(running, async ({ context, location }) => {
        await (await import('./repo/stats.ts')).stats(context, location);
      }),
    );
  withCommonOptions(repo.command('rebuild-index').description('make the local index anew'))
    .argument('<repo>', REPO)
    .option(
      '--accept-older-state',
      'give up what came after the end of the log, where the index remembers more',
    )
    .action(
      commandAction<{ readonly acceptOlderState?: boolean }>(
        running,
        async ({ context, location, options }) => {
          await (await import('./repo/rebuild-index.ts')).rebuildIndex(context, location, options);
        },
      ),
    );
}
