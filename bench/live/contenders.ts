/** The commands that are compared: Holdfast and virtnbdbackup, plain and compressing, on a VM that runs. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { holdfast, holdfastBytes, holdfastVm } from '../measuring/holdfast.ts';
import { runCommand, type Command } from '../measuring/run-command.ts';
import { folderBytes, freshFolder, type Workplace } from '../measuring/workplace.ts';
import type { LiveGuest } from './live-guest.ts';

const MEBIBYTE = 1024 ** 2;

export type Contender = {
  readonly name: string;
  readonly guest: LiveGuest;
  /** Nothing of earlier backups is left, neither here nor in the hypervisor; not timed. */
  readonly prepare: () => Promise<void>;
  readonly backUp: (level: 'first' | 'next') => Command;
  /** The newest point to qcow2, into an empty folder. */
  readonly restore: (folder: string) => Command;
  readonly storedBytes: () => number;
  /** By its own account, in ms; undefined: it gives none. */
  readonly frozenMs: (stdout: string) => number | undefined;
};

export function holdfastOn(place: Workplace, guest: LiveGuest): Contender {
  const folder = `holdfast-${guest.kind}`;
  const repository = join(place.folder, folder);
  const to = ['--repo', repository, '--item', 'vm'];
  return {
    name: `holdfast, ${guest.kind}`,
    guest,
    prepare: async () => {
      freshFolder(place, folder);
      await guest.forget();
      await runCommand(holdfast('init', repository));
    },
    backUp: () => {
      const scratch = ['--scratch', place.folder];
      return holdfastVm('backup', guest.name, ...guest.connection, ...to, ...scratch);
    },
    restore: (target) => holdfastVm('restore', 'vm', '--repo', repository, '--dir', target),
    storedBytes: () => holdfastBytes(repository),
    frozenMs: (stdout) => (JSON.parse(stdout) as { readonly frozenMs?: number }).frozenMs,
  };
}

/** Plain it copies what it reads; Holdfast always compresses, encrypts and checks. */
export function virtnbdbackupOn(
  place: Workplace,
  guest: LiveGuest,
  { compresses }: { readonly compresses: boolean },
): Contender {
  const target = join(place.folder, 'virtnbdbackup');
  const quiet = ['--noprogress'];
  const compress = compresses ? ['--compress'] : [];
  return {
    name: compresses ? 'virtnbdbackup --compress' : 'virtnbdbackup',
    guest,
    prepare: async () => {
      freshFolder(place, 'virtnbdbackup');
      await guest.forget();
    },
    backUp: (level) => {
      const kind = level === 'first' ? 'full' : 'inc';
      const scratch = ['-S', place.folder];
      return {
        args: [
          'virtnbdbackup',
          '-d',
          guest.name,
          '-l',
          kind,
          '-o',
          target,
          ...scratch,
          ...compress,
          ...quiet,
        ],
      };
    },
    // Its log would go to the home folder.
    restore: (folder) => ({
      args: [
        'virtnbdrestore',
        '-i',
        target,
        '-o',
        folder,
        '-L',
        join(place.folder, 'virtnbdrestore.log'),
        ...quiet,
      ],
    }),
    storedBytes: () => folderBytes(target),
    frozenMs: () => undefined,
  };
}

/** A restore that wrote nothing would be the fastest; what is restored is compared in the tests. */
export async function mustHaveRestored(folder: string, dataMib: number): Promise<void> {
  const images = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).size > (dataMib * MEBIBYTE) / 2);
  if (images.length !== 1) throw new Error(`not one image in ${folder}: ${images.join(', ')}`);
  const check: Command = { args: ['qemu-img', 'check', '-q', '-f', 'qcow2', images[0]!] };
  for (let tries = 1; ; tries += 1) {
    try {
      await runCommand(check);
      return;
    } catch (error) {
      // virtnbdrestore ends before the qemu-nbd that it started.
      if (tries === 50 || !String(error).includes('lock')) throw error;
      await sleep(200);
    }
  }
}
