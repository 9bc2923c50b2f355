/** The tools that are compared, each with its commands; none keeps anything outside the work folder. */
import { execFileSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { holdfast, holdfastBytes } from './holdfast.ts';
import { runCommand, type Command } from './run-command.ts';
import { folderBytes, freshFolder, type Workplace } from './workplace.ts';

export type Tool = {
  readonly name: string;
  readonly version: string;
  /** Makes an empty repository; not timed. */
  readonly prepare: () => Promise<void>;
  readonly backUp: (disk: string, options: BackupOptions) => Command;
  /** Restores the newest point into an empty folder. */
  readonly restore: (folder: string) => Command;
  readonly storedBytes: () => number;
};

export type BackupOptions = { readonly name: string; readonly hint?: string };

export type HoldfastTool = Tool & {
  readonly repository: string;
  /** A second repository with the same content. */
  readonly fork: () => HoldfastTool;
};

/** Every disk is called `disk.raw`, whichever folder it is in. */
export const DISK = 'disk.raw';

export function holdfastTool(place: Workplace, folder = 'holdfast'): HoldfastTool {
  const repository = join(place.folder, folder);
  return {
    name: 'holdfast',
    version: firstLine('git', ['-C', import.meta.dirname, 'log', '-1', '--format=%h']),
    repository,
    prepare: async () => {
      freshFolder(place, folder);
      await runCommand(holdfast('init', repository));
    },
    backUp: (disk, { hint }) => {
      const hinted = hint === undefined ? [] : ['--changed-only-hint', `vda=${hint}`];
      return holdfast('backup', repository, '--item', 'vm', '--disk', `vda=${disk}`, ...hinted);
    },
    restore: (to) =>
      holdfast('restore', repository, 'latest', '--item', 'vm', '--disk', `vda=${join(to, DISK)}`),
    storedBytes: () => holdfastBytes(repository),
    fork: () => {
      const copy = `${folder}-fork`;
      cpSync(repository, freshFolder(place, copy), { recursive: true });
      return holdfastTool(place, copy);
    },
  };
}

export function resticTool(place: Workplace): Tool {
  const repository = join(place.folder, 'restic');
  const variables = {
    RESTIC_PASSWORD: 'correct horse',
    RESTIC_REPOSITORY: repository,
    RESTIC_CACHE_DIR: join(place.folder, 'restic-cache'),
  };
  const restic = (...args: readonly string[]): Command => ({
    args: ['restic', ...args],
    variables,
  });
  return {
    name: 'restic',
    version: firstLine('restic', ['version']).split(' ')[1]!,
    prepare: async () => {
      freshFolder(place, 'restic');
      freshFolder(place, 'restic-cache');
      await runCommand(restic('init'));
    },
    backUp: (disk) => ({ ...restic('backup', '-q', basename(disk)), cwd: dirname(disk) }),
    restore: (to) => restic('restore', '-q', 'latest', '--target', to),
    storedBytes: () => folderBytes(repository),
  };
}

export function borgTool(place: Workplace): Tool {
  const repository = join(place.folder, 'borg');
  const variables = {
    BORG_PASSPHRASE: 'correct horse',
    BORG_BASE_DIR: join(place.folder, 'borg-base'),
    BORG_REPO: repository,
  };
  const borg = (...args: readonly string[]): Command => ({ args: ['borg', ...args], variables });
  const create = ['create', '--chunker-params', 'fixed,4194304', '--compression', 'zstd,1'];
  let last = '';
  return {
    name: 'borg',
    version: firstLine('borg', ['--version']).split(' ')[1]!,
    prepare: async () => {
      freshFolder(place, 'borg');
      freshFolder(place, 'borg-base');
      await runCommand(borg('init', '--encryption=repokey'));
    },
    backUp: (disk, { name }) => {
      last = name;
      return { ...borg(...create, `::${name}`, basename(disk)), cwd: dirname(disk) };
    },
    restore: (to) => ({ ...borg('extract', '--sparse', `::${last}`), cwd: to }),
    storedBytes: () => folderBytes(repository),
  };
}

/** No repository: each backup is a whole compressed image. */
export function qemuTool(place: Workplace): Tool {
  const folder = join(place.folder, 'qemu');
  let last = '';
  return {
    name: 'qemu-img',
    version: /version (\S+)/.exec(firstLine('qemu-img', ['--version']))![1]!,
    prepare: async () => {
      await Promise.resolve(freshFolder(place, 'qemu'));
    },
    backUp: (disk, { name }) => {
      last = join(folder, `${name}.qcow2`);
      const format = ['-f', 'raw', '-O', 'qcow2', '-c', '-o', 'compression_type=zstd'];
      return { args: ['qemu-img', 'convert', ...format, disk, last] };
    },
    restore: (to) => ({
      args: ['qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', last, join(to, DISK)],
    }),
    storedBytes: () => folderBytes(folder),
  };
}

function firstLine(program: string, args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8' }).split('\n')[0]!;
}
